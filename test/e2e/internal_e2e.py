#!/usr/bin/python3
"""Bad input on the internal listener, from stubs: registrations, ISR changes,
replication sessions. None of it changes anything.

README.md maps the rows of correctness.md 5.3 to the tests."""
import itertools
import os
import queue
import re
import subprocess
import threading

from cluster import (Cluster, ROOT, _STUBS, cluster_pb2, common_pb2, grpc, run, wait_until)

subprocess.run(
    ["protoc", "-I" + os.path.join(ROOT, "proto"), "--python_out=" + _STUBS,
     "--grpc_out=" + _STUBS, "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin"] +
    ["sluice/internal/v1/%s.proto" % n for n in ("metadata", "controller", "replication")],
    check=True, cwd=ROOT)
from sluice.internal.v1 import controller_pb2, controller_pb2_grpc  # noqa: E402
from sluice.internal.v1 import replication_pb2, replication_pb2_grpc  # noqa: E402

E = common_pb2


def name_of(error):
    """Of our error in a call's status: the reason of its ErrorInfo."""
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    found = [n.decode() for n in re.findall(rb"[A-Z][A-Z_]{3,}", details)]
    return next((n for n in found if "ERROR_CODE_" + n in E.ErrorCode.keys()), str(error.code()))


def outcome(call):
    """The name of the error that the whole call was answered with; "": none."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return name_of(error)
    if not answer.HasField("error"):
        return ""
    return E.ErrorCode.Name(answer.error.code)[len("ERROR_CODE_"):]


class Internals:
    def __init__(self, cluster):
        self.cluster = cluster
        self.active = cluster.nodes[cluster.active_controller()]
        self.controller = controller_pb2_grpc.ControllerServiceStub(
            cluster.channel(self.active.internal_address))
        hello = self.controller.Hello(controller_pb2.HelloRequest(node_id=99), timeout=60)
        self.cluster_id = hello.cluster_id

    def broker(self, broker_id):
        told = self.cluster.describe()
        return next(b for b in told.brokers if b.id == broker_id)

    def registration(self, broker_id, **changes):
        request = controller_pb2.RegisterBrokerRequest(
            cluster_id=self.cluster_id, broker_id=broker_id, incarnation_id=b"\x07" * 16,
            boot_id=b"boot", feature_min=1, feature_max=1, version="0")
        for name in ("INTERNAL", "PUBLIC"):
            listener = request.listeners.add(name=name, protocol="GRPC", authenticator="NONE")
            listener.endpoint.host, listener.endpoint.port = "127.0.0.1", 1
        request.directories.add(id=b"\x55" * 16, clean_broker_epoch=-1)
        for key, value in changes.items():
            if isinstance(value, list):
                del getattr(request, key)[:]
                getattr(request, key).extend(value)
            else:
                setattr(request, key, value)
        return request

    def register(self, broker_id, **changes):
        request = self.registration(broker_id, **changes)
        return outcome(lambda: self.controller.RegisterBroker(request, timeout=60))


def every_bad_registration_is_named():
    with Cluster(brokers=3, controllers=3) as cluster:
        cluster.start().wait_healthy()
        inside = Internals(cluster)
        before = {b.id: b.broker_epoch for b in cluster.describe().brokers}
        directory = controller_pb2.LogDirectory

        assert inside.register(4, cluster_id=b"\x01" * 16) == "INCONSISTENT_CLUSTER_ID"
        assert inside.register(4, cluster_id=b"") == "INCONSISTENT_CLUSTER_ID"
        # A live broker's id, by another process.
        assert inside.register(1) == "DUPLICATE_BROKER_REGISTRATION"
        for broker_id in (0, -1):
            assert inside.register(broker_id) == "INVALID_REGISTRATION", broker_id
        for incarnation in (b"", b"\0" * 16, b"short"):
            assert inside.register(4, incarnation_id=incarnation) == "INVALID_REGISTRATION"
        for directories in ([], [directory(id=b"")], [directory(id=b"\0" * 16)],
                            [directory(id=b"\x55" * 16)] * 2,
                            [directory(id=inside.broker(2).directories[0])]):
            assert inside.register(4, directories=directories) == "INVALID_REGISTRATION", directories
        for low, high in ((2, 3), (0, 0)):
            code = inside.register(4, feature_min=low, feature_max=high)
            assert code == "UNSUPPORTED_VERSION", (low, high, code)
        assert inside.register(4, listeners=[]) == "INVALID_REGISTRATION"

        # Sent to a controller that is not the active one: with a hint.
        standby = next(c for c in cluster.controllers if c.id != inside.active.id)
        other = controller_pb2_grpc.ControllerServiceStub(cluster.channel(standby.internal_address))
        try:
            answer = other.RegisterBroker(inside.registration(4), timeout=60)
            assert E.ErrorCode.Name(answer.error.code) == "ERROR_CODE_NOT_CONTROLLER", answer
        except grpc.RpcError as error:
            assert name_of(error) == "NOT_CONTROLLER", error
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            assert b"controller_id" in details, details
        raw = cluster.channel(inside.active.internal_address).unary_unary(
            "/sluice.internal.v1.ControllerService/RegisterBroker")
        try:
            raw(b"\xff\xff\xff no message", timeout=60)
            raise AssertionError("garbage was taken")
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT), error

        after = {b.id: b.broker_epoch for b in cluster.describe().brokers}
        assert after == before, (before, after)
        cluster.wait_healthy()


def every_bad_heartbeat_is_refused_and_moves_nothing():
    """Who is not the registered incarnation keeps no session and ends none; what
    a broker of one's own tells of its disks harms no other."""
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=3, replicas=3)
        cluster.wait_full_isr("t")
        inside = Internals(cluster)
        before = {b.id: b.broker_epoch for b in cluster.describe().brokers}
        leaders = {p.partition: p.leader_id for p in cluster.partitions("t")}

        def heartbeat(**fields):
            """The first answer, with its stream."""
            beats = queue.Queue()
            beats.put(controller_pb2.LivenessRequest(**fields))
            stream = inside.controller.Liveness(iter(beats.get, None), timeout=60)
            return next(stream), stream, beats

        for fields in (dict(), dict(broker_id=77, broker_epoch=1), dict(broker_id=-1),
                       dict(broker_id=1, broker_epoch=before[1] - 1),
                       dict(broker_id=1, broker_epoch=before[1] + 1000),
                       dict(broker_id=1, broker_epoch=before[1]),  # another incarnation
                       dict(broker_id=1, broker_epoch=before[1], incarnation_id=b"short",
                            want_shutdown=True)):
            answer, stream, _ = heartbeat(**fields)
            assert answer.error.code == E.ERROR_CODE_STALE_BROKER_EPOCH, (fields, answer)
            assert answer.fenced and not answer.may_shutdown, (fields, answer)
            try:
                next(stream)
                raise AssertionError("the stream goes on: %s" % fields)
            except (grpc.RpcError, StopIteration):
                pass
        # What is no message ends its stream by name.
        raw = cluster.channel(inside.active.internal_address).stream_stream(
            "/sluice.internal.v1.ControllerService/Liveness")
        try:
            list(raw(iter([b"\xff\xff\xff no message"]), timeout=60))
            raise AssertionError("garbage was taken")
        except grpc.RpcError as error:
            assert name_of(error) == "INVALID_REQUEST", error

        # A broker that is registered, and lies about its disks.
        epoch = inside.controller.RegisterBroker(inside.registration(4), timeout=60).broker_epoch
        assert epoch > 0
        latency = controller_pb2.IoLatency
        mine = dict(broker_id=4, broker_epoch=epoch, incarnation_id=b"\x07" * 16)
        for lie in (dict(syncs=latency(samples=-1, mean_us=-(1 << 62), oldest_us=-(1 << 63))),
                    dict(syncs=latency(samples=(1 << 31) - 1, mean_us=(1 << 63) - 1)),
                    dict(appends=latency(samples=1, mean_us=1, oldest_us=(1 << 63) - 1)),
                    dict(full_log_dirs=["/" + "d" * 100] * 10000),
                    dict(applied_metadata_offset=1 << 62, want_unfence=True)):
            answer, _, _ = heartbeat(**mine, **lie)
            assert answer.error.code == 0, (list(lie), answer)
        told = cluster.describe()
        assert {b.id: b.broker_epoch for b in told.brokers if b.id != 4} == before, told
        assert not any(b.fenced or b.demoted for b in told.brokers if b.id != 4), told
        assert {p.partition: p.leader_id for p in cluster.partitions("t")} == leaders
        for partition in range(3):
            assert cluster.produce("t", partition, [b"x"]).error.code == 0


