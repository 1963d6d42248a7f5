#!/usr/bin/python3
"""Consumer groups on real processes: members from stubs alone, in Python and in
Node.js, and members of the C++ library (`sluice consume -g`) share a topic through
everything that can happen to them and to the brokers."""
import concurrent.futures
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

from cluster import _STUBS as STUBS
from cluster import (PATIENCE, ROOT, SLUICE, Cluster, Load, common_pb2, group_pb2, grpc, run,
                     wait_until)
from group_member import partitions_of


class ProcessMember:
    """A program that prints what it processes: partition, offset, value."""

    def __init__(self, cluster, name, command, env=None):
        self.name = name
        self.out_path = os.path.join(cluster.dir, name + ".out")
        self.err_path = os.path.join(cluster.dir, name + ".err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                start_new_session=True, env=env)

    def lines(self):
        """Whole ones: who is killed may end in the middle."""
        with open(self.out_path, "rb") as out:
            data = out.read()
        return data[:data.rfind(b"\n") + 1].splitlines()

    def processed(self):
        return [(int(p), int(o), v)
                for p, o, v in (line.rsplit(b" ", 3)[-3:] for line in self.lines())]

    def said(self):
        with open(self.err_path, errors="replace") as err:
            return err.read()

    def signal(self, number):
        self.process.send_signal(number)

    def hang(self):
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.signal(signal.SIGCONT)

    def leave(self):
        self.signal(signal.SIGTERM)
        code = self.process.wait(timeout=60 * PATIENCE)
        assert code == 0, "exit %d: %s" % (code, self.said())

    def kill(self):
        self.process.kill()
        self.process.wait()


class CliMember(ProcessMember):
    """`sluice consume -g`."""

    def __init__(self, cluster, group, topic, name, *more, start="earliest", session_ms=6000):
        super().__init__(cluster, name, [
            SLUICE, "--bootstrap", cluster.bootstrap(), "consume", topic, "-g", group,
            "--from", start, "--format", "%p %o %v\\n", "--session-timeout-ms",
            str(session_ms), "--assignor", "range", "--commit-interval-ms", "200"] + list(more))


    def owned(self):
        """What it said it reads, in whichever generation: it does not say."""
        return {int(p) for told in re.findall(r"^group \S+: reads (.*)$", self.said(), re.M)
                for p in re.findall(r"\S+-(\d+)(?: |$)", told)}


class GenerationMember(ProcessMember):
    """One that tells its generations on stderr."""

    @property
    def generations(self):
        """{generation: partitions}, as it was told."""
        return {int(generation): [int(p) for p in partitions.split(",") if p]
                for generation, partitions in re.findall(
                    r"^generation (\d+): reads \S+ \[([\d,]*)\]$", self.said(), re.M)}

    def owned(self):
        return {p for partitions in self.generations.values() for p in partitions}


class StubMember(GenerationMember):
    """group_member.py: stubs alone, call by call."""

    def __init__(self, cluster, group, topic, name):
        super().__init__(cluster, name, [
            sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                         "group_member.py"),
            cluster.bootstrap(), group, topic], env=dict(os.environ, SLUICE_E2E_STUBS=STUBS))

    def processed_in(self):
        """(generation, partition, offset) of each record."""
        return [tuple(map(int, line.split(b" ", 3)[:3])) for line in self.lines()]


class NodeMember(GenerationMember):
    """examples/node/at_least_once.js."""

    def __init__(self, cluster, group, topic, name):
        super().__init__(cluster, name, [
            "node", os.path.join(ROOT, "examples", "node", "at_least_once.js"),
            "--bootstrap", cluster.bootstrap(), "--topic", topic, "--group", group,
            "--session-timeout-ms", "6000"])


def committed(cluster, group):
    """{(topic, partition): offset}, or None while nobody answers for all."""
    with contextlib.suppress(grpc.RpcError, AssertionError):
        answer = cluster.groups().FetchOffsets(group_pb2.FetchOffsetsRequest(
            groups=[group_pb2.GroupOffsetsQuery(group_id=group)]), timeout=30)
        found = answer.groups[0]
        if found.error.code == 0 and all(o.error.code == 0 for o in found.offsets):
            return {(o.topic.name, o.partition): o.offset for o in found.offsets}
    return None


