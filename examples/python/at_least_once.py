#!/usr/bin/python3
"""Prints records, and commits what it has printed: none is lost, and some may be
printed twice (by another member, when this one dies between the two)."""
import sys

from group_consumer import GroupConsumer, GroupError, arguments


def main():
    consumer = GroupConsumer(arguments(__doc__).parse_args())
    try:
        for batch in consumer.batches():
            for record in batch.records:
                print(batch.topic, batch.partition, record.offset, record.value.decode())
            sys.stdout.flush()  # before the commit: what is lost in here is not read again
            consumer.commit(batch)  # refused: another member prints these again
        consumer.close()
    except GroupError as error:
        sys.exit("at_least_once: %s" % error)


if __name__ == "__main__":
    main()
