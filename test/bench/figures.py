#!/usr/bin/python3
"""Takes figures; run.sh is the way in."""
import argparse
import json
import os
import re
import subprocess
import sys
import time

from rigs import (
    DEADLINE_S, SYNC_FAULT, Cluster, Dev, Probe, cpu_seconds, disk_bytes, group_bench,
    machine, median, produce, wait_until)

FIGURES = {}
TOPIC = "bench"


def figure(wanted):
    """Its function's name is its own; `wanted` is what an issue asks for."""
    def add(body):
        FIGURES[body.__name__] = (body, wanted)
        return body
    return add


def latency_and_cost(result):
    return {key: result[key] for key in ("mbPerSecond", "recordsPerSecond", "latencyMs",
                                         "servers") if key in result}


# ---- Records

def one_at_a_time(durability, records):
    with Dev() as dev:
        realtime = dev.realtime_priority()
        print("bench: servers at real-time priority %d%s" % (
            realtime, "" if realtime else " (none; --realtime N asks for it)"),
            file=sys.stderr, flush=True)
        dev.topic(TOPIC, 1, durability)
        runs = [dev.bench("produce", "--topic", TOPIC, "--num-records", str(records),
                          "--record-size", "100", "--max-in-flight", "1") for _ in range(3)]
    best = min(runs, key=lambda run: run["latencyMs"]["p50"])
    return {"realtimePriority": realtime, "p50Ms": [run["latencyMs"]["p50"] for run in runs],
            "best": latency_and_cost(best)}


@figure("p50 0.5 ms")
def one_in_flight_memory(scale):
    """One record of 100 B after the other, RF 3."""
    return one_at_a_time("memory", int(5000 * scale))


@figure("p50 1 ms")
def one_in_flight_disk(scale):
    """The same, synced before the acknowledgement."""
    return one_at_a_time("disk", int(3000 * scale))


def throughput(durability, records):
    with Dev() as dev:
        dev.topic(TOPIC, 12, durability)
        return latency_and_cost(dev.bench(
            "produce", "--topic", TOPIC, "--num-records", str(records), "--record-size", "1024",
            "--batch-size", "65536"))


@figure("100 MB/s")
def throughput_memory(scale):
    """1 KiB records to 12 partitions, acks=all."""
    return throughput("memory", int(1_000_000 * scale))


@figure("60 MB/s")
def throughput_disk(scale):
    """The same, synced before the acknowledgement."""
    return throughput("disk", int(1_000_000 * scale))


# ---- Failures

@figure("median 700 ms")
def failover_1000(scale):
    """kill -9 of a leader: 1,000 partitions, separate controllers."""
    with Dev(controllers=3) as dev:
        return dev.bench("failover", "--partitions", str(int(1000 * scale)), "--rounds", "5",
                         "--interval-ms", "50")


FENCED = re.compile(r"broker (\d+) epoch \d+ is fenced: .*; (\d+) partitions change")


@figure("one batch")
def elections_in_one_batch(scale):
    """One broker leads 1,000 partitions and dies."""
    partitions = int(1000 * scale)
    with Cluster(brokers=3, controllers=3, name="bench") as cluster:
        cluster.start().wait_healthy(DEADLINE_S)
        cluster.create_topic(TOPIC, partitions=partitions, min_insync_replicas=1)
        cluster.wait_full_isr(TOPIC, DEADLINE_S)
        cluster.kill(2, 3)
        wait_until(lambda: led_by(cluster, 1) == partitions, DEADLINE_S, "1 leads all")
        cluster.start(2, 3).wait_healthy(DEADLINE_S)
        cluster.wait_full_isr(TOPIC, DEADLINE_S)
        before = sum(len(fencings(cluster, c, 1)) for c in cluster.controllers)
        began = time.monotonic()
        cluster.kill(1)
        wait_until(lambda: led_by(cluster, 2) + led_by(cluster, 3) == partitions, DEADLINE_S,
                   "new leaders of all")
        took = time.monotonic() - began
        batches = [n for c in cluster.controllers for n in fencings(cluster, c, 1)][before:]
        return {"partitions": partitions, "batches": batches, "allLedAgainMs": took * 1000}


def led_by(cluster, broker):
    return sum(p.leader_id == broker for p in cluster.partitions(TOPIC))