class CommitWatch:
    """Looks all the time whether a committed offset went back."""

    def __init__(self, cluster, group):
        self.cluster, self.group = cluster, group
        self.highest, self.looks, self.wrong = {}, 0, []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            now = committed(self.cluster, self.group)
            if now is not None:
                self.looks += 1
                for key, offset in self.highest.items():
                    if now.get(key, -1) < offset:
                        self.wrong.append("%s-%d went from %d to %s" % (
                            *key, offset, now.get(key)))
                self.highest.update(now)
            self.look_on()
            time.sleep(0.05)

    def look_on(self):
        pass

    def stop(self):
        self._stop.set()
        self._thread.join(30)
        assert self.looks > 10, "nobody answered what is committed: %d looks" % self.looks
        assert not self.wrong, "committed offsets went back: %s" % self.wrong[:5]


class GroupWatch(CommitWatch):
    """And whether a generation gave a partition to two."""

    def __init__(self, cluster, group):
        self.owners, self.two_owners = {}, []  # (generation, partition) -> member id
        super().__init__(cluster, group)

    def look_on(self):
        found = describe(self.cluster, self.group)
        if found is None or found.state != group_pb2.GROUP_STATE_STABLE:
            return
        for member in found.members:
            for partitions in partitions_of(member.assignment).values():
                for p in partitions:
                    owner = self.owners.setdefault((found.generation_id, p), member.member_id)
                    if owner != member.member_id:
                        self.two_owners.append("generation %d: %d is of %s and of %s" % (
                            found.generation_id, p, owner, member.member_id))

    def stop(self):
        super().stop()
        assert self.owners, "the group was never seen stable"
        assert not self.two_owners, self.two_owners[:5]


def own_view(cluster, group, address):
    """(how far, {(topic, partition): offset}) of one broker's view; None: it does not
    answer."""
    with contextlib.suppress(grpc.RpcError):
        found = cluster.groups(address).FetchOffsets(group_pb2.FetchOffsetsRequest(
            own_view=True, groups=[group_pb2.GroupOffsetsQuery(group_id=group)]),
            timeout=30).groups[0]
        if found.error.code == 0:
            return found.applied_offset, {(o.topic.name, o.partition): o.offset
                                          for o in found.offsets}
    return None


def compare_views(cluster, group, times=3, seconds=60):
    """While the group commits: views that are as far as each other say the same, and
    every broker's is found as far as another's so many times."""
    said, compared = {}, dict.fromkeys((n.id for n in cluster.brokers), 0)
    with concurrent.futures.ThreadPoolExecutor(len(compared)) as pool:
        def look():
            views = pool.map(lambda n: (n.id, own_view(cluster, group, n.address)),
                             cluster.brokers)
            for node, (applied, offsets) in ((n, v) for n, v in views if v is not None):
                at = said.setdefault(applied, {})
                for other, theirs in at.items():
                    assert theirs == offsets, "views at %d: broker %d has %s, %d has %s" % (
                        applied, other, theirs, node, offsets)
                if node not in at:
                    for one in [node, *at] if at else []:
                        compared[one] += 1
                at[node] = offsets
            return min(compared.values()) >= times
        wait_until(look, seconds, "views at the same place")
    return sum(len(at) > 1 for at in said.values())


def describe(cluster, group):
    with contextlib.suppress(grpc.RpcError, AssertionError):
        answer = cluster.groups().DescribeGroups(group_pb2.DescribeGroupsRequest(
            group_ids=[group]), timeout=10)
        found = answer.groups[0]
        if found.error.code == 0:
            return found
    return None


def wait_stable(cluster, group, members, seconds=90, look=lambda: None):
    def stable():
        look()
        found = describe(cluster, group)
        return (found is not None and found.state == group_pb2.GROUP_STATE_STABLE
                and len(found.members) == members and found)
    try:
        return wait_until(stable, seconds, "%d stable members of %s" % (members, group))
    except AssertionError:
        print(describe(cluster, group))
        raise


def wait_drained(cluster, group, topic, seconds=90):
    """Everything that was written is committed."""
    ends = {(topic, p.partition): cluster.end_offset(topic, p.partition)
            for p in cluster.partitions(topic)}

    def drained():
        now = committed(cluster, group)
        return now is not None and all(now.get(k, 0) >= end for k, end in ends.items() if end)
    try:
        wait_until(drained, seconds, "everything committed")
    except AssertionError:
        print("ends", ends, "\ncommitted", committed(cluster, group))
        raise


