#!/usr/bin/python3
"""Promises of the API on real processes: acks, min ISR, syncs, bad input."""
import os
import re
import signal
import subprocess
import sys
import urllib.request

from record_batch import make_batch
from cluster import (Cluster, ROOT, SLUICED, cluster_pb2, common_pb2, free_ports, grpc,
                     log_pb2, run, topic_pb2, wait_until)

E = common_pb2


def metric(node, name):
    text = urllib.request.urlopen(
        "http://127.0.0.1:%d/metrics" % node.metrics_port, timeout=60).read().decode()
    values = re.findall(r"^%s(?:\{[^}]*\})? ([0-9.e+-]+)$" % name, text, re.M)
    assert values, "no metric %s in:\n%s" % (name, text)
    return sum(float(v) for v in values)


def acks_and_min_isr():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("a", partitions=1, replicas=3, min_insync_replicas=2)

        assert cluster.produce_once("a", 0, [b"all"], acks=-1).base_offset == 0
        one = cluster.produce_once("a", 0, [b"one"], acks=1)
        assert (one.error.code, one.base_offset) == (0, 1), one
        none = cluster.produce_once("a", 0, [b"none"], acks=0)
        assert (none.error.code, none.base_offset) == (0, -1), none
        wait_until(lambda: len(cluster.read_all("a", 0)) == 3, 60, "acks=0 record")
        wrong = cluster.log(cluster.nodes[cluster.leader("a")].address)
        try:
            wrong.Produce(log_pb2.ProduceRequest(acks=7, partitions=[]), timeout=60)
            raise AssertionError("acks=7 accepted")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error

        # Two of three away: acks=all is refused before the append, acks=1 is
        # stored but invisible, and says so.
        leader = cluster.leader("a")
        others = [n.id for n in cluster.brokers if n.id != leader]
        cluster.kill(*others)

        def refused():
            result = cluster.produce_once("a", 0, [b"no"], acks=-1, node=leader)
            return result is not None and result.error.code == E.ERROR_CODE_NOT_ENOUGH_REPLICAS
        wait_until(refused, 60, "NOT_ENOUGH_REPLICAS")
        hidden = cluster.produce_once("a", 0, [b"hidden"], acks=1, node=leader)
        assert hidden.error.code == 0 and hidden.below_min_isr, hidden
        visible = [v for _, _, v in cluster.read_all("a", 0)]
        assert b"hidden" not in visible
        cluster.start(*others)
        cluster.wait_full_isr("a")
        wait_until(lambda: b"hidden" in [v for _, _, v in cluster.read_all("a", 0)], 60,
                   "the hidden record to be committed")
        result = cluster.produce("a", 0, [b"again"])
        assert result.durability == "disk", result


def what_is_appended_before_the_isr_shrinks_says_so():
    """A follower stands still at min.insync.replicas: what was appended before it
    left the ISR ends, at its timeout, with NOT_ENOUGH_REPLICAS_AFTER_APPEND, what
    comes later is refused, and once the follower goes on the record is there."""
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("a", partitions=1, replicas=2, min_insync_replicas=2)
        cluster.wait_full_isr("a")
        assert cluster.produce_once("a", 0, [b"first"]).base_offset == 0
        now = cluster.partitions("a")[0]
        leader, follower = now.leader_id, next(r for r in now.replicas if r != now.leader_id)
        cluster.nodes[follower].hung = True
        cluster.hang(follower)
        # Its timeout is many times a session (3 s), which ends meanwhile.
        late = cluster.produce_once("a", 0, [b"stored"], timeout=20, node=leader)
        assert late.error.code == E.ERROR_CODE_NOT_ENOUGH_REPLICAS_AFTER_APPEND, late
        below = cluster.produce_once("a", 0, [b"refused"], node=leader)
        assert below.error.code == E.ERROR_CODE_NOT_ENOUGH_REPLICAS, below
        cluster.nodes[follower].process.send_signal(signal.SIGCONT)
        cluster.nodes[follower].hung = False
        cluster.wait_full_isr("a")
        assert cluster.produce("a", 0, [b"last"]).error.code == 0
        assert [v for _, _, v in cluster.read_all("a", 0)] == [b"first", b"stored", b"last"]


