#!/usr/bin/python3
"""The programs of examples/, each in Python, Node.js and C++: what they promise of
each record holds though they are killed and hang at any moment."""
import collections
import concurrent.futures
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time

from cluster import PATIENCE, ROOT, Cluster, Load, bazel_bin, run, wait_until
from cluster import _STUBS as STUBS
from groups_e2e import committed, coordinator_of, wait_stable

PROGRAMS = ("at_most_once", "at_least_once", "exactly_once")
COMMANDS = {
    "python": lambda name: ["/usr/bin/python3", os.path.join(
        ROOT, "examples", "python", name + ".py")],
    "node": lambda name: ["node", os.path.join(ROOT, "examples", "node", name + ".js")],
    "cpp": lambda name: [os.path.join(bazel_bin(), "examples", "cpp", name)],
}
PARTITIONS, RECORDS, BATCH = 4, 200, 10
KILLS = 5
SETTINGS = {"group.initial.rebalance.delay.ms": "0"}


class Example:
    """One of the programs, and what it printed since its first start."""

    def __init__(self, cluster, language, name, group, *more, fetch_bytes=1):
        self.command = COMMANDS[language](name) + [
            "--bootstrap", cluster.bootstrap(), "--topic", "orders", "--group", group,
            "--session-timeout-ms", "6000", "--fetch-bytes", str(fetch_bytes)] + list(more)
        self.path = os.path.join(cluster.dir, "%s-%s-%s" % (language, name, group))
        self.process = None
        self.start()

    def start(self):
        with open(self.path + ".out", "ab") as out, open(self.path + ".err", "ab") as err:
            self.process = subprocess.Popen(
                self.command, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                start_new_session=True, env=dict(os.environ, PYTHONPATH=STUBS))

    def printed(self, end=b"."):
        """[(partition, offset, value)]; a line that a kill cut short is none."""
        with open(self.path + ".out", "rb") as out:
            lines = out.read().split(b"\n")
        found = [line.split(b" ") for line in lines]
        return [(int(words[1]), int(words[2]), words[3]) for words in found
                if len(words) == 4 and words[0] == b"orders"
                and words[3].endswith(end)]

    def said(self):
        with open(self.path + ".err", errors="replace") as err:
            return err.read()

    def check_runs(self):
        assert self.process.poll() is None, "exit %s: %s" % (self.process.poll(), self.said())
        return True

    def kill(self):
        self.check_runs()
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60 * PATIENCE)
        assert code == 0, "exit %d: %s" % (code, self.said())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def value_of(partition, n):
    return b"%d-%d." % (partition, n)


def wait_all_committed(cluster, group, example, per_partition):
    def done():
        example.check_runs()
        now = committed(cluster, group)
        return now == {("orders", p): per_partition for p in range(PARTITIONS)}
    try:
        wait_until(done, 240, "all of it is committed by %s" % group)
    except AssertionError:
        print(committed(cluster, group), example.said())
        raise