def check_processed(load, members):
    """Every acknowledged record was processed by somebody, and none by two owners of
    one generation: as members were told. What the coordinator says of all of them
    GroupWatch looks at."""
    processed = {member: member.processed() for member in members}
    values = {v for records in processed.values() for _, _, v in records}
    for partition, acked in load.acked.items():
        missing = [v for v in acked if v not in values]
        assert not missing, "partition %d: %d records were never processed, the first %s" % (
            partition, len(missing), missing[0])
    # Nobody was given what another had, and nobody processed what was not its own.
    owners, once = {}, {}
    for member in members:
        assert processed[member], "%s processed nothing" % member.name
        strange = {p for p, _, _ in processed[member]} - member.owned()
        assert not strange, "%s processed partitions %s, and had %s" % (
            member.name, strange, member.owned())
        if not isinstance(member, GenerationMember):
            continue
        for generation, partitions in member.generations.items():
            for partition in partitions:
                other = owners.setdefault((generation, partition), member)
                assert other is member, "generation %d: %d is of %s and of %s" % (
                    generation, partition, other.name, member.name)
        if isinstance(member, StubMember):  # it says in which generation
            own = member.generations
            for record in member.processed_in():
                assert record[1] in own[record[0]], (member.name, record)
                # One that could not commit may read on from before, by itself.
                other = once.setdefault(record, member)
                assert other is member, "%s and %s processed %s" % (
                    other.name, member.name, record)


def coordinator_of(cluster, group):
    def known():
        with contextlib.suppress(grpc.RpcError, AssertionError):
            answer = cluster.groups().FindCoordinator(
                group_pb2.FindCoordinatorRequest(keys=[group]), timeout=30)
            if answer.results[0].error.code == 0:
                return answer.results[0].node_id
    return wait_until(known, 60, "the coordinator of %s" % group)


class Crowd:
    """Members of three kinds: two of each at the least, but while some are away."""

    KINDS = {"stub": StubMember, "node": NodeMember, "cli": CliMember}

    def __init__(self, cluster, stack):
        self.cluster, self.stack = cluster, stack
        self.all = []
        self.live = {kind: [] for kind in self.KINDS}

    def _end(self, member):
        if member.process.poll() is None:
            member.kill()  # a stopped one as well

    def join(self):
        """One of each kind."""
        for kind, make in self.KINDS.items():
            member = make(self.cluster, "g", "orders", "%s-%d" % (kind, len(self.all)))
            self.stack.callback(self._end, member)
            self.all.append(member)
            self.live[kind].append(member)

    def take(self):
        """One of each kind, drawn; they are not counted any more."""
        return [members.pop(random.randrange(len(members))) for members in self.live.values()]

    def one_of(self, kind):
        return random.choice(self.live[kind])

    def wait_stable(self, members):
        wait_stable(self.cluster, "g", members, look=self.check_alive)

    def check_alive(self):
        for member in sum(self.live.values(), []):
            assert member.process.poll() is None, "%s has ended: %s" % (
                member.name, member.said()[-500:])