def disk_mode_syncs_and_memory_mode_does_not():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("disk", partitions=1, durability="disk")
        cluster.create_topic("memory", partitions=1, durability="memory")
        cluster.wait_full_isr("disk")
        cluster.wait_full_isr("memory")

        def syncs():
            return [metric(n, "sluice_storage_syncs_total") for n in cluster.brokers]

        def produced(topic):
            before = syncs()
            for i in range(50):
                cluster.produce(topic, 0, [b"%d" % i])
            return [b - a for a, b in zip(before, syncs())]
        disk, memory = produced("disk"), produced("memory")
        print("  syncs a broker for 50 acknowledgements: disk %s, memory %s" % (disk, memory))
        # One in flight: no two acknowledgements can share a sync anywhere.
        assert all(d >= 50 for d in disk), disk
        assert all(m < 25 for m in memory), memory


def configs_change_on_a_topic_in_use():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=2, durability="memory")
        cluster.wait_full_isr("t")
        assert cluster.produce("t", 0, [b"a"]).durability == "memory"

        def sluice(*args, code=0):
            done = cluster.cli("config", *args, check=False)
            assert done.returncode == code, (args, done)
            return (done.stdout if code == 0 else done.stderr).decode()

        def promises(durability):
            return cluster.produce("t", 0, [b"b"]).durability == durability
        # The last column is the default.
        shown = sluice("set", "t", "durability=disk", "flush.ms=100")
        assert re.search(r"durability +disk +topic +disk", shown), shown
        wait_until(lambda: promises("disk"), 60, "a switch to disk that has settled")
        sluice("set", "t", "durability=memory", "--dry-run")
        assert promises("disk")
        sluice("set", "t", "durability=memory")
        wait_until(lambda: promises("memory"), 60, "the switch to memory")

        sluice("set", "t", "min.insync.replicas=3")
        leader = cluster.leader("t")
        other = next(n.id for n in cluster.brokers if n.id != leader)
        cluster.kill(other)

        def refused():
            result = cluster.produce_once("t", 0, [b"no"], acks=-1)
            return result is not None and result.error.code == E.ERROR_CODE_NOT_ENOUGH_REPLICAS
        wait_until(refused, 60, "NOT_ENOUGH_REPLICAS")
        assert "default" in sluice("unset", "t", "min.insync.replicas")
        wait_until(lambda: cluster.produce("t", 0, [b"c"]).error.code == 0, 60,
                   "an acknowledgement of two of three")

        before = sluice("get", "t", "-o", "json")
        for bad, names in (("no.such.key=1", "segment.bytes"), ("flush.ms=0", "1.."),
                           ("durability=tape", "disk, memory"),
                           ("min.insync.replicas=4", "replication factor 3")):
            said = sluice("set", "t", "segment.bytes=65536", bad, code=1)
            assert names in said and "INVALID_CONFIG" in said, said
        assert sluice("get", "t", "-o", "json") == before
        sluice("get", "nope", code=4)


