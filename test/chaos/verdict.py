"""What check_history says, read."""
import re

COUNT = re.compile(r"^(\S.*?) +(\d+)$", re.M)
COPIES = 4  # of a partition: three replicas' logs and what a reader was given
# What a run has to have, or a flaw could not have been seen.
NEEDED = ("acked", "acked weakly", "answers", "polls", "records polled",
          "records in them")
# Of these no more than some cannot be judged.
JUDGED = {"acked": "acks without epoch", "answers": "answers without epoch"}


def counts(verdict):
    """The table, by name, in its order."""
    return {name: int(number) for name, number in COUNT.findall(verdict)}


def rests_on_nothing(verdict, partitions):
    """What there was none of: it is without a flaw for nothing."""
    table = counts(verdict)
    found = [name for name in NEEDED if table.get(name, 0) == 0]
    if table.get("final copies") != COPIES * partitions:
        found.append("final copies: %s of %d" % (table.get("final copies"),
                                                 COPIES * partitions))
    found += [unjudged for all_of_them, unjudged in JUDGED.items()
              if all_of_them not in found
              and table.get(unjudged, table[all_of_them]) >= table[all_of_them]]
    return found
