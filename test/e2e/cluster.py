"""A cluster of real sluiced processes for the end-to-end tests.

Everything runs on loopback under a temporary directory. Processes are ended
by their own pid and nothing survives the test.
"""
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def bazel_bin():
    return os.environ.get("SLUICE_BIN") or os.path.join(ROOT, "bazel-bin")


SLUICED = os.path.join(bazel_bin(), "broker", "sluiced")
SLUICE = os.path.join(bazel_bin(), "tools", "sluice")


def make_stubs(directory):
    """Python stubs by protoc, as a user would make them."""
    protos = ["sluice/v1/%s.proto" % n for n in ("common", "log", "cluster", "topic", "group")]
    subprocess.run(
        ["protoc", "-I" + os.path.join(ROOT, "proto"), "--python_out=" + directory,
         "--grpc_out=" + directory,
         "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin"] + protos,
        check=True)
    sys.path.insert(0, directory)


_STUBS = os.environ.get("SLUICE_E2E_STUBS")  # made by the test that started this one
if _STUBS:
    sys.path.insert(0, _STUBS)
else:
    _STUBS = tempfile.mkdtemp(prefix="sluice-stubs.")
    make_stubs(_STUBS)

# A channel that fails fast is polled by nobody while no call waits, and would
# see that it is connected up to 5 s late.
os.environ.setdefault("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "20")

import grpc  # noqa: E402
from sluice.v1 import cluster_pb2, cluster_pb2_grpc  # noqa: E402
from sluice.v1 import common_pb2  # noqa: E402
from sluice.v1 import group_pb2, group_pb2_grpc  # noqa: E402
from sluice.v1 import log_pb2, log_pb2_grpc  # noqa: E402
from sluice.v1 import topic_pb2, topic_pb2_grpc  # noqa: E402


PORT_RANGE = (10000, 30000)  # below the ephemeral range
PORTS_IN_BLOCK = 100
_claims = []  # sockets that hold our blocks of ports until this process ends
_ports_left = []


def _claim_block():
    """A block of ports of our own. Its name in the abstract Unix namespace is
    taken as long as we live, so no test beside us draws the same ports, and
    none is given twice here: a free port alone is free only when looked at."""
    blocks = list(range(PORT_RANGE[0], PORT_RANGE[1], PORTS_IN_BLOCK))
    random.shuffle(blocks)
    for block in blocks:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind("\0sluice-e2e-ports-%d" % block)
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        _ports_left.extend(range(block, block + PORTS_IN_BLOCK))
        return
    raise AssertionError("every block of ports is claimed by another test")


def free_ports(count):
    """Ports that nobody listens on, and that this process alone hands out."""
    found = []
    while len(found) < count:
        if not _ports_left:
            _claim_block()
        port = _ports_left.pop()
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


# Deadlines mean only that a test ends: they are what a machine needs that has
# nothing else to do, and so many times that.
PATIENCE = 5


def wait_until(condition, seconds, what):
    """Polls; a test waits for a state, never for a time."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %s s: %s" % (seconds, what))
        time.sleep(0.05)


class Node:
    def __init__(self, node_id, roles, directory, rack=""):
        self.id = node_id
        self.roles = roles
        self.dir = directory
        self.rack = rack
        self.host = "127.0.0.1"
        self.port, self.internal_port, self.metrics_port = free_ports(3)
        # Where others reach it, if not where it listens (host:port).
        self.public_detour = self.internal_detour = None
        self.process = None
        self.log_begin = 0  # of its process
        self.hung = False  # SIGSTOPped: no use asking it
        self.prefix = []  # of its command: into a namespace
        self.extra = []
        self.env = None  # of its process; the test's own

    @property
    def address(self):
        return self.public_detour or "%s:%d" % (self.host, self.port)

    @property
    def internal_address(self):
        return self.internal_detour or "%s:%d" % (self.host, self.internal_port)

    @property
    def log_path(self):
        return os.path.join(self.dir, "sluiced.log")

    @property
    def alive(self):
        process = self.process  # another thread may end it meanwhile
        return process is not None and process.poll() is None

    @property
    def answers(self):
        return self.alive and not self.hung


class Cluster:
    """Combined: `brokers` nodes, the first three also controllers. Split:
    `controllers` nodes of their own (ids from 101) beside the brokers."""

    def __init__(self, brokers=3, controllers=0, name="test", settings=None, racks=None):
        self.dir = tempfile.mkdtemp(prefix="sluice-e2e.")
        self.name = name
        self.settings = settings or {}
        self.nodes = {}
        for i in range(1, brokers + 1):
            roles = "broker" if controllers else ("controller,broker" if i <= 3 else "broker")
            self._add(i, roles, (racks or {}).get(i, ""))
        for i in range(1, controllers + 1):
            self._add(100 + i, "controller", "")
        self._channels = {}
        self._sessions = []

    def _add(self, node_id, roles, rack):
        directory = os.path.join(self.dir, "node-%d" % node_id)
        os.makedirs(directory)
        self.nodes[node_id] = Node(node_id, roles, directory, rack)

    @property
    def brokers(self):
        return [n for n in self.nodes.values() if "broker" in n.roles]

    @property
    def controllers(self):
        return [n for n in self.nodes.values() if "controller" in n.roles]

    def flags(self, node):
        quorum = ",".join("%d@%s" % (c.id, c.internal_address) for c in self.controllers)
        flags = [
            "--node_id=%d" % node.id, "--roles=" + node.roles,
            "--cluster_name=" + self.name,
            "--internal_listen=%s:%d" % (node.host, node.internal_port),
            "--internal_advertise=" + node.internal_address,
            "--controllers=" + quorum,
            "--data_dirs=" + os.path.join(node.dir, "data"),
            "--metrics_listen=%s:%d" % (node.host, node.metrics_port),
        ]
        if "broker" in node.roles:
            flags += ["--listen=%s:%d" % (node.host, node.port),
                      "--advertise=" + node.address]
        if node.rack:
            flags.append("--rack=" + node.rack)
        if self.settings:
            flags.append("--set=" + ",".join("%s=%s" % kv for kv in sorted(self.settings.items())))
        return flags + node.extra

    def start(self, *ids):
        for node_id in ids or list(self.nodes):
            node = self.nodes[node_id]
            assert not node.alive, "node %d runs" % node_id
            log = open(node.log_path, "ab")
            node.log_begin = log.tell()
            node.process = subprocess.Popen(
                node.prefix + [SLUICED] + self.flags(node), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True, env=node.env)
            log.close()
        return self

    def hang(self, node_id):
        """SIGSTOP, and wait: no thread of it runs any more."""
        process = self.nodes[node_id].process
        process.send_signal(signal.SIGSTOP)

        def stopped():
            tasks = "/proc/%d/task" % process.pid
            states = []
            for task in os.listdir(tasks):
                with contextlib.suppress(FileNotFoundError):  # a thread that ended
                    with open("%s/%s/stat" % (tasks, task)) as stat:
                        states.append(stat.read().rsplit(")", 1)[1].split()[0])
            return set(states) == {"T"}
        wait_until(stopped, 60, "node %d stands still" % node_id)

    def kill(self, *ids):
        """SIGKILL: the process dies, the page cache lives."""
        for node_id in ids:
            self.nodes[node_id].process.send_signal(signal.SIGKILL)
        for node_id in ids:
            self.nodes[node_id].process.wait()
            self.nodes[node_id].process = None

    def stop(self, *ids):
        """SIGTERM and wait: returns the exit codes. Who has said nothing yet
        does not look for signals, and would end by this one as any process."""
        for node_id in ids:
            self.wait_for_a_word(self.nodes[node_id])
            self.nodes[node_id].process.send_signal(signal.SIGTERM)
        codes = []
        for node_id in ids:
            codes.append(self.nodes[node_id].process.wait(timeout=60 * PATIENCE))
            self.nodes[node_id].process = None
        return codes

    @staticmethod
    def wait_for_a_word(node):
        wait_until(lambda: os.path.getsize(node.log_path) > node.log_begin or not node.alive,
                   60, "the first word of node %d" % node.id)

    def wipe(self, node_id):
        assert not self.nodes[node_id].alive
        shutil.rmtree(os.path.join(self.nodes[node_id].dir, "data"))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close_channels()
        for node in self.nodes.values():
            if node.alive:
                node.process.kill()
                node.process.wait()
        if kind is not None:
            for node in self.nodes.values():
                print("---- log of node %d (%s)" % (node.id, node.roles))
                with contextlib.suppress(OSError):
                    with open(node.log_path, errors="replace") as log:
                        print("".join(log.readlines()[-60:]))
        if os.environ.get("SLUICE_KEEP"):
            print("kept", self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    # ---- calls

    def channel(self, address):
        if address not in self._channels:
            self._channels[address] = grpc.insecure_channel(address, options=[
                ("grpc.max_receive_message_length", 64 << 20),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
            ])
        return self._channels[address]

    def close_channels(self):
        """The next calls connect anew: a half-open connection is dead for good,
        and nothing tells."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def any_broker(self):
        for node in self.brokers:
            if node.answers:
                return node.address
        raise AssertionError("no broker is alive")

    def log(self, address):
        return log_pb2_grpc.LogServiceStub(self.channel(address))

    def topics(self, address=None):
        return topic_pb2_grpc.TopicServiceStub(self.channel(address or self.any_broker()))

    def cluster(self, address=None):
        return cluster_pb2_grpc.ClusterServiceStub(self.channel(address or self.any_broker()))

    def groups(self, address=None):
        return group_pb2_grpc.GroupServiceStub(self.channel(address or self.any_broker()))

    def bootstrap(self):
        return ",".join(n.address for n in self.brokers)

    def cli(self, *args, check=True, timeout=300, stdin=None):
        done = subprocess.run([SLUICE, "--bootstrap", self.bootstrap()] + list(args),
                              capture_output=True, timeout=timeout, input=stdin)
        if check and done.returncode != 0:
            raise AssertionError("sluice %s: exit %d\n%s\n%s" % (
                " ".join(args), done.returncode, done.stdout.decode(errors="replace"),
                done.stderr.decode(errors="replace")))
        return done

    def describe(self, address=None, timeout=60):
        # Waiting for the connection: a channel of Python's whose calls fail at
        # once makes progress with its connection only every 5 s.
        return self.cluster(address).DescribeCluster(
            cluster_pb2.DescribeClusterRequest(), timeout=timeout, wait_for_ready=True)

    def wait_healthy(self, seconds=60):
        def healthy():
            with contextlib.suppress(grpc.RpcError):
                answer = self.describe(timeout=5)
                alive = [n.id for n in self.brokers if n.alive]
                up = [b.id for b in answer.brokers if not b.fenced]
                return (not answer.issues and sorted(up) == sorted(alive)
                        and answer.active_controller_id > 0)
        try:
            wait_until(healthy, seconds, "a healthy cluster")
        except AssertionError:
            with contextlib.suppress(grpc.RpcError):
                print(self.describe(timeout=5))
            raise
        return self

    def active_controller(self):
        def known():
            for node in self.brokers:
                if not node.answers:
                    continue
                with contextlib.suppress(grpc.RpcError):
                    found = self.cluster(node.address).DescribeQuorum(
                        cluster_pb2.DescribeQuorumRequest(), timeout=2).leader_id
                    if found > 0 and self.nodes[found].alive:
                        return found
        return wait_until(known, 60, "an active controller")

    def create_topic(self, name, partitions=1, replicas=3, **configs):
        configs = {k.replace("_", "."): str(v) for k, v in configs.items()}

        def created():
            try:
                answer = self.topics().CreateTopics(topic_pb2.CreateTopicsRequest(
                    topics=[topic_pb2.NewTopic(
                        name=name, partition_count=partitions,
                        replication_factor=replicas, configs=configs)]), timeout=10)
            except grpc.RpcError:
                return None
            error = answer.results[0].error
            if error.code in (0, common_pb2.ERROR_CODE_TOPIC_ALREADY_EXISTS):
                return True
            if error.code == common_pb2.ERROR_CODE_INVALID_REPLICATION_FACTOR:
                return None  # a broker is still on its way
            raise AssertionError("create %s: %s" % (name, error))
        wait_until(created, 60, "topic %s" % name)
        wait_until(lambda: self.in_use(name, partitions), 60, "%s is known and led" % name)

    def in_use(self, topic, count):
        """Every broker that answers knows of every partition's leader, and each
        of them has begun: the next call need not be sent again."""
        ref = common_pb2.TopicRef(name=topic)
        for node in (n for n in self.brokers if n.answers):
            known = [p for p in self.partitions_at(node, topic) if p.leader_id > 0]
            if len(known) < count:
                return False
            led = [log_pb2.ListOffsetsPartition(
                topic=ref, partition=p.partition,
                position=log_pb2.ListOffsetsPartition.POSITION_LATEST)
                for p in known if p.leader_id == node.id]
            with contextlib.suppress(grpc.RpcError):
                if not led or all(r.error.code == 0 for r in self.log(node.address).ListOffsets(
                        log_pb2.ListOffsetsRequest(partitions=led), timeout=5).results):
                    continue
            return False
        return True

    def partitions(self, topic):
        for node in self.brokers:
            if node.answers:
                found = self.partitions_at(node, topic)
                if found:
                    return found
        return []

    def partitions_at(self, node, topic):
        """As that broker knows them."""
        with contextlib.suppress(grpc.RpcError):
            found = self.cluster(node.address).GetMetadata(
                cluster_pb2.GetMetadataRequest(topics=[common_pb2.TopicRef(name=topic)]),
                timeout=5).topics[0]
            if found.error.code == 0:
                return list(found.partitions)
        return []

    def leader(self, topic, partition=0):
        def known():
            for p in self.partitions(topic):
                if p.partition == partition and p.leader_id > 0 and self.nodes[p.leader_id].alive:
                    return p.leader_id
        return wait_until(known, 60, "a leader of %s-%d" % (topic, partition))

    def wait_full_isr(self, topic, seconds=60):
        def full():
            found = self.partitions(topic)
            return found and all(p.leader_id > 0 and sorted(p.isr) == sorted(p.replicas)
                                 for p in found)
        wait_until(full, seconds, "full ISRs of %s; now %s" % (
            topic, [(p.partition, list(p.isr)) for p in self.partitions(topic)]))

    def produce_once(self, topic, partition, values, acks=-1, timeout=10, node=None, keys=None):
        """One attempt at one broker: the result, or None when the call failed."""
        address = self.nodes[node or self.leader(topic, partition)].address
        records = [common_pb2.Record(value=v, key=keys[i] if keys else None)
                   for i, v in enumerate(values)]
        request = log_pb2.ProduceRequest(acks=acks, timeout_ms=int(timeout * 1000), partitions=[
            log_pb2.ProducePartition(topic=common_pb2.TopicRef(name=topic), partition=partition,
                                     records=common_pb2.RecordList(records=records))])
        try:
            return self.log(address).Produce(request, timeout=timeout + 1).results[0]
        except grpc.RpcError:
            return None

    def produce(self, topic, partition, values, acks=-1, seconds=60):
        """Until acknowledged; a retry may duplicate."""
        end = time.monotonic() + PATIENCE * seconds
        while True:
            result = self.produce_once(topic, partition, values, acks, timeout=5)
            if result is not None and result.error.code == 0:
                return result
            if time.monotonic() > end:
                raise AssertionError("not acknowledged: %s" % result)
            time.sleep(0.05)

    def end_offset(self, topic, partition, seconds=60):
        """Where a reader finds the next record, as its leader vouches for it: a new
        leader whose high watermark is not yet past all that was committed before it
        says OFFSET_NOT_AVAILABLE (RP5), and its fetches say less until then."""
        asked = log_pb2.ListOffsetsRequest(partitions=[log_pb2.ListOffsetsPartition(
            topic=common_pb2.TopicRef(name=topic), partition=partition,
            position=log_pb2.ListOffsetsPartition.POSITION_LATEST)])

        def known():
            try:
                address = self.nodes[self.leader(topic, partition)].address
                result = self.log(address).ListOffsets(asked, timeout=10).results[0]
            except grpc.RpcError:
                return None
            return None if result.error.code else (result.offset,)
        return wait_until(known, seconds, "end of %s-%d" % (topic, partition))[0]

    def read_all(self, topic, partition, upto=None, seconds=60):
        """(offset, key, value) of every committed record from the start."""
        records, offset = [], 0
        limit = self.end_offset(topic, partition) if upto is None else upto
        end = time.monotonic() + PATIENCE * seconds
        while True:
            assert time.monotonic() < end, "read of %s-%d stands at %d" % (topic, partition, offset)
            try:
                answer = self.log(self.nodes[self.leader(topic, partition)].address).Fetch(
                    log_pb2.FetchRequest(min_bytes=1, max_wait_ms=200, max_bytes=8 << 20, partitions=[
                        log_pb2.FetchPartition(topic=common_pb2.TopicRef(name=topic),
                                               partition=partition, offset=offset,
                                               max_bytes=8 << 20)]), timeout=10)
            except grpc.RpcError:
                time.sleep(0.05)
                continue
            result = answer.results[0]
            if result.error.code:
                time.sleep(0.05)
                continue
            for r in result.records.records:
                records.append((r.offset, r.key, r.value))
            offset = max(offset, result.next_offset)
            if offset >= limit:
                return records


class Load:
    """Threads that produce numbered values, one in flight a partition, and
    remember what was acknowledged. Retries may duplicate, never lose."""

    def __init__(self, cluster, topic, partitions, acks=-1, batch=20, pause_s=0.0):
        self.cluster, self.topic, self.acks, self.batch = cluster, topic, acks, batch
        self.pause_s = pause_s  # after each batch
        self.acked = {p: [] for p in range(partitions)}
        self.sent = {p: 0 for p in range(partitions)}
        self.retries = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(p,), daemon=True)
                         for p in range(partitions)]
        for thread in self._threads:
            thread.start()

    def _run(self, partition):
        values, hint = None, None
        while not self._stop.is_set() or values:
            if values is None:
                start = self.sent[partition]
                values = [b"%d-%d" % (partition, n) for n in range(start, start + self.batch)]
                self.sent[partition] += self.batch
            try:
                if hint is None:
                    hint = next((q.leader_id for q in self.cluster.partitions(self.topic)
                                 if q.partition == partition), None)
                node = self.cluster.nodes.get(hint)
                if node is None or not node.alive:
                    raise LookupError
                result = self.cluster.produce_once(
                    self.topic, partition, values, self.acks, timeout=5, node=hint)
            except LookupError:
                result = None
            if result is not None and result.error.code == 0:
                self.acked[partition] += values
                values = None
                self._stop.wait(self.pause_s)
                continue
            self.retries += 1
            hint = result.leader.leader_id if result is not None and result.HasField("leader") else None
            if self._stop.is_set() and self._give_up < time.monotonic():
                return
            time.sleep(0.02)

    def count(self):
        return sum(len(v) for v in self.acked.values())

    def wait_for(self, more, seconds=60):
        want = self.count() + more
        wait_until(lambda: self.count() >= want, seconds, "%d more acknowledgements" % more)

    def stop(self, seconds=60):
        seconds *= PATIENCE
        self._give_up = time.monotonic() + seconds
        self._stop.set()
        for thread in self._threads:
            thread.join(seconds + 30)
            assert not thread.is_alive(), "a producer hangs"
        return self

    def check(self):
        """Every acknowledged value is there, in order of first occurrence,
        nothing that was never sent, offsets without gaps."""
        lost = duplicates = 0
        for partition, acked in self.acked.items():
            records = self.cluster.read_all(self.topic, partition)
            offsets = [r[0] for r in records]
            assert offsets == sorted(set(offsets)), "offsets of %d repeat or fall" % partition
            seen, first = set(), []
            for _, _, value in records:
                if value in seen:
                    duplicates += 1
                else:
                    seen.add(value)
                    first.append(int(value.split(b"-")[1]))
            lost += len([v for v in acked if v not in seen])
            assert first == sorted(first), "partition %d: reordered" % partition
            assert all(0 <= n < self.sent[partition] for n in first), "a phantom record"
        assert lost == 0, "%d acknowledged records lost" % lost
        print("  acknowledged %d, lost 0, duplicates by retry %d, retries %d" % (
            self.count(), duplicates, self.retries))
        return self


def run(tests):
    """Runs named functions, prints what a reader of a log wants to know."""
    chosen = sys.argv[1:]
    failed = 0
    for test in tests:
        if chosen and test.__name__ not in chosen:
            continue
        start = time.monotonic()
        try:
            test()
            print("ok   %s (%.1f s)" % (test.__name__, time.monotonic() - start), flush=True)
        except Exception:  # the next test still tells something
            import traceback
            traceback.print_exc()
            print("FAIL %s (%.1f s)" % (test.__name__, time.monotonic() - start), flush=True)
            failed += 1
    shutil.rmtree(_STUBS, ignore_errors=True)
    sys.exit(1 if failed else 0)