def bad_input_is_named_and_changes_nothing():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=2, replicas=1)
        address = cluster.nodes[1].address
        log, topics = cluster.log(address), cluster.topics(address)
        ref = common_pb2.TopicRef(name="t")

        # A topic just made is retriable until its leader has begun its epoch;
        # what follows asks for errors of bad input alone.
        def begun():
            answer = log.ListOffsets(log_pb2.ListOffsetsRequest(partitions=[
                log_pb2.ListOffsetsPartition(
                    topic=ref, partition=p,
                    position=log_pb2.ListOffsetsPartition.POSITION_LATEST)
                for p in (0, 1)]), timeout=60)
            return all(r.error.code == 0 for r in answer.results)
        wait_until(begun, 60, "leaders that have begun")

        def create(**fields):
            return topics.CreateTopics(topic_pb2.CreateTopicsRequest(
                topics=[topic_pb2.NewTopic(**fields)]), timeout=60).results[0].error.code
        for name in ("", ".", "..", "a/b", "x" * 250, "sp ace", "__own"):
            assert create(name=name) == E.ERROR_CODE_INVALID_TOPIC, name
        assert create(name="t") == E.ERROR_CODE_TOPIC_ALREADY_EXISTS
        assert create(name="u", partition_count=-5) == E.ERROR_CODE_INVALID_PARTITIONS
        assert create(name="u", partition_count=2000000000) == E.ERROR_CODE_INVALID_PARTITIONS
        assert create(name="u", replication_factor=2) == E.ERROR_CODE_INVALID_REPLICATION_FACTOR
        assert create(name="u", replication_factor=-7) == E.ERROR_CODE_INVALID_REPLICATION_FACTOR
        for configs in ({"segment.bytes": "many"}, {"no.such.key": "1"}, {"durability": "maybe"},
                        {"cleanup.policy": "compact"}, {"min.insync.replicas": "0"},
                        {"max.message.bytes": "99999999999999999999"}):
            assert create(name="u", configs=configs) == E.ERROR_CODE_INVALID_CONFIG, configs
        assert create(name="u", assignments=[topic_pb2.ReplicaAssignment(broker_ids=[1, 1])]) \
            == E.ERROR_CODE_INVALID_REPLICA_ASSIGNMENT
        assert create(name="u", assignments=[topic_pb2.ReplicaAssignment(broker_ids=[9])]) \
            == E.ERROR_CODE_INVALID_REPLICA_ASSIGNMENT

        def batches(payload, partition=0, topic=ref):
            result = log.Produce(log_pb2.ProduceRequest(partitions=[log_pb2.ProducePartition(
                topic=topic, partition=partition, batches=payload)]), timeout=60).results[0]
            return result.error.code
        good = make_batch([b"x"])
        assert batches(b"") == E.ERROR_CODE_INVALID_RECORD
        assert batches(b"garbage") == E.ERROR_CODE_CORRUPT_MESSAGE
        assert batches(good[:-1]) == E.ERROR_CODE_CORRUPT_MESSAGE
        assert batches(good[:8] + b"\xff\xff\xff\xff" + good[12:]) == E.ERROR_CODE_CORRUPT_MESSAGE
        assert batches(good[:16] + b"\x01" + good[17:]) == E.ERROR_CODE_CORRUPT_MESSAGE
        assert batches(good[:-1] + b"\x7f") == E.ERROR_CODE_CORRUPT_MESSAGE
        assert batches(make_batch([b"x"], attributes=0x20)) == E.ERROR_CODE_INVALID_RECORD
        assert batches(make_batch([b"x"], attributes=0x80)) == E.ERROR_CODE_INVALID_RECORD
        assert batches(make_batch([b"x"], attributes=5)) == E.ERROR_CODE_UNSUPPORTED_COMPRESSION_TYPE
        assert batches(make_batch([b"x"], count=2)) == E.ERROR_CODE_INVALID_RECORD
        assert batches(make_batch([b"y" * (2 << 20)])) == E.ERROR_CODE_MESSAGE_TOO_LARGE
        assert batches(good, partition=7) == E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION
        assert batches(good, partition=-1) == E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION
        assert batches(good, topic=common_pb2.TopicRef(name="nope")) \
            == E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION
        assert batches(good, topic=common_pb2.TopicRef(id=b"\x01" * 16)) \
            == E.ERROR_CODE_UNKNOWN_TOPIC_ID

        def fetch(offset, epoch=None, partition=0):
            asked = log_pb2.FetchPartition(topic=ref, partition=partition, offset=offset)
            if epoch is not None:
                asked.leader_epoch = epoch
            return log.Fetch(log_pb2.FetchRequest(partitions=[asked]), timeout=60).results[0].error.code
        assert fetch(-1) == E.ERROR_CODE_OFFSET_OUT_OF_RANGE
        assert fetch(1 << 60) == E.ERROR_CODE_OFFSET_OUT_OF_RANGE
        assert fetch(0, epoch=1000) == E.ERROR_CODE_UNKNOWN_LEADER_EPOCH
        assert fetch(0, epoch=-3) in (E.ERROR_CODE_FENCED_LEADER_EPOCH, E.ERROR_CODE_INVALID_REQUEST)

        assert cluster.read_all("t", 0) == [] and cluster.read_all("t", 1) == []
        assert batches(good) == 0
        assert [v for _, _, v in cluster.read_all("t", 0)] == [b"x"]
        assert cluster.nodes[1].alive

        # Larger than any request may be: a named error, not a bare one.
        try:
            log.Produce(log_pb2.ProduceRequest(partitions=[log_pb2.ProducePartition(
                topic=ref, partition=0, batches=b"z" * (16 << 20))]), timeout=60)
            raise AssertionError("16 MiB accepted")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
            assert "request_max_bytes" in error.details() or "REQUEST_TOO_LARGE" in error.details() \
                or "16" in error.details(), error.details()


