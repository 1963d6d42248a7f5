#!/usr/bin/python3
"""GroupService.Consume on real processes, from stubs alone: a whole consumer in one
call, at any broker, through everything that can happen to clients and brokers."""
import collections
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from cluster import _STUBS as STUBS_DIRECTORY, ROOT
from cluster import Cluster, Load, common_pb2, group_pb2, grpc, run, wait_until
from consume_client import Consumer
from groups_e2e import GroupWatch, committed, coordinator_of, describe, wait_stable

AUTO = group_pb2.ConsumeOpen.ACK_MODE_AUTO


FAST = {"group.initial.rebalance.delay.ms": "0"}


def started(partitions=4, name="orders", settings=FAST):
    cluster = Cluster(brokers=3, settings=settings)
    cluster.start().wait_healthy()
    cluster.create_topic(name, partitions=partitions, replicas=3, min_insync_replicas=2)
    return cluster


def wait_owns(consumer, count, seconds=60):
    wait_until(lambda: len(consumer.owned) == count or consumer.error is not None, seconds,
               "%d partitions; has %s" % (count, sorted(consumer.owned)))
    assert len(consumer.owned) == count, (consumer.error, consumer.owned)


def wait_read(consumers, values, seconds=60):
    want = set(values)

    def all_read():
        return want <= {v for c in consumers for v in c.values()}
    try:
        wait_until(all_read, seconds, "%d values read" % len(want))
    except AssertionError:
        print([(c.error, len(c.read), sorted(c.owned)) for c in consumers])
        raise


def wait_committed(cluster, group, ends, seconds=60):
    try:
        wait_until(lambda: committed(cluster, group) == ends, seconds, "%s committed" % ends)
    except AssertionError:
        print("committed", committed(cluster, group))
        raise


def fill(cluster, topic, partitions, count=50, tag=b"v"):
    """count values in each partition; returns them."""
    values = []
    for p in range(partitions):
        these = [b"%s-%d-%d" % (tag, p, n) for n in range(count)]
        cluster.produce(topic, p, these)
        values += these
    return values


def one_call_is_a_whole_consumer():
    with started() as cluster:
        values = fill(cluster, "orders", 4)
        for node in (1, 2, 3):  # whoever coordinates and leads
            group = "g%d" % node
            one = Consumer(cluster, group, ["orders"], node=node)
            wait_read([one], values)
            assert sorted(one.values()) == sorted(values), "something was read twice"
            wait_committed(cluster, group, {("orders", p): 50 for p in range(4)})
            wait_until(lambda: one.committed() == {("orders", p): 50 for p in range(4)}, 10,
                       "the broker says so: %s" % one.results)
            assert one.close() == "", one.error
            found = describe(cluster, group)
            assert found.state == group_pb2.GROUP_STATE_EMPTY, found
        # It goes on where it stopped.
        more = fill(cluster, "orders", 4, count=3, tag=b"w")
        two = Consumer(cluster, "g1", ["orders"])
        wait_read([two], more)
        assert sorted(two.values()) == sorted(more), two.values()[:3]
        assert two.close() == ""


def two_streams_share_and_nothing_is_read_twice():
    with started() as cluster:
        for assignor in ("cooperative-sticky", "range"):
            group = "g-" + assignor
            first = Consumer(cluster, group, ["orders"], node=1, assignors=[assignor])
            wait_owns(first, 4)
            load = Load(cluster, "orders", 4)
            load.wait_for(200)
            second = Consumer(cluster, group, ["orders"], node=2, assignors=[assignor])
            wait_owns(second, 2)
            wait_owns(first, 2)
            assert not first.owned & second.owned, (first.owned, second.owned)
            load.wait_for(200)
            # The one that leaves is replaced at once: no session runs out.
            begin = time.monotonic()
            assert second.close() == ""
            wait_owns(first, 4)
            print("  %s: all back after %.1f s" % (assignor, time.monotonic() - begin))
            load.wait_for(200)
            load.stop()
            acked = [v for values in load.acked.values() for v in values]
            wait_read([first, second], acked)
            both = collections.Counter((p, o) for _, p, o, _ in first.read + second.read)
            twice = sorted(r for r, times in both.items() if times > 1)
            assert not twice, "read twice: %s; by the one that left: %s" % (
                twice, [r for r in twice if r in {(p, o) for _, p, o, _ in second.read}])
            assert not first.after_revoke and not second.after_revoke
            assert first.close() == ""