def fencings(cluster, controller, broker):
    """How many partitions each fencing of the broker changed, at once."""
    with open(controller.log_path, errors="replace") as log:
        return [int(m.group(2)) for m in map(FENCED.search, log)
                if m and int(m.group(1)) == broker]


@figure("80 % of healthy")
def throughput_with_a_hung_disk(scale):
    """No sync of one broker ends any more; measured once it is in no ISR."""
    with Cluster(brokers=3, controllers=3, name="bench") as cluster:
        for node in cluster.brokers:
            node.env = dict(os.environ, LD_PRELOAD=SYNC_FAULT,
                            SLUICE_SYNC_FAULT=os.path.join(node.dir, "syncs-hang"))
        cluster.start().wait_healthy(DEADLINE_S)
        cluster.create_topic(TOPIC, partitions=12, min_insync_replicas=2, durability="disk")
        cluster.wait_full_isr(TOPIC, DEADLINE_S)

        def measure():
            return produce(cluster.bootstrap(), TOPIC, "--num-records",
                           str(int(200_000 * scale)), "--record-size", "1024", "--batch-size",
                           "65536")["mbPerSecond"]
        measure()  # warms up
        healthy = [measure()]
        with open(os.path.join(cluster.nodes[3].dir, "syncs-hang"), "wb"):
            pass
        began = time.monotonic()
        with_load = subprocess.Popen(  # a disk that nobody uses hangs for nobody
            [sys.executable, __file__, "--load", cluster.bootstrap()])
        wait_until(lambda: all(3 not in p.isr and p.leader_id != 3
                               for p in cluster.partitions(TOPIC)), DEADLINE_S, "3 in no ISR")
        left_after = time.monotonic() - began
        with_load.kill()
        with_load.wait()
        hung = [measure(), measure()]
        os.remove(os.path.join(cluster.nodes[3].dir, "syncs-hang"))
        if not cluster.nodes[3].alive:  # it gave its disk up
            cluster.nodes[3].process = None
            cluster.start(3)
        cluster.wait_full_isr(TOPIC, DEADLINE_S)
        healthy.append(measure())
        return {"healthyMbPerSecond": healthy, "hungMbPerSecond": hung,
                "leftIsrAfterMs": left_after * 1000,
                "share": sum(hung) / sum(healthy)}


@figure("0 duplicates")
def duplicates_after_50_kills(scale):
    """test/chaos, case fifty_leader_kills: its judge's counts."""
    run = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "chaos",
                       "run.sh")
    done = subprocess.run([run, "--case", "fifty_leader_kills"], stdout=subprocess.PIPE,
                          text=True)
    print(done.stdout, file=sys.stderr)
    def count(name):
        return int(re.search(r"\b%s\s+(\d+)" % name.replace(" ", r"\s+"), done.stdout).group(1))
    return {"passed": done.returncode == 0, "acknowledged": count("acked"), "lost": count("LOST"),
            # Of the producers that are idempotent; the one with acks=1 may
            # store twice what it sent twice.
            "duplicates": count("DUP"), "duplicatesExplained": count("duplicates explained")}


# ---- Groups

def group_cluster(partitions):
    cluster = Cluster(brokers=3, controllers=3, name="bench")
    cluster.__enter__()
    try:
        cluster.start().wait_healthy(DEADLINE_S)
        cluster.create_topic(TOPIC, partitions=partitions)
        cluster.cli("group", "list")
    except BaseException:
        cluster.__exit__(*sys.exc_info())
        raise
    return cluster


def load_offsets(cluster, scale):
    """1,000,000 offsets: 10,000 groups, 100 partitions each."""
    return group_bench(cluster, "commits", TOPIC, 100, groups=int(10_000 * scale),
                       calls=int(10_000 * scale), offsets_per_call=100, in_flight=128)


def views(cluster):
    return {n.id: os.path.join(n.dir, "data", "broker", "offsets-view") for n in cluster.brokers}


