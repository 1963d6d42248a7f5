#!/usr/bin/python3
"""Bad input on the internal listener, from stubs: registrations, heartbeats and
ISR changes. None of it changes anything.

README.md maps the rows of correctness.md 5.3 to the tests."""
import queue

from cluster import Cluster, common_pb2, grpc, run
from internals import (Heartbeats, Internals, assigned_topic, controller_pb2, controller_pb2_grpc,
                       name_of, past_the_first_epochs)

E = common_pb2


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
        inside = Internals(cluster)
        own_epoch, own_incarnation = inside.own_broker()
        topic_id = assigned_topic(cluster, "t", [1, 2, 9])
        _, now = past_the_first_epochs(cluster, "t")
        leader, follower, stranger = 2, 1, 3
        epochs = {b.id: b.broker_epoch for b in cluster.describe().brokers}

        def alter(isr, sender=leader, sender_epoch=None, leader_epoch=now.leader_epoch,
                  partition_epoch=now.partition_epoch, epochs=epochs, topic=topic_id, times=1):
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
            said.append(error.message)
            return E.ErrorCode.Name(error.code)[len("ERROR_CODE_"):]
        said = []

        both = [leader, follower]
        assert alter(both, sender_epoch=epochs[leader] - 1) == "STALE_BROKER_EPOCH"
        assert alter([follower]) == "INVALID_REQUEST"                     # without the leader
        assert alter([leader, follower, follower]) == "INVALID_REQUEST"   # twice
        assert alter(both + [stranger]) == "INVALID_REQUEST"              # no replica
        assert alter(both, sender=follower) == "INVALID_REQUEST"          # not the leader
        assert alter(both, leader_epoch=now.leader_epoch + 1) == "NOT_CONTROLLER"
        assert alter(both, leader_epoch=now.leader_epoch - 1) == "FENCED_LEADER_EPOCH"
        assert alter(both, partition_epoch=now.partition_epoch + 1) == "NOT_CONTROLLER"
        assert alter(both, partition_epoch=now.partition_epoch - 1) == "INVALID_UPDATE_VERSION"
        old = {**epochs, follower: epochs[follower] - 1}
        assert alter(both, epochs=old) == "INELIGIBLE_REPLICA"
        # A replica that is fenced, and one that is about to stop: neither joins.
        assert alter(both + [9]) == "INELIGIBLE_REPLICA" and "is fenced" in said[-1], said
        with Heartbeats(inside, own_epoch, own_incarnation) as beats:
            beats.until(lambda told: not told.fenced, want_unfence=True)
            beats.until(lambda told: told.may_shutdown, want_shutdown=True)
            assert alter(both + [9]) == "INELIGIBLE_REPLICA" and "is stopping" in said[-1], said
        assert alter(both, topic=b"\x09" * 16) == "UNKNOWN_TOPIC_ID"
        assert alter(both, topic=b"short") == "INVALID_REQUEST"
        assert alter(both, times=2) == "INVALID_REQUEST"
        same = cluster.partitions("t")[0]
        assert (same.leader_epoch, same.partition_epoch, sorted(same.isr)) == (
            now.leader_epoch, now.partition_epoch, sorted(now.isr)), same


if __name__ == "__main__":
    run([every_bad_registration_is_named, every_bad_heartbeat_is_refused_and_moves_nothing,
         every_bad_isr_change_is_named])