def a_token_takes_the_membership_over_at_another_broker():
    with started() as cluster:
        values = fill(cluster, "orders", 4)
        other = Consumer(cluster, "g", ["orders"], node=3)
        one = Consumer(cluster, "g", ["orders"], node=1)
        wait_owns(one, 2)
        wait_owns(other, 2)
        wait_read([one, other], values)
        before = wait_stable(cluster, "g", 2)
        for node in (2, 1):  # at another broker, and at the same one
            older, token = one, one.token
            one = Consumer(cluster, "g", ["orders"], node=node, token=token)
            assert older.wait_ended() == "TAKEN_OVER", older.error
            wait_owns(one, 2)
            assert one.member_id == older.member_id
            assert one.owned == older.owned
            after = wait_stable(cluster, "g", 2)
            assert after.generation_id == before.generation_id, after
            assert other.generation == before.generation_id
        # A token that was used is none any more.
        late = Consumer(cluster, "g", ["orders"], node=3, token=token)
        assert late.wait_ended() == "TAKEN_OVER", late.error
        more = fill(cluster, "orders", 4, count=5, tag=b"w")
        wait_read([one, other], more)
        assert set(one.values()) <= set(more), "it did not begin at what was committed"
        # The client whose connection broke comes back within its session.
        one.cut()
        back = Consumer(cluster, "g", ["orders"], node=2, token=one.token)
        wait_owns(back, 2)
        assert wait_stable(cluster, "g", 2).generation_id == before.generation_id
        # Whom nobody follows is gone when its session is over.
        back.cut()
        wait_owns(other, 4)
        assert other.close() == ""


def records_cost_credit_and_control_frames_none():
    with started(partitions=1) as cluster:
        for n in range(20):
            cluster.produce("orders", 0, [b"%d" % n + b"x" * 300000])
        one = Consumer(cluster, "g", ["orders"], node=1, credit=1,
                       on_records=lambda consumer, records: None)  # grants nothing
        wait_owns(one, 1)
        for pushes in (1, 2, 3):
            wait_until(lambda: len(one.charges) >= pushes, 60, "a push for any credit")
            time.sleep(0.5)  # would more come without?
            assert len(one.charges) == pushes, one.charges
            assert len(one.read) < 20, "all of it at once: %s" % one.charges
            one.grant(one.charges[-1])
        # Without credit it hears of a rebalance all the same.
        two = Consumer(cluster, "g", ["orders"], node=2)
        wait_until(lambda: len(one.assigned) > 1 or one.revokes, 60, "a rebalance is told")
        assert one.close() == ""
        wait_owns(two, 1)
        assert two.close() == ""


def in_auto_mode_grants_acknowledge():
    with started(partitions=1) as cluster:
        first = [b"a%d" % n for n in range(10)]
        cluster.produce("orders", 0, first)
        one = Consumer(cluster, "g", ["orders"], ack_mode=AUTO,
                       on_records=lambda consumer, records: None)
        wait_read([one], first)
        cluster.produce("orders", 0, [b"b%d" % n for n in range(10)])
        wait_until(lambda: len(one.read) == 20, 60, "both are pushed")
        assert committed(cluster, "g") in ({}, {("orders", 0): 0}), committed(cluster, "g")
        one.grant(sum(one.charges) - 1)  # all but the last byte of the second push
        wait_committed(cluster, "g", {("orders", 0): 10})
        one.grant(1)
        assert one.close() == ""
        assert committed(cluster, "g") == {("orders", 0): 20}
        # Again, with what was not released: it comes again.
        cluster.produce("orders", 0, [b"c"])
        two = Consumer(cluster, "g", ["orders"], ack_mode=AUTO,
                       on_records=lambda consumer, records: None)
        wait_read([two], [b"c"])
        assert two.close() == ""
        assert committed(cluster, "g") == {("orders", 0): 20}


