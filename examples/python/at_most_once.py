#!/usr/bin/python3
"""Commits records, and prints what is committed: none is printed twice, and some
may be lost (when this dies between the two)."""
import sys

from group_consumer import GroupConsumer, GroupError, arguments


def main():
    consumer = GroupConsumer(arguments(__doc__).parse_args())
    try:
        for batch in consumer.batches():
            if not consumer.commit_and_wait(batch):
                continue  # they are another member's now
            for record in batch.records:
                print(batch.topic, batch.partition, record.offset, record.value.decode(),
                      flush=True)
        consumer.close()
    except GroupError as error:
        sys.exit("at_most_once: %s" % error)


if __name__ == "__main__":
    main()
