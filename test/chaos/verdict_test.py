#!/usr/bin/python3
"""A verdict counts only if it rests on something."""
import unittest

from verdict import counts, rests_on_nothing

TABLE = {"LOST": 0, "FAILED-BUT-READ": 0, "sent": 9, "acked": 5, "acked weakly": 2,
         "answers": 7, "polls": 3, "records polled": 6, "final copies": 8,
         "records in them": 30, "acks without epoch": 4, "answers without epoch": 0}


def verdict(**changed):
    table = dict(TABLE, **{name.replace("_", " "): n for name, n in changed.items()})
    lines = ["%-24s%d" % (name, number) for name, number in table.items()
             if number is not None]
    return "\n".join(lines + ["no flaw"])


class VerdictTest(unittest.TestCase):
    def test_the_table_is_read_whole(self):
        self.assertEqual(counts(verdict()), TABLE)

    def test_what_has_all_of_it_is_proven(self):
        self.assertEqual(rests_on_nothing(verdict(), 2), [])

    def test_what_is_missing_is_named(self):
        for name in ("acked", "acked weakly", "answers", "polls", "records polled",
                     "records in them"):
            for none in (0, None):
                self.assertEqual(
                    rests_on_nothing(verdict(**{name.replace(" ", "_"): none}), 2), [name])

    def test_each_replica_and_a_reader_were_looked_at(self):
        self.assertEqual(rests_on_nothing(verdict(), 3), ["final copies: 8 of 12"])
        self.assertEqual(rests_on_nothing(verdict(final_copies=None), 2),
                         ["final copies: None of 8"])

    def test_nothing_can_be_judged_without_epochs(self):
        self.assertEqual(rests_on_nothing(verdict(acks_without_epoch=5), 2),
                         ["acks without epoch"])
        self.assertEqual(rests_on_nothing(verdict(answers_without_epoch=7), 2),
                         ["answers without epoch"])
        self.assertEqual(rests_on_nothing(verdict(answers_without_epoch=None), 2),
                         ["answers without epoch"])


if __name__ == "__main__":
    unittest.main()