def bad_messages_are_named():
    with started(partitions=1) as cluster:
        cluster.produce("orders", 0, [b"%d" % n for n in range(10)])
        assert Consumer(cluster, "g", ["no-such"]).wait_ended() == "UNKNOWN_TOPIC_OR_PARTITION"
        assert Consumer(cluster, "g", []).wait_ended() == "INVALID_REQUEST"
        assert Consumer(cluster, "", ["orders"]).wait_ended() == "INVALID_GROUP_ID"
        assert Consumer(cluster, "g", ["orders"], session_timeout_ms=1).wait_ended() == \
            "INVALID_SESSION_TIMEOUT"
        assert Consumer(cluster, "g", ["orders"], token=b"made up").wait_ended() == \
            "INVALID_REQUEST"
        silent = cluster.groups().Consume(iter(lambda: time.sleep(60), None))
        begin = time.monotonic()
        try:
            next(silent)
            raise AssertionError("it said something")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
            assert time.monotonic() - begin > 5, error
        one = Consumer(cluster, "g", ["orders"], on_records=lambda consumer, records: None)
        wait_until(lambda: len(one.read) == 10, 60, "all are pushed")
        one.ack(("orders", 0, 11), ("orders", 7, 1), ("orders", 0, 4))
        one.ack(("orders", 0, 3))
        want = {("orders", 0, 11, "INVALID_COMMIT_OFFSET"), ("orders", 7, 1, "INVALID_REQUEST"),
                ("orders", 0, 3, "INVALID_COMMIT_OFFSET"), ("orders", 0, 4, "")}
        wait_until(lambda: set(one.results) == want, 60, "each is answered: %s" % one.results)
        assert committed(cluster, "g") == {("orders", 0): 4}
        one.grant(-1)
        assert one.wait_ended() == "INVALID_REQUEST"
        wait_until(lambda: describe(cluster, "g").state == group_pb2.GROUP_STATE_EMPTY, 10,
                   "its group need not wait for it")


def who_hangs_is_put_out():
    with started() as cluster:
        # One that answers pings and acknowledges nothing.
        fill(cluster, "orders", 4)
        other = Consumer(cluster, "g", ["orders"], node=1)
        wait_owns(other, 4)
        idle = Consumer(cluster, "g", ["orders"], node=2, max_poll_interval_ms=3000)
        wait_owns(idle, 2)
        idle.works.clear()
        more = fill(cluster, "orders", 4, count=5, tag=b"w")
        assert idle.wait_ended() == "CONSUMER_STALLED", idle.error
        wait_read([other], more)
        idle.works.set()
        # A process that is stopped: its kernel goes on, it does not.
        hung = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--consume",
             cluster.nodes[2].address, "g", "orders"], stdout=subprocess.PIPE)
        try:
            assert hung.stdout.readline() == b"assigned 2\n"
            hung.send_signal(signal.SIGSTOP)
            third = fill(cluster, "orders", 4, count=5, tag=b"x")
            wait_read([other], third)
            hung.send_signal(signal.SIGCONT)
            # What it then acknowledges is refused (F71).
            said = hung.stdout.read().split()
            assert b"CONSUMER_STALLED" in said, said
        finally:
            hung.kill()
            hung.wait()
        assert other.close() == ""
        assert committed(cluster, "g") == {("orders", p): 60 for p in range(4)}


def consume_as_a_process(address, group, topic):
    """A client to be stopped: says what it was assigned, and how it ended."""
    class Here:
        nodes = {}

        @staticmethod
        def any_broker():
            return address
    one = Consumer(Here, group, [topic], max_poll_interval_ms=3000)
    wait_owns(one, 2)
    print("assigned 2", flush=True)
    print(one.wait_ended(600), flush=True)


class Resuming:
    """A client that goes on with its token wherever a broker is left."""

    def __init__(self, cluster, group, topic, node):
        self.cluster, self.group, self.topic = cluster, group, topic
        self.streams = [Consumer(cluster, group, [topic], node=node)]
        self.moves = 0

    @property
    def now(self):
        return self.streams[-1]

    def look(self):
        """If its stream ended, another one takes over."""
        ended = self.now
        if ended.error is None:
            return
        alive = [n for n in self.cluster.brokers if n.answers]
        node = next((n for n in alive if ended.moved is not None
                     and n.port == ended.moved.port), alive[len(self.streams) % len(alive)])
        self.moves += ended.moved is not None
        self.streams.append(Consumer(self.cluster, self.group, [self.topic], node=node.id,
                                     token=ended.token))


