#!/usr/bin/python3
"""Kills and restarts under load, both topologies, checked record by record."""
import os
import signal
import subprocess
import time

from cluster import Cluster, Load, cluster_pb2, common_pb2, run, wait_until


def kill_leader_follower_and_controller(cluster, topology):
    with cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=6, replicas=3, min_insync_replicas=2)
        load = Load(cluster, "orders", 6)
        load.wait_for(500)

        leader = cluster.leader("orders", 0)
        cluster.kill(leader)
        print("  %s: killed leader %d" % (topology, leader))
        load.wait_for(500)
        cluster.start(leader)
        cluster.wait_full_isr("orders")

        follower = next(p.replicas[-1] for p in cluster.partitions("orders")
                        if p.partition == 0)
        cluster.kill(follower)
        print("  %s: killed follower %d" % (topology, follower))
        load.wait_for(500)
        cluster.start(follower)
        cluster.wait_full_isr("orders")

        for round_ in range(10):
            active = cluster.active_controller()
            cluster.kill(active)
            load.wait_for(100)
            cluster.start(active)
            cluster.wait_full_isr("orders")
            print("  %s: killed active controller %d (%d of 10)" % (topology, active, round_ + 1))
        cluster.wait_healthy()
        load.stop().check()


def combined_roles_lose_leaders_followers_and_controllers():
    kill_leader_follower_and_controller(Cluster(brokers=3), "combined")


def split_roles_lose_leaders_followers_and_controllers():
    kill_leader_follower_and_controller(Cluster(brokers=3, controllers=3), "split")


def all_nodes_killed_and_restarted(replicas):
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("ledger", partitions=6, replicas=replicas)
        load = Load(cluster, "ledger", 6)
        load.wait_for(600)
        cluster.kill(1, 2, 3)
        cluster.start(1, 2, 3)
        load.wait_for(600)
        cluster.wait_full_isr("ledger")
        load.stop().check()


def all_nodes_killed_and_restarted_rf3():
    all_nodes_killed_and_restarted(3)


def all_nodes_killed_and_restarted_rf1():
    all_nodes_killed_and_restarted(1)


def clean_restart_of_every_node():
    """Brokers hand their leaderships over; nothing is lost, exit codes are 0."""
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=6, replicas=3)
        load = Load(cluster, "orders", 6)
        for node in (1, 2, 3):
            load.wait_for(200)
            assert cluster.stop(node) == [0]
            load.wait_for(200)
            cluster.start(node)
            cluster.wait_full_isr("orders")
        load.stop().check()
        # Without a quorum the stop still ends, within its cap.
        assert cluster.stop(1, 2, 3) == [0, 0, 0]
        cluster.start().wait_healthy()
        load.check()


def a_broker_on_an_empty_directory_refills_and_rejoins():
    # A split topology: the wiped node is no voter.
    with Cluster(brokers=3, controllers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=3, replicas=3)
        load = Load(cluster, "orders", 3)
        load.wait_for(600)
        cluster.kill(2)
        cluster.wipe(2)
        load.wait_for(200)
        cluster.start(2)
        cluster.wait_full_isr("orders")
        load.wait_for(200)
        load.stop()
        # The refilled replica has it all: it alone serves the read.
        cluster.kill(1)
        wait_until(lambda: all(p.leader_id in (2, 3) for p in cluster.partitions("orders")),
                   60, "leaders among the living")
        load.check()


def a_hung_leader_costs_one_session_and_comes_back():
    """SIGSTOP: no connection breaks, so only the session tells. Afterwards it
    still takes itself for the leader, and must acknowledge nothing alone."""
    with Cluster(brokers=3, controllers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=6, replicas=3, min_insync_replicas=2)
        load = Load(cluster, "orders", 6)
        load.wait_for(500)
        hung = cluster.leader("orders", 0)
        cluster.nodes[hung].process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        others = next(n for n in cluster.brokers if n.id != hung)

        def moved():
            answer = cluster.cluster(others.address).GetMetadata(
                cluster_pb2.GetMetadataRequest(topics=[common_pb2.TopicRef(name="orders")]),
                timeout=5)
            return all(p.leader_id not in (-1, hung) for p in answer.topics[0].partitions)
        wait_until(moved, 60, "leaders among the others")
        print("  leaders moved %.1f s after the hang" % (time.monotonic() - began))
        cluster.nodes[hung].process.send_signal(signal.SIGCONT)
        load.wait_for(500)
        cluster.wait_full_isr("orders")
        load.stop().check()


def a_failed_sync_ends_the_process_and_loses_nothing():
    """ST4: after a failed fsync nobody knows what is on the disk. The process
    ends at once, others lead, and the next start recovers what is there."""
    with Cluster(brokers=3, controllers=1) as cluster:
        shim = make_sync_shim(cluster.dir)
        for node in cluster.brokers:
            node.env = dict(os.environ, LD_PRELOAD=shim,
                            FAIL_SYNC=os.path.join(node.dir, "fail-sync"))
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=3, replicas=3, min_insync_replicas=2)
        load = Load(cluster, "orders", 3)
        load.wait_for(300)
        victim = cluster.leader("orders", 0)
        node = cluster.nodes[victim]
        open(os.path.join(node.dir, "fail-sync"), "w").close()
        assert node.process.wait(timeout=60) == 3, "it goes on without its disk"
        node.process = None
        with open(node.log_path, errors="replace") as log:
            fatal = [l for l in log if "FATAL STORAGE_ERROR" in l]
        assert len(fatal) == 1, fatal
        print("  " + fatal[0].strip()[:150])
        load.wait_for(300)
        os.remove(os.path.join(node.dir, "fail-sync"))
        cluster.start(victim)
        cluster.wait_full_isr("orders")
        load.stop().check()


def make_sync_shim(directory):
    """A library whose syncs fail with EIO while the file $FAIL_SYNC exists."""
    source = os.path.join(directory, "shim.c")
    with open(source, "w") as out:
        out.write(r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(void) {
  const char* path = getenv("FAIL_SYNC");
  return path != NULL && access(path, F_OK) == 0;
}
#define SHIM(name)                                                      \
  int name(int fd) {                                                    \
    static int (*real)(int);                                            \
    if (fails()) { errno = EIO; return -1; }                            \
    if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, #name);     \
    return real(fd);                                                    \
  }
SHIM(fdatasync)
SHIM(fsync)
SHIM(syncfs)
""")
    library = os.path.join(directory, "shim.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


if __name__ == "__main__":
    run([combined_roles_lose_leaders_followers_and_controllers,
         split_roles_lose_leaders_followers_and_controllers,
         all_nodes_killed_and_restarted_rf3, all_nodes_killed_and_restarted_rf1,
         clean_restart_of_every_node,
         a_broker_on_an_empty_directory_refills_and_rejoins,
         a_hung_leader_costs_one_session_and_comes_back,
         a_failed_sync_ends_the_process_and_loses_nothing])
