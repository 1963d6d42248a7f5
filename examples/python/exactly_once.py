#!/usr/bin/python3
"""Copies records into an SQLite database, each exactly once. The offset is stored
with the output in one transaction, and is where reading begins: the two cannot
disagree, whenever this dies. A member that was taken for dead and comes back
finds that the stored offset has moved, and its transaction changes nothing."""
import sqlite3
import sys

from group_consumer import GroupConsumer, GroupError, arguments

SCHEMA = """
CREATE TABLE IF NOT EXISTS output (topic TEXT, partition INTEGER, offset INTEGER, value TEXT);
CREATE TABLE IF NOT EXISTS progress (
    topic TEXT, partition INTEGER, next_offset INTEGER, PRIMARY KEY (topic, partition));
"""


class Output:
    def __init__(self, path):
        # Other members write to it, too: wait for them, at most so long.
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(SCHEMA)
        self._began = {}  # (topic, partition) -> the stored offset, as it was here last

    def next_offset(self, topic, partition):
        row = self._db.execute(
            "SELECT next_offset FROM progress WHERE topic = ? AND partition = ?",
            (topic, partition)).fetchone()
        if row is None:
            self._db.execute("INSERT OR IGNORE INTO progress VALUES (?, ?, 0)",
                             (topic, partition))
        self._began[topic, partition] = row[0] if row else 0
        return self._began[topic, partition]

    def store(self, batch):
        """False: another member has stored records of this partition since."""
        key = (batch.topic, batch.partition)
        self._db.execute("BEGIN IMMEDIATE")
        moved = self._db.execute(
            "UPDATE progress SET next_offset = ?"
            " WHERE topic = ? AND partition = ? AND next_offset = ?",
            (batch.next_offset, *key, self._began[key])).rowcount
        if not moved:
            self._db.execute("ROLLBACK")
            return False
        self._db.executemany("INSERT INTO output VALUES (?, ?, ?, ?)", [
            (*key, record.offset, record.value.decode()) for record in batch.records])
        self._db.execute("COMMIT")
        self._began[key] = batch.next_offset
        return True


def main():
    parser = arguments(__doc__)
    parser.add_argument("--db", default="output.sqlite", help="the database (%(default)s)")
    options = parser.parse_args()
    output = Output(options.db)
    consumer = GroupConsumer(options, start_at=output.next_offset)
    try:
        for batch in consumer.batches():
            if output.store(batch):
                consumer.commit(batch)  # for `sluice group describe`: nobody begins there
            else:
                print("%s-%d: another member has stored more, begins anew" % (
                    batch.topic, batch.partition), file=sys.stderr, flush=True)
                consumer.start_over()
        consumer.close()
    except (GroupError, sqlite3.Error) as error:
        sys.exit("exactly_once: %s" % error)


if __name__ == "__main__":
    main()