def produce_stream_pipelines():
    """Generated stubs alone: ten requests before the first answer; each partition's
    answers in order, a stuck partition delays only itself."""
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("p", partitions=2, replicas=3, min_insync_replicas=2)
        leader = cluster.leader("p")
        node = cluster.nodes[leader]

        def request(number, value, topic="p", acks=-1):
            part = log_pb2.ProducePartition(topic=common_pb2.TopicRef(name=topic), partition=0)
            part.records.records.add(value=value)
            return log_pb2.ProduceStreamRequest(
                correlation_id=number,
                request=log_pb2.ProduceRequest(acks=acks, partitions=[part]))

        requests = [request(n, b"%d" % n) for n in range(10)]
        requests.append(request(10, b"x", acks=7))
        requests.append(request(11, b"x", topic="nowhere"))
        # The stub ends its half when the iterator does: all of it is answered, then OK.
        answers = list(cluster.log(node.address).ProduceStream(iter(requests), timeout=60))
        good = [a for a in answers if a.correlation_id < 10]
        assert [a.correlation_id for a in good] == list(range(10)), answers
        assert [a.results[0].base_offset for a in good] == list(range(10)), answers
        assert all(a.complete and a.results[0].durability == "disk" for a in good), answers
        refused = {a.correlation_id: a for a in answers if a.correlation_id >= 10}
        assert refused[10].error.code == E.ERROR_CODE_INVALID_REQUIRED_ACKS, refused
        assert not refused[10].results and refused[10].complete
        unknown = refused[11].results[0].error.code
        assert unknown == E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION, refused
        assert [v for _, _, v in cluster.read_all("p", 0)] == [b"%d" % n for n in range(10)]

        try:
            bad = log_pb2.ProduceStreamRequest()
            part = bad.request.partitions.add(partition=0, batches=b"x")
            part.topic.id = b"short"
            list(cluster.log(node.address).ProduceStream(iter([bad]), timeout=60))
            raise AssertionError("a broken topic id was taken")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error


def start_and_read(flags, seconds=60):
    done = subprocess.run([SLUICED] + flags, capture_output=True, timeout=seconds,
                          stdin=subprocess.DEVNULL)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def data_directories_are_guarded():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        node = cluster.nodes[1]

        def flags(**changes):
            out = []
            ports = free_ports(3)
            for flag in cluster.flags(node):
                key, _, value = flag[2:].partition("=")
                if key == "listen":
                    value = "127.0.0.1:%d" % ports[0]
                if key == "internal_listen":
                    value = "127.0.0.1:%d" % ports[1]
                if key == "metrics_listen":
                    value = "127.0.0.1:%d" % ports[2]
                if key == "controllers":
                    value = "%s@127.0.0.1:%d" % (changes.get("node_id", "1"), ports[1])
                out.append("--%s=%s" % (key, changes.get(key, value)))
            return out

        code, text = start_and_read(flags())
        assert code != 0 and "DATA_DIR_IN_USE" in text, (code, text)
        code, text = start_and_read(flags(data_dirs=node.dir + "/other", listen="0.0.0.0:%d" % free_ports(1)[0]))
        assert code != 0 and "--insecure" in text, (code, text)
        assert cluster.stop(1) == [0]
        code, text = start_and_read(flags(node_id="2"))
        assert code != 0 and "DATA_DIR_MISMATCH" in text, (code, text)

        # A newer format is refused by name: bytes 8 to 11 of a journal
        # (storage/FORMAT.md) are its version.
        for role in ("broker", "controller"):
            path = os.path.join(node.dir, "data", role, "journal")
            with open(path, "r+b") as journal:
                journal.seek(8)
                version = journal.read(4)
                journal.seek(8)
                journal.write(b"\0\0\0\x7f")
            code, text = start_and_read(flags())
            assert code != 0 and "UNSUPPORTED_FORMAT" in text and "version 127" in text, (code, text)
            with open(path, "r+b") as journal:
                journal.seek(8)
                journal.write(version)
        cluster.start(1).wait_healthy()