def every_bad_isr_change_is_named():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=2)
        cluster.wait_full_isr("t")
        inside = Internals(cluster)
        meta = cluster.cluster().GetMetadata(cluster_pb2.GetMetadataRequest(
            topics=[common_pb2.TopicRef(name="t")]), timeout=60).topics[0]
        now = meta.partitions[0]
        leader, follower = now.leader_id, next(r for r in now.replicas if r != now.leader_id)
        stranger = next(n.id for n in cluster.brokers if n.id not in now.replicas)
        epochs = {b.id: b.broker_epoch for b in cluster.describe().brokers}

        def alter(isr, sender=leader, sender_epoch=None, leader_epoch=now.leader_epoch,
                  partition_epoch=now.partition_epoch, epochs=epochs, topic=meta.id, times=1):
            request = controller_pb2.AlterPartitionsRequest(
                broker_id=sender,
                broker_epoch=epochs[sender] if sender_epoch is None else sender_epoch)
            for _ in range(times):
                change = request.partitions.add(topic_id=topic, leader_epoch=leader_epoch,
                                                partition_epoch=partition_epoch)
                for member in isr:
                    change.new_isr.add(broker_id=member, broker_epoch=epochs[member])
            try:
                answer = inside.controller.AlterPartitions(request, timeout=60)
            except grpc.RpcError as error:
                return name_of(error)
            error = answer.error if answer.HasField("error") else answer.results[0].error
            return E.ErrorCode.Name(error.code)[len("ERROR_CODE_"):]

        both = [leader, follower]
        assert alter(both, sender_epoch=epochs[leader] - 1) == "STALE_BROKER_EPOCH"
        assert alter([follower]) == "INVALID_REQUEST"                     # without the leader
        assert alter([leader, follower, follower]) == "INVALID_REQUEST"   # twice
        assert alter(both + [stranger]) == "INVALID_REQUEST"              # no replica
        assert alter(both, sender=follower) == "INVALID_REQUEST"          # not the leader
        assert alter(both, leader_epoch=now.leader_epoch + 1) == "NOT_CONTROLLER"
        assert alter(both, leader_epoch=now.leader_epoch - 1) == "FENCED_LEADER_EPOCH"
        assert alter(both, partition_epoch=now.partition_epoch + 1) == "NOT_CONTROLLER"
        if now.partition_epoch > 0:
            assert alter(both, partition_epoch=now.partition_epoch - 1) == "INVALID_UPDATE_VERSION"
        old = {**epochs, follower: epochs[follower] - 1}
        assert alter(both, epochs=old) == "INELIGIBLE_REPLICA"
        assert alter(both, topic=b"\x09" * 16) == "UNKNOWN_TOPIC_ID"
        assert alter(both, topic=b"short") == "INVALID_REQUEST"
        assert alter(both, times=2) == "INVALID_REQUEST"
        same = cluster.partitions("t")[0]
        assert (same.leader_epoch, same.partition_epoch, sorted(same.isr)) == (
            now.leader_epoch, now.partition_epoch, sorted(now.isr)), same


