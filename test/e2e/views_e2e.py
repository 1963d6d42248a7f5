#!/usr/bin/python3
"""The view of committed offsets is worth nothing of its own: deleted, flipped or cut
short on any one node, stopped or running, it loses nothing. Each replica's view is
compared with the others after each harm."""
import glob
import os
import re
import shutil
import subprocess

from cluster import Cluster, bazel_bin, common_pb2 as E, group_pb2 as g, grpc, run, wait_until

DUMP_VIEWS = os.path.join(bazel_bin(), "test", "e2e", "dump_views")
PARTITIONS = 4
GROUPS = ["group-%d" % i for i in range(48)]  # over all of __consumer_offsets
AGAIN = {E.ERROR_CODE_NOT_COORDINATOR, E.ERROR_CODE_COORDINATOR_NOT_AVAILABLE,
         E.ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS, E.ERROR_CODE_NOT_ENOUGH_REPLICAS,
         E.ERROR_CODE_BROKER_NOT_AVAILABLE, E.ERROR_CODE_REQUEST_TIMED_OUT,
         E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION}


def hard(ask, errors_of, what):
    """Until no answer is "ask again"."""
    last = [None]

    def answered():
        try:
            answer = ask()
        except grpc.RpcError as error:
            last[0] = error
            return None
        last[0] = errors_of(answer)
        return answer if not any(e.code in AGAIN for e in last[0]) else None
    try:
        return wait_until(answered, 60, what)
    except AssertionError as error:
        raise AssertionError("%s: %s" % (error, last[0]))


def commit(cluster, group, offset):
    request = g.CommitOffsetsRequest(group_id=group, generation_id=-1, offsets=[
        g.OffsetCommit(topic=E.TopicRef(name="orders"), partition=p, offset=offset,
                       metadata="of %s" % group) for p in range(PARTITIONS)])
    answer = hard(lambda: cluster.groups().CommitOffsets(request, timeout=10),
                  lambda a: [r.error for r in a.results], "a commit of " + group)
    assert all(r.error.code == 0 for r in answer.results), answer


def committed(cluster, address):
    """What every group has, asked of one broker."""
    request = g.FetchOffsetsRequest(groups=[g.GroupOffsetsQuery(group_id=x) for x in GROUPS])
    answer = hard(lambda: cluster.groups(address).FetchOffsets(request, timeout=10),
                  lambda a: [x.error for x in a.groups], "offsets by " + address)
    for group in answer.groups:
        assert group.error.code == 0, group
        assert all(o.metadata == "of " + group.group_id for o in group.offsets), group
    return {x.group_id: {o.partition: o.offset for o in x.offsets} for x in answer.groups}


class Views:
    """A cluster, and what must be in its views."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.expected = {}
        self.offset = 0

    def commit_all(self, rounds=1):
        for _ in range(rounds):
            self.offset += 1
            for group in GROUPS:
                commit(self.cluster, group, self.offset)
        self.expected = {x: {p: self.offset for p in range(PARTITIONS)} for x in GROUPS}

    def check(self):
        for node in self.cluster.brokers:
            if node.alive:
                found = committed(self.cluster, node.address)
                wrong = {x: found[x] for x in GROUPS if found[x] != self.expected[x]}
                assert not wrong, "broker %d answers %s, %d was committed" % (
                    node.id, wrong, self.offset)

    def path(self, node):
        (view,) = glob.glob(os.path.join(node.dir, "data", "**", "offsets-view"), recursive=True)
        return view

    def compare(self):
        """Stops all of them: what was applied is in the files then."""
        self.cluster.stop(*[n.id for n in self.cluster.brokers])
        dumps = {n.id: self.dump(n) for n in self.cluster.brokers}
        first = dumps[self.cluster.brokers[0].id]
        assert len(first) == 16, first
        for node_id, dump in dumps.items():
            assert dump == first, "the views of broker %d are others: %s, %s" % (
                node_id, dump, first)
        assert sum(int(view[4]) for view in first) == len(GROUPS) * PARTITIONS, first
        self.cluster.start().wait_healthy()

    def dump(self, node):
        out = subprocess.run([DUMP_VIEWS, self.path(node)], check=True, capture_output=True,
                             text=True).stdout
        return [line.split() for line in out.splitlines()]

    def log(self, node):
        with open(node.log_path, errors="replace") as log:
            return log.read()


def files_of(view):
    return [f for f in sorted(glob.glob(view + "/*")) if os.path.getsize(f)]


def delete(view):
    shutil.rmtree(view)


def flip(view):
    for path in files_of(view):
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0x10]))


def cut_short(view):
    for path in files_of(view):
        os.truncate(path, os.path.getsize(path) // 2)


def with_checkpoints(harm):
    """The same to what it would be filled from."""
    def both(view):
        harm(view)
        for store in glob.glob(view + ".checkpoints/checkpoint-*/store"):
            harm(store)
    both.__name__ = harm.__name__ + "_with_checkpoints"
    return both


def three_brokers():
    return Cluster(brokers=3, settings={"offsets.view.checkpoint.bytes": 16384})


def begin(cluster):
    cluster.start().wait_healthy()
    cluster.create_topic("orders", partitions=PARTITIONS, replicas=3)
    views = Views(cluster)
    views.commit_all(rounds=4)
    cluster.wait_full_isr("__consumer_offsets")
    views.check()
    views.compare()
    return views


def a_stopped_nodes_view_may_be_harmed_in_any_way():
    with three_brokers() as cluster:
        views = begin(cluster)
        harms = [delete, flip, cut_short, with_checkpoints(delete), with_checkpoints(flip),
                 with_checkpoints(cut_short)]
        for i, harm in enumerate(harms):
            node = cluster.brokers[i % 3]
            (cluster.stop if i % 2 else cluster.kill)(node.id)
            views.commit_all()
            harm(views.path(node))
            cluster.start(node.id)
            cluster.wait_healthy()
            views.check()
            views.commit_all(rounds=2)
            views.check()
            views.compare()
            print("%s on broker %d: all is there" % (harm.__name__, node.id))
        told = "".join(map(views.log, cluster.brokers))
        filled = re.findall(r"was filled from a checkpoint up to \d+, \d+ bytes, and "
                            r"replayed up to \d+, \d+ bytes of log, in \d+ ms", told)
        replayed = re.findall(r"was replayed up to \d+ from its log's start: "
                              r"\d+ bytes in \d+ ms", told)
        made = re.findall(r"checkpoint of the offsets' views .* (\d+) bytes a record", told)
        assert filled and replayed and made, (filled, replayed, made)
        print("%d views filled from checkpoints, %d replayed whole; %s bytes a record"
              % (len(filled), len(replayed), made[-1]))


def and_that_of_one_that_runs():
    with three_brokers() as cluster:
        views = begin(cluster)
        for i, harm in enumerate((delete, flip, cut_short)):
            node = cluster.brokers[i]
            harm(views.path(node))
            # What it has open still answers; what it writes next finds out.
            views.commit_all(rounds=3)
            views.check()
            cluster.kill(node.id)
            views.check()
            cluster.start(node.id)
            cluster.wait_healthy()
            views.commit_all()
            views.check()
            views.compare()
            print("%s under broker %d: all is there" % (harm.__name__, node.id))


run([a_stopped_nodes_view_may_be_harmed_in_any_way, and_that_of_one_that_runs])
