"""One run: a cluster, its recording clients, and the verdict."""
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from cluster import (  # noqa: E402
    Cluster, bazel_bin, cluster_pb2, common_pb2, free_ports, wait_until)

from verdict import rests_on_nothing  # noqa: E402

WORKLOAD = os.path.join(bazel_bin(), "test", "chaos", "workload")
# As /proc/PID/maps names it: bazel-bin is a link.
SYNC_FAULT = os.path.realpath(
    os.path.join(bazel_bin(), "test", "chaos", "libsync_fault.so"))
CHECK = os.path.join(bazel_bin(), "test", "check", "check_history")
TOPIC = "orders"
BROKERS = (1, 2, 3)
CONTROLLERS = (101, 102, 103)
PROGRESS = 10_000  # records acknowledged by all while a survivable fault lasts
PROGRESS_EACH = 800  # of them in every partition: more than is told late
DEADLINE_S = 120  # of anything that must happen: far beyond any timeout inside
# Of a broker whose disk answers nothing: it ends itself (broker/disk_watch.h).
DISK_GIVEN_UP = "its disk has answered nothing for"
RECORDS_PER_S = 1500  # of each producer; two of the three ask for acks = all


def sync_fault(node):
    """While this file is there the node's syncs do not end (sync_fault.cc)."""
    return os.path.join(node.dir, "syncs-hang")


class Proxy:
    """proxy.py in front of every node of a cluster that has not started."""

    def __init__(self, cluster, host):
        self._process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "proxy.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for node in cluster.nodes.values():
            node.internal_detour = self._listen(host, node.internal_address, node.id)
            if "broker" in node.roles:
                node.public_detour = self._listen(host, node.address, node.id)

    def _listen(self, host, target, name):
        address = "%s:%d" % (host, free_ports(1)[0])
        self._order({"listen": address, "to": target, "name": name})
        return address

    def _order(self, order):
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == b"ok\n", "the proxy died"

    def rules(self, *rules):
        self._order({"rules": list(rules)})

    def reset(self, **rule):
        self._order({"reset": rule})

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