@figure("first commit 1.5 s after the kill; 200 B an offset")
def coordinator_failover(scale):
    """kill -9 of a coordinator with 1,000,000 offsets in 10,000 groups."""
    cluster = group_cluster(100)
    probe = None
    try:
        loaded = load_offsets(cluster, scale)
        size = {n: disk_bytes(d) for n, d in views(cluster).items()}
        kills = []
        for victim in (1, 2, 3):
            probe = Probe(cluster, TOPIC)
            time.sleep(1)
            killed_at = time.monotonic()
            cluster.kill(victim)
            time.sleep(4)
            groups = probe.stop()
            kills.append({"killed": victim, **after_kill(groups, victim, killed_at)})
            cluster.start(victim).wait_healthy(DEADLINE_S)
            cluster.wait_full_isr("__consumer_offsets", DEADLINE_S)
        return {"loaded": loaded, "kills": kills,
                "bytesPerOffset": {n: b / loaded["offsets"] for n, b in size.items()}}
    finally:
        if probe is not None:
            probe.close()
        cluster.__exit__(*sys.exc_info())


def after_kill(groups, victim, killed_at):
    """Of each group that the victim coordinated: the silence that the kill
    lies in ends with the first commit after it."""
    firsts = [(g["gapToS"] - killed_at) * 1000 for g in groups
              if g["coordinator"] == victim and g["gapFromS"] <= killed_at + 0.1]
    others = [(g["gapToS"] - g["gapFromS"]) * 1000 for g in groups
              if g["coordinator"] != victim]
    return {"coordinated": sum(g["coordinator"] == victim for g in groups),
            "firstCommitMs": {"median": median(firsts), "worst": max(firsts)},
            "othersLongestGapMs": max(others), "failed": sum(g["failed"] for g in groups)}


@figure("50,000 offsets/s in 5,000 calls")
def commit_rate(scale):
    """Ten offsets a call, 1,000 groups; at 5,000 calls/s and as many as go."""
    cluster = group_cluster(100)
    try:
        group_bench(cluster, "commits", TOPIC, 100, groups=1000, calls=1000,
                    offsets_per_call=10)  # every group is there
        results = {}
        for name, rate in (("asked5000", 5000), ("asManyAsGo", 0)):
            before = cpu_seconds(cluster)
            calls = int(25_000 * scale)
            result = group_bench(cluster, "commits", TOPIC, 100, groups=1000, calls=calls,
                                 offsets_per_call=10, calls_per_s=rate, in_flight=500)
            result["serverCpuMsPerCall"] = (cpu_seconds(cluster) - before) * 1000 / calls
            results[name] = result
        return results
    finally:
        cluster.__exit__(*sys.exc_info())


@figure("stable in 10 s")
def thousand_members(scale):
    """1,000 members join one group at once."""
    members = int(1000 * scale)
    cluster = group_cluster(members)
    try:
        return group_bench(cluster, "members", TOPIC, members, members=members)
    finally:
        cluster.__exit__(*sys.exc_info())


# ----

def main():
    parser = argparse.ArgumentParser(prog="test/bench/run.sh")
    parser.add_argument("--figure", action="append", default=[], metavar="NAME",
                        help="only these; repeatable")
    parser.add_argument("--list", action="store_true", help="their names")
    parser.add_argument("--scale", type=float, default=1.0,
                        help="of counts: 0.1 tries a figure out and is none")
    parser.add_argument("--realtime", type=int, default=0, metavar="N",
                        help="servers of `sluice dev` run with --realtime_priority=N")
    parser.add_argument("--load", metavar="BOOTSTRAP", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        while True:
            produce(args.load, TOPIC, "--num-records", "2000", "--record-size", "1024",
                    "--throughput", "2000")
    if args.list:
        for name, (body, wanted) in FIGURES.items():
            print("%-28s %s Wanted: %s." % (name, body.__doc__.split("\n\n")[0], wanted))
        return 0
    Dev.realtime = args.realtime
    unknown = [name for name in args.figure if name not in FIGURES]
    if unknown:
        parser.error("no figure %s; see --list" % ", ".join(unknown))
    taken = {}
    for name in args.figure or FIGURES:
        body, wanted = FIGURES[name]
        print("bench: %s: %s" % (name, body.__doc__), file=sys.stderr, flush=True)
        taken[name] = {"wanted": wanted, "machine": machine(), "scale": args.scale,
                       **body(args.scale)}
        print(json.dumps({name: taken[name]}), file=sys.stderr, flush=True)
    print(json.dumps(taken, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