def brokers_stop_and_die_and_nothing_is_lost():
    with started(partitions=6) as cluster:
        load = Load(cluster, "orders", 6)
        load.wait_for(100)
        clients = [Resuming(cluster, "g", "orders", node) for node in (1, 2, 3)]

        def settled():
            for client in clients:
                client.look()
            owned = [c.now.owned for c in clients]
            return (sum(map(len, owned)) == 6 and len(set().union(*owned)) == 6
                    and all(c.now.error is None for c in clients))
        wait_until(settled, 90, "six partitions are owned")
        watch = GroupWatch(cluster, "g")
        load.wait_for(200)
        for victim, how in ((2, "stop"), (3, "kill"), (coordinator_of(cluster, "g"), "kill")):
            if how == "stop":
                assert cluster.stop(victim) == [0]
            else:
                cluster.kill(victim)
            wait_until(settled, 90, "they go on at others")
            load.wait_for(200, seconds=90)
            cluster.start(victim)
            cluster.wait_full_isr("orders")
            wait_until(settled, 90, "and after it came back")
            print("  broker %d: %s, generation %d" % (victim, how, clients[0].now.generation))
        load.stop()
        watch.stop()
        acked = [v for values in load.acked.values() for v in values]

        def all_read():
            settled()
            return set(acked) <= {v for c in clients for s in c.streams for v in s.values()}
        wait_until(all_read, 90, "every acknowledged record is processed")
        assert sum(c.moves for c in clients) >= 1, "the broker that stopped sent nobody on"
        ends = {("orders", p): len(cluster.read_all("orders", p)) for p in range(6)}
        wait_committed(cluster, "g", ends, seconds=60)
        for client in clients:
            assert client.now.close() == "", client.now.error
        print("  %d records, %d streams" % (
            load.count(), sum(len(c.streams) for c in clients)))


def the_program_of_the_docs_runs():
    with open(os.path.join(ROOT, "docs", "consume.md")) as docs:
        programs = re.findall(r"```python\n(.*?)```", docs.read(), re.S)
    assert len(programs) == 1, "%d Python programs in docs/consume.md" % len(programs)
    with started(partitions=6, name="quickstart", settings=None) as cluster:  # as it comes
        values = fill(cluster, "quickstart", 6, count=10)
        done = subprocess.run(
            [sys.executable, "-c", programs[0], cluster.nodes[2].address, "60"],
            capture_output=True, timeout=60, env=dict(os.environ, PYTHONPATH=STUBS_DIRECTORY))
        assert done.returncode == 0, done.stderr.decode()
        read = [line.split()[2] for line in done.stdout.splitlines()]
        assert sorted(read) == sorted(values), read[:3]
        assert committed(cluster, "billing") == {("quickstart", p): 10 for p in range(6)}
        assert describe(cluster, "billing").state == group_pb2.GROUP_STATE_EMPTY


def offsets_beside_the_output_begin_by_seek():
    with started(partitions=1) as cluster:
        cluster.produce("orders", 0, [b"%d" % n for n in range(10)])
        one = Consumer(cluster, "g", ["orders"], start_by_seek=True)
        wait_owns(one, 1)
        one.send(seek=group_pb2.ConsumeSeek(positions=[group_pb2.ConsumePosition(
            topic=common_pb2.TopicRef(name="orders"), partition=0, offset=6)]))
        wait_read([one], [b"9"])
        assert one.values() == [b"6", b"7", b"8", b"9"], one.values()
        assert one.close() == ""


if __name__ == "__main__":
    if sys.argv[1:2] == ["--consume"]:
        consume_as_a_process(*sys.argv[2:])
        shutil.rmtree(STUBS_DIRECTORY, ignore_errors=True)
        sys.exit(0)
    run([one_call_is_a_whole_consumer,
         two_streams_share_and_nothing_is_read_twice,
         a_token_takes_the_membership_over_at_another_broker,
         records_cost_credit_and_control_frames_none,
         in_auto_mode_grants_acknowledge,
         the_program_of_the_docs_runs,
         offsets_beside_the_output_begin_by_seek,
         bad_messages_are_named,
         who_hangs_is_put_out,
         brokers_stop_and_die_and_nothing_is_lost])