def members_of_three_kinds_share_a_topic_through_everything():
    with Cluster(brokers=3) as cluster, contextlib.ExitStack() as stack:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=12, replicas=3, min_insync_replicas=2)
        load = Load(cluster, "orders", 12)
        load.wait_for(200)
        crowd = Crowd(cluster, stack)

        crowd.join()
        crowd.join()
        crowd.wait_stable(6)
        watch = GroupWatch(cluster, "g")
        load.wait_for(200)

        crowd.join()
        crowd.wait_stable(9)
        print("  one of each kind joined", flush=True)
        for member in crowd.take():
            member.leave()
        crowd.wait_stable(6)
        load.wait_for(200)
        print("  one of each kind left", flush=True)

        hung = [crowd.one_of(kind) for kind in crowd.KINDS]
        for member in hung:
            member.hang()
        crowd.wait_stable(3)
        load.wait_for(200)
        for member in hung:
            member.go_on()
        crowd.wait_stable(6)
        print("  %s hung, were replaced, and came back" % ", ".join(m.name for m in hung),
              flush=True)

        for kills_coordinator, hangs in ((True, False), (False, False), (True, True)):
            coordinator = coordinator_of(cluster, "g")
            victim = coordinator if kills_coordinator else random.choice(
                [n.id for n in cluster.brokers if n.id != coordinator])
            # Another kind in another run: its session ends at a new coordinator.
            hung = [crowd.one_of(random.choice(list(crowd.KINDS)))] if hangs else []
            for member in hung:
                member.hang()
            cluster.kill(victim)
            load.wait_for(200)
            crowd.wait_stable(6 - len(hung))
            for member in hung:
                member.go_on()
            cluster.start(victim)
            cluster.wait_full_isr("orders")
            crowd.wait_stable(6)
            print("  broker %d, %sthe coordinator, was killed%s; views compared at %d places" % (
                victim, "" if kills_coordinator else "not ",
                "".join(" while %s hung" % m.name for m in hung),
                compare_views(cluster, "g")), flush=True)

        for member in crowd.take():
            member.kill()
        crowd.wait_stable(3)
        load.wait_for(200)
        print("  one of each kind died", flush=True)

        load.stop()
        wait_drained(cluster, "g", "orders")
        watch.stop()
        for member in crowd.take():
            member.leave()
        check_processed(load, crowd.all)
        print("  %d records, %d looks at the group" % (load.count(), watch.looks))
        listed = cluster.cli("group", "list").stdout.decode()
        assert "g " in listed, listed


def a_restart_of_a_static_member_costs_no_rebalance():
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=4, replicas=3)
        # Time to start again in: a slow machine starts slowly.
        members = [CliMember(cluster, "s", "orders", "static-%d" % i, "--instance-id", "i%d" % i,
                             session_ms=120000) for i in range(2)]
        try:
            before = wait_stable(cluster, "s", 2).generation_id
            for signal_number in (signal.SIGTERM, signal.SIGKILL):
                members[1].signal(signal_number)
                members[1].process.wait(timeout=60 * PATIENCE)
                members[1] = CliMember(cluster, "s", "orders", "again-%d" % signal_number,
                                       "--instance-id", "i1", session_ms=120000)
                wait_until(lambda: "reads orders" in members[1].said(), 60, "it reads again")
                assert wait_stable(cluster, "s", 2).generation_id == before
        finally:
            for member in members:
                if member.process.poll() is None:
                    member.kill()


def offsets_are_looked_at_moved_and_deleted():
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=2, replicas=3)
        for p in range(2):
            cluster.produce("orders", p, [b"%d-%d" % (p, n) for n in range(10)])
        read = cluster.cli("consume", "orders", "-g", "g", "--from", "earliest", "-e",
                           "--format", "%v\\n").stdout.splitlines()
        assert sorted(read) == sorted(b"%d-%d" % (p, n) for p in range(2) for n in range(10)), read
        assert committed(cluster, "g") == {("orders", 0): 10, ("orders", 1): 10}

        shown = cluster.cli("group", "describe", "g").stdout.decode()
        assert "Empty" in shown and "orders" in shown, shown
        saved = cluster.cli("group", "seek", "g", "--export").stdout
        assert saved == b"orders,0,10\norders,1,10\n", saved
        cluster.cli("group", "seek", "g", "--shift", "-4")
        assert committed(cluster, "g")[("orders", 0)] == 10  # it was only shown
        cluster.cli("group", "seek", "g", "--topic", "orders", "-p", "0", "--shift", "-4",
                    "--execute")
        assert committed(cluster, "g") == {("orders", 0): 6, ("orders", 1): 10}
        again = cluster.cli("consume", "orders", "-g", "g", "-e").stdout.splitlines()
        assert again == [b"0-6", b"0-7", b"0-8", b"0-9"], again
        cluster.cli("group", "seek", "g", "--to", "@2020-01-01T00:00:00Z", "--execute")
        assert committed(cluster, "g") == {("orders", 0): 0, ("orders", 1): 0}
        path = os.path.join(cluster.dir, "saved.csv")
        with open(path, "wb") as file:
            file.write(saved)
        cluster.cli("group", "seek", "g", "--file", path, "--execute")
        assert committed(cluster, "g") == {("orders", 0): 10, ("orders", 1): 10}

        reader = CliMember(cluster, "g", "orders", "reader")
        try:
            wait_stable(cluster, "g", 1)
            for command in (["group", "seek", "g", "--to", "earliest", "--execute"],
                            ["group", "delete", "g", "--yes"],
                            ["group", "delete-offsets", "g", "orders", "--yes"]):
                refused = cluster.cli(*command, check=False)
                assert refused.returncode == 1, (command, refused)
            assert committed(cluster, "g")[("orders", 0)] == 10
            reader.leave()
        finally:
            if reader.process.poll() is None:
                reader.kill()
        cluster.cli("group", "delete-offsets", "g", "orders", "-p", "1", "--yes")
        assert committed(cluster, "g") == {("orders", 0): 10}
        cluster.cli("group", "delete", "g", "--yes")
        assert cluster.cli("group", "describe", "g", check=False).returncode == 4


