#!/usr/bin/python3
"""Disks that are full: who says so, who leads instead, and the way back."""
import os
import subprocess

from cluster import Cluster, common_pb2, log_pb2, run, wait_until

E = common_pb2
CLEAR_MS = 3000


def make_full_disk_shim(directory):
    """A library whose positioned writes (all that a log makes) find no room
    while the file $FULL_DISK exists."""
    source = os.path.join(directory, "full.c")
    with open(source, "w") as out:
        out.write(r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
typedef ssize_t (*Real)(int, const struct iovec*, int, off_t);
static ssize_t write_at(const char* name, int fd, const struct iovec* pieces,
                        int count, off_t offset) {
  const char* path = getenv("FULL_DISK");
  if (path != NULL && access(path, F_OK) == 0) { errno = ENOSPC; return -1; }
  return ((Real)dlsym(RTLD_NEXT, name))(fd, pieces, count, offset);
}
ssize_t pwritev(int fd, const struct iovec* p, int n, off_t at) {
  return write_at("pwritev", fd, p, n, at);
}
ssize_t pwritev64(int fd, const struct iovec* p, int n, off_t at) {
  return write_at("pwritev64", fd, p, n, at);
}
""")
    library = os.path.join(directory, "libfull.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class Disks:
    def __init__(self, cluster):
        self.cluster = cluster
        shim = make_full_disk_shim(cluster.dir)
        for node in cluster.brokers:
            node.env = dict(os.environ, LD_PRELOAD=shim, FULL_DISK=self._fault(node))

    @staticmethod
    def _fault(node):
        return os.path.join(node.dir, "full-disk")

    def fill(self, *ids):
        for i in ids:
            open(self._fault(self.cluster.nodes[i]), "w").close()

    def free(self, *ids):
        for i in ids:
            os.remove(self._fault(self.cluster.nodes[i]))


def produce(cluster, node_id, value, partition=0):
    part = log_pb2.ProducePartition(topic=common_pb2.TopicRef(name="t"), partition=partition)
    part.records.records.add(value=value)
    return cluster.log(cluster.nodes[node_id].address).Produce(
        log_pb2.ProduceRequest(acks=-1, partitions=[part], timeout_ms=10000), timeout=60).results[0]


def health(cluster):
    done = cluster.cli("cluster", "health", check=False)
    assert done.returncode in (0, 3), done
    return done.stdout.decode()


def a_full_disk_is_named_and_its_leaderships_move():
    with Cluster(brokers=3, controllers=1,
                 settings={"gray.failure.clear.ms": CLEAR_MS}) as cluster:
        disks = Disks(cluster)
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=3, replicas=3, min_insync_replicas=2)
        cluster.wait_full_isr("t")
        victim = cluster.leader("t")
        assert produce(cluster, victim, b"before").error.code == 0
        disks.fill(victim)
        refused = wait_until(lambda: (lambda r: r if r.error.code else None)(
            produce(cluster, victim, b"no room")), 60, "a refusal")
        assert refused.error.code == E.ERROR_CODE_STORAGE_FULL, refused
        # Where its files are is not for who produces.
        assert cluster.nodes[victim].dir not in refused.error.message, refused

        def moved():
            return all(p.leader_id not in (-1, victim) for p in cluster.partitions("t"))
        wait_until(moved, 60, "leaders on brokers that have room")
        # Any broker is asked, the one with the full disk tells.
        told = wait_until(lambda: (lambda h: h if "DISK_FULL" in h else None)(health(cluster)),
                          60, "that health names the disk")
        line = next(l for l in told.splitlines() if "DISK_FULL" in l)
        assert "broker %d" % victim in line and cluster.nodes[victim].dir in line, told
        assert "free some there" in line and "BROKER_DEMOTED" in told, told
        for n in range(5):
            assert produce(cluster, cluster.leader("t"), b"%d" % n).error.code == 0

        disks.free(victim)
        wait_until(lambda: "DISK_FULL" not in health(cluster), 60, "room is noticed")
        cluster.wait_full_isr("t")
        cluster.wait_healthy()
        cluster.cli("partition", "elect", "t")
        wait_until(lambda: cluster.leader("t") == victim, 60, "its leadership is back")
        values = [v for _, _, v in cluster.read_all("t", 0)]
        assert values == [b"before"] + [b"%d" % n for n in range(5)], values


def where_no_disk_has_room_writes_wait_and_reads_go_on():
    with Cluster(brokers=3, controllers=1,
                 settings={"gray.failure.clear.ms": CLEAR_MS}) as cluster:
        disks = Disks(cluster)
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=3, min_insync_replicas=2)
        cluster.wait_full_isr("t")
        assert produce(cluster, cluster.leader("t"), b"before").error.code == 0
        disks.fill(1, 2, 3)

        def refused_by(count):
            code = produce(cluster, cluster.leader("t"), b"no room").error.code
            assert code in (E.ERROR_CODE_STORAGE_FULL, E.ERROR_CODE_NOT_LEADER,
                            E.ERROR_CODE_LEADER_NOT_AVAILABLE), code
            return health(cluster).count("DISK_FULL") >= count
        # Who has not tried to store anything does not know of its disk. A
        # leadership that moves to such a broker ends there: half of three at
        # most give theirs up.
        wait_until(lambda: refused_by(2), 60, "two full disks are named")
        values = [v for _, _, v in cluster.read_all("t", 0)]
        assert values == [b"before"], values
        disks.free(1, 2, 3)
        wait_until(lambda: produce(cluster, cluster.leader("t"), b"after").error.code == 0, 60,
                   "writes go on")
        cluster.wait_healthy()
        values = [v for _, _, v in cluster.read_all("t", 0)]
        assert values == [b"before", b"after"], values


if __name__ == "__main__":
    run([a_full_disk_is_named_and_its_leaderships_move,
         where_no_disk_has_room_writes_wait_and_reads_go_on])