def run_and_kill(cluster, example, count, draw):
    """Kills it when it has done a drawn number of records; its next start goes
    on under the same instance id."""
    for limit in sorted(draw.sample(range(1, PARTITIONS * RECORDS * 3 // 4), KILLS)):
        end = time.monotonic() + 240 * PATIENCE
        while count() < limit:
            example.check_runs()
            assert time.monotonic() < end, "stands at %d of %d: %s" % (
                count(), limit, example.said())
            time.sleep(0.001)
        example.kill()
        example.start()


def at_most_once(cluster, language, draw):
    group = "most-" + language
    with Example(cluster, language, "at_most_once", group, "--instance-id", "one") as example:
        run_and_kill(cluster, example, lambda: len(example.printed()), draw)
        wait_all_committed(cluster, group, example, RECORDS)
        example.stop()
        printed = example.printed()
    twice = [key for key, n in collections.Counter(printed).items() if n > 1]
    assert not twice, "%s: printed twice: %s" % (language, twice[:5])
    assert all(value == value_of(p, offset) for p, offset, value in printed), printed[:5]
    return "%d of %d records" % (len(printed), PARTITIONS * RECORDS)


def at_least_once(cluster, language, draw):
    group = "least-" + language
    with Example(cluster, language, "at_least_once", group, "--instance-id", "one") as example:
        run_and_kill(cluster, example, lambda: len(example.printed()), draw)
        wait_all_committed(cluster, group, example, RECORDS)
        example.stop()
        printed = example.printed()
    want = {(p, n, value_of(p, n)) for p in range(PARTITIONS) for n in range(RECORDS)}
    assert set(printed) == want, "%s: %d are missing, the first %s" % (
        language, len(want - set(printed)), sorted(want - set(printed))[:5])
    return "%d records twice" % (len(printed) - len(want))


class Database:
    """What the members of a group stored, as the test reads it."""

    def __init__(self, cluster, name):
        self.path = os.path.join(cluster.dir, name + ".sqlite")
        self._db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        # Made by the example's own schema; a table that is not there is empty.

    def _rows(self, query):
        try:
            return self._db.execute(query).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise

    def count(self):
        return (self._rows("SELECT count(*) FROM output") or [(0,)])[0][0]

    def progress(self):
        return dict(self._rows("SELECT partition, next_offset FROM progress"))

    def check(self, records_of):
        """Each record once, in order, and nothing else."""
        rows = collections.defaultdict(list)
        for p, offset, value in self._rows(
                "SELECT partition, offset, value FROM output ORDER BY rowid"):
            rows[p].append((offset, value.encode()))
        for p, records in records_of.items():
            assert rows[p] == records, "partition %d: %d records stored of %d: %s" % (
                p, len(rows[p]), len(records),
                [pair for pair in zip(rows[p], records) if pair[0] != pair[1]][:2])

    @contextlib.contextmanager
    def locked(self):
        """Nobody else writes."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def close(self):
        self._db.close()


def exactly_once(cluster, language, draw):
    group = "exactly-" + language
    database = Database(cluster, language)
    with contextlib.closing(database), Example(
            cluster, language, "exactly_once", group, "--instance-id", "one",
            "--db", database.path) as example:
        run_and_kill(cluster, example, database.count, draw)
        # Nothing relies on what the group has committed, but it is told.
        wait_all_committed(cluster, group, example, RECORDS)
        example.stop()
        database.check({p: [(n, value_of(p, n)) for n in range(RECORDS)]
                        for p in range(PARTITIONS)})
    return "%d records once" % (PARTITIONS * RECORDS)


def each_keeps_its_promise_though_it_is_killed():
    seed = random.randrange(1 << 32)
    print("  seed", seed)
    with Cluster(brokers=1, settings=SETTINGS) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=PARTITIONS, replicas=1)
        for p in range(PARTITIONS):
            for n in range(0, RECORDS, BATCH):
                cluster.produce("orders", p, [value_of(p, i) for i in range(n, n + BATCH)])
            # An attempt whose answer was lost would have stored its records twice.
            assert len(cluster.read_all("orders", p)) == RECORDS

        def all_of(language):
            draw = random.Random("%d %s" % (seed, language))
            return ["%s %s: %s" % (language, case.__name__, case(cluster, language, draw))
                    for case in (at_most_once, at_least_once, exactly_once)]
        with concurrent.futures.ThreadPoolExecutor(len(COMMANDS)) as pool:
            for told in pool.map(all_of, COMMANDS):
                print("  " + "\n  ".join(told), flush=True)


def wait_for_lock_wanted(member):
    """SQLite asks again and again and sleeps in between; nothing else of an example
    sleeps for so long."""
    seen = []

    def sleeps():
        with open("/proc/%d/wchan" % member.process.pid) as where:
            seen.append("nanosleep" in where.read())
        return len(seen) >= 10 and all(seen[-10:])
    wait_until(sleeps, 60, "it waits for the database")


def what_a_member_that_was_taken_for_dead_stores_is_refused():
    """Members of every language in one group, on one database. Each in turn is
    stopped with records in its hands, waiting for the database; the others take
    over and go on; then it wakes."""
    with Cluster(brokers=3, settings=SETTINGS) as cluster, contextlib.ExitStack() as stack:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=PARTITIONS, replicas=3)
        database = stack.enter_context(contextlib.closing(Database(cluster, "all")))
        members = {language: stack.enter_context(Example(
            cluster, language, "exactly_once", "all", "--db", database.path,
            fetch_bytes=64 << 10)) for language in COMMANDS}
        wait_stable(cluster, "all", len(members))
        load = Load(cluster, "orders", PARTITIONS)
        for language, member in members.items():
            wait_until(lambda: len(database.progress()) == PARTITIONS, 120, "all have begun")
            with database.locked():
                wait_for_lock_wanted(member)
                member.process.send_signal(signal.SIGSTOP)
            try:
                wait_stable(cluster, "all", len(members) - 1)
                before = database.progress()
                wait_until(lambda: all(now > before[p] for p, now in
                                       database.progress().items()), 120, "the others go on")
            finally:
                member.process.send_signal(signal.SIGCONT)
            wait_stable(cluster, "all", len(members))
            wait_until(lambda: "has stored more" in member.said(), 120,
                       "the %s member is refused" % language)
            print("  the %s member came back too late" % language, flush=True)
        load.stop()
        records = {p: [(offset, value) for offset, _, value in cluster.read_all("orders", p)]
                   for p in range(PARTITIONS)}
        wait_until(lambda: all(member.check_runs() for member in members.values())
                   and database.progress() == {p: len(r) for p, r in records.items()},
                   240, "everything stored")
        for member in members.values():
            member.stop()
        database.check(records)
        print("  %d records once" % database.count())


class Crew:
    """A group for each promise, with a member in every language, on one database."""

    def __init__(self, cluster, stack):
        self.cluster = cluster
        self.database = stack.enter_context(contextlib.closing(Database(cluster, "crew")))
        self.groups = {name: {language: stack.enter_context(Example(
            cluster, language, name, name,
            *(["--db", self.database.path] if name == "exactly_once" else []),
            fetch_bytes=4 << 10)) for language in COMMANDS} for name in PROGRAMS}
        self.wait_stable()

    def members(self):
        return [member for group in self.groups.values() for member in group.values()]

    def wait_stable(self):
        for name, group in self.groups.items():
            wait_stable(self.cluster, name, len(group))
        for member in self.members():
            member.check_runs()

    def kill(self, group, language):
        self.groups[group][language].kill()
        self.groups[group][language].start()

    @contextlib.contextmanager
    def hangs(self, group, language):
        process = self.groups[group][language].process

        def stopped():
            with open("/proc/%d/stat" % process.pid) as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "T"
        # Not in a transaction of its own: SQLite would have all others wait for it.
        with (self.database.locked() if group == "exactly_once"
              else contextlib.nullcontext()):
            process.send_signal(signal.SIGSTOP)
            wait_until(stopped, 30, "it is stopped")
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def wait_progress(self, load):
        """More is written, and each group gets on."""
        load.wait_for(40, seconds=120)
        ends = {p: len(self.cluster.read_all("orders", p)) for p in range(PARTITIONS)}
        self.wait_done(ends, exact=False)

    def wait_done(self, ends, exact=True):
        def done(group):
            now = committed(self.cluster, group)
            return now is not None and all(
                now.get(("orders", p), 0) == end or
                (not exact and now.get(("orders", p), 0) > end) for p, end in ends.items())
        for name, group in self.groups.items():
            try:
                wait_until(lambda: all(m.check_runs() for m in group.values()) and done(name),
                           240, "%s has done %s" % (name, ends))
            except AssertionError:
                print(committed(self.cluster, name), [m.said() for m in group.values()])
                raise

    def printed(self, name):
        return [line for member in self.groups[name].values() for line in member.printed(b"")]

    def check(self, records_of):
        """What was promised of every record."""
        want = {(p, offset, value) for p, records in records_of.items()
                for offset, value in records}
        most = self.printed("at_most_once")
        twice = [key for key, n in collections.Counter(most).items() if n > 1]
        assert not twice, "printed twice: %s" % twice[:5]
        assert set(most) <= want, sorted(set(most) - want)[:5]
        least = self.printed("at_least_once")
        assert set(least) == want, "%d are missing, the first %s; made up: %s" % (
            len(want - set(least)), sorted(want - set(least))[:5],
            sorted(set(least) - want)[:5])
        self.database.check(records_of)
        print("  of %d records: at most once %d, at least once %d and %d again, exactly "
              "once %d" % (len(want), len(most), len(want), len(least) - len(want),
                           self.database.count()), flush=True)


def the_promises_hold_though_members_and_brokers_die_and_hang():
    seed = random.randrange(1 << 32)
    draw = random.Random(seed)
    print("  seed", seed)
    with Cluster(brokers=3, settings=SETTINGS) as cluster, contextlib.ExitStack() as stack:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=PARTITIONS, replicas=3,
                             min_insync_replicas=2)
        crew = Crew(cluster, stack)
        # A pace that a busy machine keeps up with.
        load = Load(cluster, "orders", PARTITIONS, batch=5, pause_s=0.1)
        crew.wait_progress(load)

        def a_member_dies():
            for group in PROGRAMS:
                crew.kill(group, draw.choice(sorted(COMMANDS)))

        def a_member_hangs():
            for group in PROGRAMS:
                with crew.hangs(group, draw.choice(sorted(COMMANDS))):
                    wait_stable(cluster, group, len(COMMANDS) - 1)

        def a_broker_dies():
            victim = draw.choice([coordinator_of(cluster, draw.choice(PROGRAMS)), 1, 2, 3])
            cluster.kill(victim)
            crew.wait_progress(load)
            cluster.start(victim)

        def a_broker_hangs():
            victim = cluster.nodes[draw.choice([1, 2, 3])]
            victim.hung = True
            victim.process.send_signal(signal.SIGSTOP)
            try:
                crew.wait_progress(load)
            finally:
                victim.process.send_signal(signal.SIGCONT)
                victim.hung = False

        events = 2 * [a_member_dies, a_member_hangs, a_broker_dies, a_broker_hangs]
        draw.shuffle(events)
        for event in events:
            event()
            cluster.wait_healthy()
            crew.wait_stable()
            crew.wait_progress(load)
            print("  %s" % event.__name__, flush=True)
        load.stop()
        records = {p: [(offset, value) for offset, _, value in cluster.read_all("orders", p)]
                   for p in range(PARTITIONS)}
        crew.wait_done({p: len(r) for p, r in records.items()})
        for member in crew.members():
            member.stop()
        crew.check(records)


def each_explains_itself():
    env = dict(os.environ, PYTHONPATH=STUBS)
    for language, command in COMMANDS.items():
        for name in PROGRAMS:
            shown = subprocess.run(command(name) + ["--help"], capture_output=True, env=env,
                                   timeout=60)
            assert shown.returncode == 0 and b"--group" in shown.stdout, (language, name, shown)
        wrong = subprocess.run(command(PROGRAMS[0]) + ["--what"], capture_output=True, env=env,
                               timeout=60)
        assert wrong.returncode == 2 and b"--what" in wrong.stderr, (language, wrong)


if __name__ == "__main__":
    run([each_explains_itself, each_keeps_its_promise_though_it_is_killed,
         what_a_member_that_was_taken_for_dead_stores_is_refused,
         the_promises_hold_though_members_and_brokers_die_and_hang])
