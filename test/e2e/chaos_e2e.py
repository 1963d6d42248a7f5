#!/usr/bin/python3
"""Random kills, hangs, clean stops and restarts of real processes under load.

SLUICE_CHAOS_SECONDS (default 15) for each topology, SLUICE_SEED for another
order of events. Whatever happened: afterwards the cluster is healthy, every
acknowledged record is there in order, and no node logged an error.
"""
import os
import random
import signal
import time

from cluster import Cluster, Load, run

SECONDS = float(os.environ.get("SLUICE_CHAOS_SECONDS", "15"))
SEED = int(os.environ.get("SLUICE_SEED", "1"))
LIVING_MIN = 4  # nodes that run at any time: clients want to see progress


class Chaos:
    def __init__(self, cluster, seed):
        self.cluster, self.random = cluster, random.Random(seed)
        self.hung = set()
        self.counts = {}

    def running(self):
        return [n for n in self.cluster.nodes.values() if n.alive and n.id not in self.hung]

    def step(self):
        node = self.random.choice(list(self.cluster.nodes.values()))
        kind = self.random.choice(["kill", "kill", "hang", "wake", "stop", "start", "start"])
        harm = kind in ("kill", "hang", "stop")
        if harm and (node not in self.running() or len(self.running()) <= LIVING_MIN):
            return
        self.counts[kind] = self.counts.get(kind, 0) + 1
        getattr(self, kind)(node)

    def kill(self, node):
        self.cluster.kill(node.id)

    def hang(self, node):
        node.process.send_signal(signal.SIGSTOP)
        self.hung.add(node.id)

    def wake(self, _):
        for node_id in self.hung:
            self.cluster.nodes[node_id].process.send_signal(signal.SIGCONT)
        self.hung.clear()

    def stop(self, node):
        codes = self.cluster.stop(node.id)
        assert codes == [0], "node %d did not stop cleanly: exit %s" % (node.id, codes)

    def start(self, _):
        for node in self.cluster.nodes.values():
            if node.process is not None and not node.alive:
                raise AssertionError("node %d ended by itself: exit %d" % (
                    node.id, node.process.returncode))
            if not node.alive:
                self.cluster.start(node.id)


def errors_in_logs(cluster):
    found = []
    for node in cluster.nodes.values():
        with open(node.log_path, errors="replace") as log:
            found += ["node %d: %s" % (node.id, line.strip()) for line in log
                      if line.startswith(("E2", "F2")) or "INVARIANT" in line]
    return found


def chaos(cluster):
    with cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=6, replicas=3, min_insync_replicas=2)
        load = Load(cluster, "orders", 6)
        load.wait_for(100)
        events = Chaos(cluster, SEED)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            events.step()
            time.sleep(events.random.random())
        events.wake(None)
        events.start(None)
        cluster.wait_healthy()
        cluster.wait_full_isr("orders")
        load.stop().check()
        print("  seed %d: %s" % (SEED, events.counts))
        errors = errors_in_logs(cluster)
        assert not errors, "\n".join(errors[:10])


def combined_roles_under_random_faults():
    chaos(Cluster(brokers=5))


def split_roles_under_random_faults():
    chaos(Cluster(brokers=4, controllers=3))


if __name__ == "__main__":
    run([combined_roles_under_random_faults, split_roles_under_random_faults])
