#!/usr/bin/python3
"""The view of committed offsets is worth nothing of its own: deleted, flipped or cut
short on any one node, stopped or running, it loses nothing. Each replica's view is
compared with the others after each harm."""
import errno
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


def link_to_nowhere(view):
    shutil.rmtree(view)
    os.symlink(view + ".gone", view)


def plain_file(view):
    shutil.rmtree(view)
    with open(view, "w") as file:
        file.write("no directory")


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
                 with_checkpoints(cut_short), link_to_nowhere, plain_file]
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


def make_refusing_disk(directory):
    """A library for which, while the file $VIEW_FAULT exists, no view can be opened or
    renamed, with the errno that is in the file. Root may write what it likes, so
    permissions would not do."""
    source = os.path.join(directory, "refuse.c")
    with open(source, "w") as out:
        out.write(r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int fault(const char* path, const char* end) {
  size_t n = strlen(path), m = strlen(end);
  if (n < m || strcmp(path + n - m, end) != 0) return 0;
  FILE* file = fopen(getenv("VIEW_FAULT"), "r");
  int number = 0;
  if (file == NULL) return 0;
  if (fscanf(file, "%d", &number) != 1) number = EIO;
  fclose(file);
  return number;
}
static int open_by(const char* name, const char* path, int flags, mode_t mode) {
  int number = fault(path, "offsets-view/room-probe");
  if (number != 0) { errno = number; return -1; }
  return ((int (*)(const char*, int, ...))dlsym(RTLD_NEXT, name))(path, flags, mode);
}
#define OPEN(NAME) \
  int NAME(const char* path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    return open_by(#NAME, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
int rename(const char* from, const char* to) {
  int number = fault(from, "offsets-view");
  if (number != 0) { errno = number; return -1; }
  return ((int (*)(const char*, const char*))dlsym(RTLD_NEXT, "rename"))(from, to);
}
""")
    library = os.path.join(directory, "librefuse.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def health(cluster):
    done = cluster.cli("cluster", "health", check=False)
    assert done.returncode in (0, 3), done
    return done.stdout.decode()


def one_that_cannot_be_opened_is_named_and_comes_back_by_itself():
    with three_brokers() as cluster:
        library = make_refusing_disk(cluster.dir)
        for node in cluster.brokers:
            node.env = dict(os.environ, LD_PRELOAD=library,
                            VIEW_FAULT=os.path.join(node.dir, "view-fault"))
        views = begin(cluster)
        faults = ((errno.EACCES, "REPLICA_FAILED", "Permission denied", "delete that directory"),
                  (errno.EIO, "REPLICA_FAILED", "Input/output error", "delete that directory"),
                  (errno.ENOSPC, "DISK_FULL", "No space left on device", "free room"))
        for i, (number, kind, reason, next_step) in enumerate(faults):
            node = cluster.brokers[i]
            cluster.kill(node.id)
            views.commit_all()
            harmless = views.path(node)
            before = {os.path.basename(f) for f in glob.glob(harmless + "/*.sst")}
            with open(node.env["VIEW_FAULT"], "w") as file:
                file.write(str(number))
            cluster.start(node.id)

            def told():
                return next((line for line in health(cluster).splitlines()
                             if line.startswith(kind) and "offsets-view" in line), None)
            # Whoever is asked first asks the others what only they know.
            line = wait_until(told, 60, "%s in health" % kind)
            for word in ("broker %d" % node.id, views.path(node), reason, next_step,
                         "without a restart"):
                assert word in line, (word, line)
            os.remove(node.env["VIEW_FAULT"])
            wait_until(lambda: "offsets-view" not in health(cluster), 60, "it is opened again")
            if number == errno.ENOSPC:
                # RocksDB may compact what it opens; it does not begin anew.
                assert not os.path.exists(harmless + ".damaged"), "set aside for want of room"
                assert before and before & {os.path.basename(f)
                                            for f in glob.glob(harmless + "/*.sst")}, before
            cluster.wait_healthy()
            views.check()
            views.compare()
            print("%s on broker %d: named, and all is there" % (reason, node.id))


if __name__ == "__main__":
    run([a_stopped_nodes_view_may_be_harmed_in_any_way, and_that_of_one_that_runs,
         one_that_cannot_be_opened_is_named_and_comes_back_by_itself])