def topics_come_and_go():
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("again", partitions=3, replicas=3)
        old = cluster.produce("again", 0, [b"old"])
        assert old.base_offset == 0

        def segment_files():
            return [os.path.join(b, n) for node in cluster.brokers
                    for b, _, names in os.walk(os.path.join(node.dir, "data"))
                    for n in names if n.endswith(".log") and len(n) == 24]
        assert len(segment_files()) == 3
        answer = cluster.topics().DeleteTopics(topic_pb2.DeleteTopicsRequest(
            topics=[common_pb2.TopicRef(name="again")]), timeout=60)
        assert answer.results[0].error.code == 0, answer
        # At once, through whichever node.
        for node in cluster.brokers:
            def made():
                result = cluster.topics(node.address).CreateTopics(topic_pb2.CreateTopicsRequest(
                    topics=[topic_pb2.NewTopic(name="again-%d" % node.id, partition_count=2)]), timeout=60)
                return result.results[0]
            result = made()
            assert result.error.code == 0, result
            # Usable through this very node at once.
            described = cluster.topics(node.address).DescribeTopics(topic_pb2.DescribeTopicsRequest(
                topics=[common_pb2.TopicRef(name="again-%d" % node.id)]), timeout=60)
            assert described.topics[0].metadata.error.code == 0, described
        again = cluster.topics().CreateTopics(topic_pb2.CreateTopicsRequest(
            topics=[topic_pb2.NewTopic(name="again", partition_count=3)]), timeout=60)
        assert again.results[0].error.code == 0, again
        assert again.results[0].replication_factor == 3
        wait_until(lambda: not segment_files(), 60, "files of the deleted topic to go")
        assert cluster.read_all("again", 0) == []
        assert cluster.produce("again", 0, [b"new"]).base_offset == 0


def the_readme_program_runs():
    """The README's Python program, as it stands there, against three nodes
    through one address."""
    with open(os.path.join(ROOT, "README.md")) as readme:
        text = readme.read()
    programs = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(programs) == 1, "%d Python programs in the README" % len(programs)
    lines = [l for l in programs[0].splitlines() if l.strip()]
    assert len(lines) <= 20, "%d lines" % len(lines)
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("quickstart", partitions=6, replicas=3)
        path = os.path.join(cluster.dir, "program.py")
        with open(path, "w") as program:
            program.write(programs[0])
        for node in cluster.brokers:
            done = subprocess.run(
                [sys.executable, path, node.address], capture_output=True, timeout=60,
                env=dict(os.environ, PYTHONPATH=[p for p in sys.path if "sluice-stubs" in p][0]))
            assert done.returncode == 0, done.stderr.decode()
            print("  via node %d: %s" % (node.id, done.stdout.decode().strip().splitlines()[-1]))


def health_and_reflection_answer():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        node = cluster.nodes[1]
        channel = cluster.channel(node.address)
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = check(b"", timeout=60)
        assert answer == b"\x08\x01", answer  # SERVING
        reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        services = b"".join(reflect(iter([b"\x3a\x00"]), timeout=60))
        for name in (b"sluice.v1.LogService", b"sluice.v1.ClusterService", b"sluice.v1.TopicService",
                     b"sluice.v1.TransactionService"):
            assert name in services, services
        health = urllib.request.urlopen("http://127.0.0.1:%d/healthz" % node.metrics_port, timeout=60)
        assert health.status == 200
        assert metric(node, "sluice_up") == 1
        version = subprocess.run([SLUICED, "--version"], capture_output=True, check=True).stdout
        assert re.search(rb"\d+\.\d+\.\d+", version), version


if __name__ == "__main__":
    run([acks_and_min_isr, what_is_appended_before_the_isr_shrinks_says_so, produce_stream_pipelines, disk_mode_syncs_and_memory_mode_does_not,
         configs_change_on_a_topic_in_use,
         bad_input_is_named_and_changes_nothing, data_directories_are_guarded,
         topics_come_and_go, the_readme_program_runs, health_and_reflection_answer])