class Clients:
    """The workload's process."""

    def __init__(self, cluster, partitions):
        self.history = os.path.join(cluster.dir, "clients.history")
        self.acked = [0] * partitions
        self.done = False
        self._process = subprocess.Popen(
            [WORKLOAD, "--bootstrap=" + cluster.bootstrap(), "--topic=" + TOPIC,
             "--partitions=%d" % partitions, "--records_per_s=%d" % RECORDS_PER_S,
             "--history=" + self.history],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            words = line.split()
            if words[0] == b"acked":
                self.acked = [int(w) for w in words[1:]]
            elif words[0] == b"done":
                self.done = True

    def check_alive(self):
        assert self._process.poll() is None, "the clients ended: exit %d" % self._process.returncode

    def stop(self):
        """No new records; everything read; the history is there."""
        self._process.stdin.write(b"stop\n")
        self._process.stdin.close()
        code = self._process.wait(timeout=2 * DEADLINE_S)
        self._reader.join()
        assert code == 0 and self.done, "the clients ended with %d" % code

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()


class Rig:
    def __init__(self, machines, seed, partitions=6, proxied=False, fault_seconds=5,
                 rounds=8):
        self.machines = machines
        self.random = random.Random(seed)
        self.partitions = partitions
        self.fault_seconds = fault_seconds
        self.rounds = rounds  # of a case that draws its faults
        self.hung_disks = set()  # whose syncs hang or have
        self.cluster = Cluster(brokers=3, controllers=3, name="chaos")
        self.proxied = proxied
        self.proxy = None
        self.clients = None
        self.verdict = ""

    def __enter__(self):
        self.cluster.__enter__()
        return self

    def __exit__(self, *failure):
        if self.clients is not None:
            self.clients.close()
        self.cluster.__exit__(*failure)
        if self.proxy is not None:
            self.proxy.close()

    def start(self):
        assert os.path.exists(SYNC_FAULT), SYNC_FAULT
        for node in self.cluster.nodes.values():
            self.machines.add(node)
            node.env = dict(os.environ, LD_PRELOAD=SYNC_FAULT,
                            SLUICE_SYNC_FAULT=sync_fault(node))
            if self.machines.can_cut:
                node.extra.append("--insecure")  # no loopback; nobody else is there
        if self.proxied:
            self.proxy = Proxy(self.cluster, self.machines.client_host())
        self.cluster.start().wait_healthy(DEADLINE_S)
        self.cluster.create_topic(TOPIC, partitions=self.partitions, replicas=3,
                                  min_insync_replicas=2)
        self.cluster.wait_full_isr(TOPIC, DEADLINE_S)
        self.clients = Clients(self.cluster, self.partitions)
        self.progress(1000)
        return self

    # ---- what the clients see

    def progress(self, count=PROGRESS, each=PROGRESS_EACH, among=None):
        """Waits until so many more are acknowledged, `each` of them in each
        partition (of these, where only some can go on), and in the full count
        until the fault has lasted as long as asked for."""
        self.machines.check()
        before = self.clients.acked
        end = time.monotonic() + (self.fault_seconds if count >= PROGRESS else 0)
        each = min(each, count // (2 * self.partitions))
        among = range(self.partitions) if among is None else among

        def enough():
            self.clients.check_alive()
            self.check_nodes()
            more = [a - b for a, b in zip(self.clients.acked, before)]
            return (sum(more) >= count and all(more[p] >= each for p in among)
                    and time.monotonic() > end)
        try:
            wait_until(enough, DEADLINE_S, "%d acknowledgements, %d each of %s" % (
                count, each, list(among)))
        except AssertionError:
            print("  acknowledged %s, before %s; partitions %s" % (
                self.clients.acked, before,
                [(p.partition, p.leader_id, list(p.isr))
                 for p in self.cluster.partitions(TOPIC)]))
            raise

    def check_nodes(self):
        for node in self.cluster.nodes.values():
            if node.process is None or node.alive:
                continue
            assert self.gave_its_disk_up(node), (
                "node %d ended by itself: exit %s" % (node.id, node.process.returncode))
            node.process = None
            if not os.path.exists(sync_fault(node)):
                self.cluster.start(node.id)  # it did so as its disk was mended

    def gave_its_disk_up(self, node):
        if node.id not in self.hung_disks:
            return False
        with open(node.log_path, errors="replace") as log:
            return DISK_GIVEN_UP in log.read()

    # ---- roles

    def leader(self):
        return self.cluster.leader(TOPIC, 0)

    def follower(self):
        leader = self.leader()
        return next(b for b in BROKERS if b != leader)

    def not_led_by(self, broker):
        """The partitions that have another leader."""
        found = [p.partition for p in self.cluster.partitions(TOPIC) if p.leader_id != broker]
        assert found, "%d leads every partition, or nobody tells" % broker
        return found

    def lead_evenly(self):
        """When it is whole: every partition is led by its first replica again."""
        self.cluster.cli("partition", "elect")
        wait_until(lambda: all(p.leader_id == p.replicas[0]
                               for p in self.cluster.partitions(TOPIC)),
                   DEADLINE_S, "the preferred leaders")

    def active_controller(self):
        return self.cluster.active_controller()

    def standby_controller(self):
        active = self.active_controller()
        return next(c for c in CONTROLLERS if c != active)

    # ---- faults on processes

    def kill(self, *ids):
        self.resume(*ids)
        self.cluster.kill(*ids)

    def terminate(self, *ids):
        codes = self.cluster.stop(*ids)
        assert codes == [0] * len(ids), "not a clean stop: %s" % codes

    def pause(self, *ids):
        for node_id in ids:
            self.cluster.nodes[node_id].process.send_signal(signal.SIGSTOP)
            self.cluster.nodes[node_id].hung = True

    def resume(self, *ids):
        for node_id in ids or list(self.cluster.nodes):
            node = self.cluster.nodes[node_id]
            if node.hung:
                node.process.send_signal(signal.SIGCONT)
                node.hung = False

    def hang_syncs(self, node_id):
        """Its disk does not finish a sync from now on."""
        with open("/proc/%d/maps" % self.cluster.nodes[node_id].process.pid) as maps:
            assert SYNC_FAULT in maps.read(), "node %d has no fault to wait for" % node_id
        with open(sync_fault(self.cluster.nodes[node_id]), "wb"):
            pass
        self.hung_disks.add(node_id)

    def finish_syncs(self):
        for node in self.cluster.nodes.values():
            with contextlib.suppress(FileNotFoundError):
                os.remove(sync_fault(node))

    def start_again(self):
        down = [n.id for n in self.cluster.nodes.values() if n.process is None]
        if down:
            self.cluster.start(*down)

    # ---- the end

    def heal(self):
        """Everything that was done is undone."""
        self.check_nodes()
        self.machines.heal()
        if self.proxy is not None:
            self.proxy.rules()
            self.cluster.close_channels()
        self.finish_syncs()
        self.resume()
        self.start_again()

    def whole(self):
        self.cluster.wait_healthy(DEADLINE_S)
        self.cluster.wait_full_isr(TOPIC, DEADLINE_S)

    def logs(self):
        """Partition -> replica -> its directory."""
        answer = self.cluster.cluster().GetMetadata(cluster_pb2.GetMetadataRequest(
            topics=[common_pb2.TopicRef(name=TOPIC)]), timeout=10)
        topic_id = answer.topics[0].id.hex()
        return {p: {b: os.path.join(self.cluster.nodes[b].dir, "data", "broker",
                                    "%s-%d" % (topic_id, p)) for b in BROKERS}
                for p in range(self.partitions)}

    def whole_again(self):
        """Heals and waits until the cluster is as it was."""
        self.heal()
        self.whole()
        self.progress(1000)

    def judge(self):
        """Ends the clients and the nodes; what was seen and what is left must
        fit together. The checker's counts are in `verdict`."""
        self.clients.stop()
        self.whole()
        logs = self.logs()
        wait_until(lambda: not unequal(logs), DEADLINE_S, "equal logs on every replica")
        codes = self.cluster.stop(*self.cluster.nodes)
        assert codes == [0] * len(codes), "not a clean stop: %s" % codes
        differences = unequal(logs)
        assert not differences, "replicas differ: %s" % differences
        replicas = os.path.join(self.cluster.dir, "replicas.history")
        subprocess.run(
            [WORKLOAD, "--dump=" + replicas, "--topic=" + TOPIC] +
            ["%d:%d:%s" % (p, b, d) for p, of in logs.items() for b, d in of.items()],
            check=True)
        done = subprocess.run([CHECK, self.clients.history, replicas],
                              stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0, "the history is flawed:\n" + done.stdout
        unproven = rests_on_nothing(done.stdout, self.partitions)
        assert not unproven, "the verdict says nothing of %s:\n%s" % (
            ", ".join(unproven), done.stdout)
        self.verdict = done.stdout
        errors = self.errors_in_logs()
        assert not errors, "%d errors in the nodes' logs:\n%s" % (
            len(errors), "\n".join(errors[:10]))

    def errors_in_logs(self):
        found = []
        for node in self.cluster.nodes.values():
            with open(node.log_path, errors="replace") as log:
                found += ["node %d: %s" % (node.id, line.strip()) for line in log
                          if (line.startswith(("E2", "F2")) or "INVARIANT" in line)
                          and not (node.id in self.hung_disks and DISK_GIVEN_UP in line)]
        return found


def log_bytes(directory):
    parts = []
    for name in sorted(os.listdir(directory)):
        if name.endswith(".log"):
            with open(os.path.join(directory, name), "rb") as segment:
                parts.append(segment.read())
    return b"".join(parts)


def unequal(logs):
    """Partitions whose replicas do not hold the same bytes."""
    return [p for p, of in logs.items() if len({log_bytes(d) for d in of.values()}) != 1]
