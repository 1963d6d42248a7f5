#!/usr/bin/python3
"""Replication streams, from stubs: sessions that are refused, questions of a
follower that is no replica, and of one whose log is not the leader's."""
import itertools
import queue
import threading

from cluster import Cluster, cluster_pb2, common_pb2, grpc, log_pb2, run, wait_until
from internals import (Internals, assigned_topic, name_of, past_the_first_epochs, replication_pb2,
                       replication_pb2_grpc)

E = common_pb2


class Session:
    """A replication stream to a broker, as a follower would open it."""

    def __init__(self, cluster, node_id):
        self.frames, self.sent = queue.Queue(), queue.Queue()
        self.batches = queue.Queue()  # of data frames; they may bring answers too
        stub = replication_pb2_grpc.ReplicationServiceStub(
            cluster.channel(cluster.nodes[node_id].internal_address))
        self.call = stub.Fetch(iter(self.sent.get, None), timeout=60)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for frame in self.call:
                for data in frame.data:
                    self.batches.put(data.batches)
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


class Follower:
    """Broker 9's stream to a leader: what it asks about one partition."""

    def __init__(self, cluster, inside, leader, topic_id, leader_epoch):
        self.cluster, self.leader, self.topic_id = cluster, leader, topic_id
        self.leader_epoch = leader_epoch
        self.numbers = itertools.count(1)  # of questions: each is another
        broker_epoch, incarnation = inside.own_broker()
        self.opening = replication_pb2.OpenSession(
            cluster_id=inside.cluster_id, broker_id=9, broker_epoch=broker_epoch,
            incarnation_id=incarnation, leader_id=leader)
        self.session = None

    def open(self):
        """Once the leader has applied the registration."""
        def opened():
            trial = Session(self.cluster, self.leader).send(
                open=self.opening, credit_bytes=1 << 20)
            trial.send(adds=[self.question(topic_id=b"\x09" * 16)])
            frame = trial.first(lambda f: f.HasField("refused") or len(f.add_answers))
            if frame is not None and not isinstance(frame, grpc.RpcError) and frame.add_answers:
                return trial
            trial.close()
        self.session = wait_until(opened, 60, "a session of broker 9")
        return self

    def question(self, **changes):
        fields = dict(topic_id=self.topic_id, partition=0, leader_epoch=self.leader_epoch,
                      fetch_offset=0, last_fetched_epoch=-1, add_number=next(self.numbers))
        fields.update(changes)
        return replication_pb2.AddReplica(**fields)

    def asked(self, **changes):
        """The answer to this question and no other."""
        question = self.question(**changes)
        self.session.send(adds=[question])
        frame = self.session.first(lambda f: any(
            a.add_number == question.add_number for a in f.add_answers))
        assert isinstance(frame, replication_pb2.LeaderFrame), frame
        return next(a for a in frame.add_answers if a.add_number == question.add_number)

    def code(self, **changes):
        return E.ErrorCode.Name(self.asked(**changes).error.code)[len("ERROR_CODE_"):]


def a_follower_that_is_no_replica_is_told_so():
    """A registered broker's own session, with an Add that it may not make."""
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=2)
        cluster.wait_full_isr("t")
        inside = Internals(cluster)
        meta = cluster.cluster().GetMetadata(cluster_pb2.GetMetadataRequest(
            topics=[common_pb2.TopicRef(name="t")]), timeout=60).topics[0]
        now = meta.partitions[0]
        own = Follower(cluster, inside, now.leader_id, meta.id, now.leader_epoch).open()
        assert own.code() == "NOT_A_REPLICA"
        assert own.code(topic_id=b"\x09" * 16) in (
            "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID", "NOT_LEADER")
        # An acknowledgement of what it never got moves nothing.
        own.session.send(acks=[replication_pb2.AckReplica(
            topic_id=meta.id, partition=0, leader_epoch=now.leader_epoch,
            appended_offset=1 << 40, durable_offset=1 << 40, add_number=next(own.numbers) - 1)])
        assert cluster.produce("t", 0, [b"x"]).base_offset == 0
        same = cluster.partitions("t")[0]
        assert 9 not in same.isr and sorted(same.isr) == sorted(now.isr), same
        own.session.close()
        # Questions count from 1, offsets from 0: such a frame ends its session.
        for bad in (dict(add_number=0), dict(fetch_offset=-1)):
            session = Session(cluster, now.leader_id).send(open=own.opening, credit_bytes=1 << 20)
            session.send(adds=[own.question(**bad)])
            assert session.refusal() == "INVALID_REQUEST", bad


def a_replica_is_told_where_its_log_parts():
    """A follower that is a replica: epochs that are over or of the future, other
    histories, offsets out of the log. At last it is accepted and gets records."""
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        inside = Internals(cluster)
        inside.own_broker()  # only registered brokers are assigned
        topic_id = assigned_topic(cluster, "t", [1, 2, 9])
        first, now = past_the_first_epochs(cluster, "t")
        own = Follower(cluster, inside, now.leader_id, topic_id, now.leader_epoch)
        own.open()

        assert own.code(leader_epoch=first.leader_epoch) == "FENCED_LEADER_EPOCH"
        assert own.code(leader_epoch=now.leader_epoch + 1) == "UNKNOWN_LEADER_EPOCH"
        # One record in the old epoch, one in the new one: [0, 1) and [1, 2).
        for offset, epoch, end in ((2, first.leader_epoch, 1), (9, now.leader_epoch, 2)):
            cut = own.asked(fetch_offset=offset, last_fetched_epoch=epoch)
            assert cut.error.code == 0 and cut.diverging, cut
            assert (cut.diverging_epoch, cut.diverging_end_offset) == (epoch, end), cut
        assert own.code(fetch_offset=9) == "OFFSET_OUT_OF_RANGE"
        trimmed = cluster.log(cluster.nodes[now.leader_id].address).DeleteRecords(
            log_pb2.DeleteRecordsRequest(partitions=[log_pb2.DeleteRecordsPartition(
                topic=common_pb2.TopicRef(name="t"), before_offset=1)]), timeout=60).results[0]
        assert (trimmed.error.code, trimmed.log_start_offset) == (0, 1), trimmed
        below = own.asked(fetch_offset=0)
        assert below.error.code == E.ERROR_CODE_OFFSET_OUT_OF_RANGE, below
        assert below.log_start_offset == 1 and not below.diverging, below

        taken = own.asked(fetch_offset=1, last_fetched_epoch=first.leader_epoch)
        assert (taken.error.code, taken.diverging, taken.fetch_offset) == (0, False, 1), taken
        sent = own.session.batches.get(timeout=60)
        assert b"new" in sent and b"old" not in sent, sent
        own.session.close()
        assert sorted(cluster.partitions("t")[0].isr) == [1, 2]


if __name__ == "__main__":
    run([every_bad_replication_session_is_refused_by_name,
         a_follower_that_is_no_replica_is_told_so, a_replica_is_told_where_its_log_parts])