def partitions_added_later_are_read_from_their_first_record():
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=1, replicas=3)
        cluster.produce("orders", 0, [b"old"])
        # A new group that begins at the end, and says so at once.
        reader = CliMember(cluster, "g", "orders", "first", start="latest")
        try:
            wait_until(lambda: committed(cluster, "g") == {("orders", 0): 1}, 60,
                       "where the group begins")
            cluster.cli("topic", "add-partitions", "orders", "--partitions", "2", "--yes")
            cluster.produce("orders", 1, [b"new-1"])
            wait_until(lambda: [v for _, _, v in reader.processed()] == [b"new-1"], 60,
                       "the added partition is read")
            reader.leave()
        finally:
            if reader.process.poll() is None:
                reader.kill()
        cluster.cli("topic", "add-partitions", "orders", "--partitions", "3", "--yes")
        cluster.produce("orders", 2, [b"new-2"])
        later = cluster.cli("consume", "orders", "-g", "g", "-e").stdout.splitlines()
        assert later == [b"new-2"], later


def a_topic_that_is_made_again_inherits_nothing():
    """F72, while its readers are there: a member of the library and a stream."""
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=1, replicas=3)
        reader = CliMember(cluster, "cli", "orders", "reader")
        node = NodeMember(cluster, "node", "orders", "node")
        try:
            old = [b"old-%d" % i for i in range(10)]
            cluster.produce("orders", 0, old)
            for member, group in ((reader, "cli"), (node, "node")):
                wait_until(lambda member=member: len(member.processed()) == 10, 60, "old ones")
                wait_until(lambda group=group: committed(cluster, group) == {("orders", 0): 10},
                           60, "old ones committed by " + group)
            cluster.cli("topic", "delete", "orders", "--yes")
            cluster.create_topic("orders", partitions=1, replicas=3)
            new = [b"new-%d" % i for i in range(10)]  # as many: no offset tells
            cluster.produce("orders", 0, new)
            for member, group in ((reader, "cli"), (node, "node")):
                wait_until(lambda member=member: len(member.processed()) >= 20, 60, "new ones")
                assert [v for _, _, v in member.processed()] == old + new, member.processed()
                wait_until(lambda group=group: committed(cluster, group) == {("orders", 0): 10},
                           60, "new ones committed by " + group)
            reader.leave()
            node.leave()
        finally:
            for member in (reader, node):
                if member.process.poll() is None:
                    member.kill()


def a_new_group_begins_at_the_time_that_was_said():
    """However long it takes until it has its first generation."""
    with Cluster(brokers=1, settings={"group.initial.rebalance.delay.ms": "2000"}) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=1, replicas=1)
        cluster.produce("orders", 0, [b"before"])
        time.sleep(0.01)
        now_ms = int(time.time() * 1000)
        time.sleep(0.01)
        cluster.produce("orders", 0, [b"after"])
        read = cluster.cli("consume", "orders", "-g", "g", "--from", "@%d" % now_ms, "-e")
        assert read.stdout.splitlines() == [b"after"], read


if __name__ == "__main__":
    run([offsets_are_looked_at_moved_and_deleted,
         a_topic_that_is_made_again_inherits_nothing,
         a_new_group_begins_at_the_time_that_was_said,
         a_restart_of_a_static_member_costs_no_rebalance,
         partitions_added_later_are_read_from_their_first_record,
         members_of_three_kinds_share_a_topic_through_everything])