class Session:
    """A replication stream to a broker, as a follower would open it."""

    def __init__(self, cluster, node_id):
        self.frames, self.sent = queue.Queue(), queue.Queue()
        stub = replication_pb2_grpc.ReplicationServiceStub(
            cluster.channel(cluster.nodes[node_id].internal_address))
        self.call = stub.Fetch(iter(self.sent.get, None), timeout=60)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for frame in self.call:
                self.frames.put(frame)
        except grpc.RpcError as error:
            self.frames.put(error)
        self.frames.put(None)

    def send(self, **fields):
        self.sent.put(replication_pb2.FollowerFrame(**fields))
        return self

    def first(self, wanted):
        """The first frame (or the end: None) for which `wanted` is true."""
        while True:
            frame = self.frames.get(timeout=60)
            if frame is None or isinstance(frame, grpc.RpcError):
                return frame
            if wanted(frame):
                return frame

    def refusal(self):
        frame = self.first(lambda f: f.HasField("refused"))
        self.close()
        if isinstance(frame, grpc.RpcError):
            return name_of(frame)
        assert frame is not None, "the stream ended without a word"
        return E.ErrorCode.Name(frame.refused.code)[len("ERROR_CODE_"):]

    def close(self):
        self.sent.put(None)
        self.call.cancel()


def every_bad_replication_session_is_refused_by_name():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=2)
        cluster.wait_full_isr("t")
        inside = Internals(cluster)
        meta = cluster.cluster().GetMetadata(cluster_pb2.GetMetadataRequest(
            topics=[common_pb2.TopicRef(name="t")]), timeout=60).topics[0]
        now = meta.partitions[0]
        leader = now.leader_id
        stranger = next(n.id for n in cluster.brokers if n.id not in now.replicas)
        epoch = inside.broker(stranger).broker_epoch

        def opening(**changes):
            fields = dict(cluster_id=inside.cluster_id, broker_id=stranger, broker_epoch=epoch,
                          incarnation_id=b"\x07" * 16, leader_id=leader)
            fields.update(changes)
            return replication_pb2.OpenSession(**fields)

        def refused(frame):
            return Session(cluster, leader).send(**frame).refusal()
        assert refused(dict(credit_bytes=1 << 20)) == "INVALID_REQUEST"  # no session opened
        for changes, code in (
                (dict(cluster_id=b"\x01" * 16), "INCONSISTENT_CLUSTER_ID"),
                (dict(leader_id=leader + 100), "INVALID_REQUEST"),
                (dict(broker_epoch=epoch - 1), "STALE_BROKER_EPOCH"),
                (dict(), "STALE_BROKER_EPOCH"),  # another incarnation
                (dict(broker_epoch=epoch + 1000), "BROKER_ID_NOT_REGISTERED"),
                (dict(broker_id=77), "BROKER_ID_NOT_REGISTERED")):
            got = refused(dict(open=opening(**changes), credit_bytes=1 << 20))
            assert got == code, (changes, got)
        bad_id = refused(dict(open=opening(cluster_id=b"short"), credit_bytes=1 << 20))
        assert bad_id in ("INVALID_REQUEST", "INCONSISTENT_CLUSTER_ID"), bad_id
        raw = cluster.channel(cluster.nodes[leader].internal_address).stream_stream(
            "/sluice.internal.v1.ReplicationService/Fetch")
        try:
            list(raw(iter([b"\xff\xff\xff no message"]), timeout=60))
            raise AssertionError("garbage was taken")
        except grpc.RpcError as error:
            assert name_of(error) == "INVALID_REQUEST", error

        # Nothing of it disturbed the followers that are there.
        assert cluster.produce("t", 0, [b"x"]).error.code == 0
        same = cluster.partitions("t")[0]
        assert (same.partition_epoch, sorted(same.isr)) == (now.partition_epoch, sorted(now.isr)), same


def a_follower_that_is_no_replica_is_told_so():
    """A registered broker's own session, with an Add that it may not make: its
    process is gone, its registration stays for the length of a session."""
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=2)
        cluster.wait_full_isr("t")
        inside = Internals(cluster)
        meta = cluster.cluster().GetMetadata(cluster_pb2.GetMetadataRequest(
            topics=[common_pb2.TopicRef(name="t")]), timeout=60).topics[0]
        now = meta.partitions[0]
        # A broker of our own: registered, fenced, and so known to the others.
        request = inside.registration(9)
        answer = inside.controller.RegisterBroker(request, timeout=60)
        assert answer.error.code == 0, answer
        session = None
        numbers = itertools.count(1)  # of questions: each is another
        opening = replication_pb2.OpenSession(
            cluster_id=inside.cluster_id, broker_id=9, broker_epoch=answer.broker_epoch,
            incarnation_id=request.incarnation_id, leader_id=now.leader_id)

        def opened():
            # Until the leader has applied the registration.
            trial = Session(cluster, now.leader_id).send(open=opening, credit_bytes=1 << 20)
            trial.send(adds=[add()])
            frame = trial.first(lambda f: f.HasField("refused") or len(f.add_answers))
            if frame is not None and not isinstance(frame, grpc.RpcError) and frame.add_answers:
                return trial, frame
            trial.close()

        def add(**changes):
            fields = dict(topic_id=meta.id, partition=0, leader_epoch=now.leader_epoch,
                          fetch_offset=0, last_fetched_epoch=-1,
                          add_number=next(numbers))
            fields.update(changes)
            return replication_pb2.AddReplica(**fields)
        session, frame = wait_until(opened, 60, "a session of broker 9")

        def code(frame):
            return E.ErrorCode.Name(frame.add_answers[0].error.code)[len("ERROR_CODE_"):]
        assert code(frame) in ("NOT_A_REPLICA", "UNKNOWN_LEADER_EPOCH"), frame

        def answered(**changes):
            session.send(adds=[add(**changes)])
            return code(session.first(lambda f: len(f.add_answers)))
        if now.leader_epoch > 0:
            assert answered(leader_epoch=now.leader_epoch - 1) in (
                "FENCED_LEADER_EPOCH", "NOT_A_REPLICA")
        assert answered(leader_epoch=now.leader_epoch + 1) in (
            "UNKNOWN_LEADER_EPOCH", "NOT_A_REPLICA")
        assert answered(topic_id=b"\x09" * 16) in (
            "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID", "NOT_LEADER")
        # An acknowledgement of what it never got moves nothing.
        session.send(acks=[replication_pb2.AckReplica(
            topic_id=meta.id, partition=0, leader_epoch=now.leader_epoch,
            appended_offset=1 << 40, durable_offset=1 << 40, add_number=next(numbers) - 1)])
        assert cluster.produce("t", 0, [b"x"]).base_offset == 0
        same = cluster.partitions("t")[0]
        assert 9 not in same.isr and sorted(same.isr) == sorted(now.isr), same
        session.close()
        # Questions count from 1.
        unnumbered = Session(cluster, now.leader_id).send(open=opening, credit_bytes=1 << 20)
        unnumbered.send(adds=[add(add_number=0)])
        assert unnumbered.refusal() == "INVALID_REQUEST"


if __name__ == "__main__":
    run([every_bad_registration_is_named, every_bad_heartbeat_is_refused_and_moves_nothing,
         every_bad_isr_change_is_named,
         every_bad_replication_session_is_refused_by_name,
         a_follower_that_is_no_replica_is_told_so])
