#!/usr/bin/python3
"""The data calls on real processes, from generated stubs: every row of bad
input to Produce and Fetch, sequences of typed records, trims, cut logs."""
import json

from record_batch import make_batch, make_record, varint
from cluster import Cluster, common_pb2, grpc, log_pb2, run, wait_until

E = common_pb2


def ref(name):
    return common_pb2.TopicRef(name=name)


class Calls:
    """One broker's LogService; each call about one partition of one topic."""

    def __init__(self, cluster, node_id, topic):
        self.log, self.topic = cluster.log(cluster.nodes[node_id].address), ref(topic)

    def batches(self, payload, partition=0, **fields):
        return self.produce(log_pb2.ProducePartition(
            topic=self.topic, partition=partition, batches=payload, **fields))

    def typed(self, values, partition=0, **fields):
        records = [common_pb2.Record(value=v) for v in values]
        return self.produce(log_pb2.ProducePartition(
            topic=self.topic, partition=partition,
            records=common_pb2.RecordList(records=records), **fields))

    def produce(self, part):
        return self.log.Produce(log_pb2.ProduceRequest(partitions=[part]), timeout=60).results[0]

    def fetch(self, offset, form=0, isolation=0, max_bytes=0, **fields):
        return self.log.Fetch(log_pb2.FetchRequest(
            form=form, isolation=isolation, max_bytes=max_bytes,
            partitions=[log_pb2.FetchPartition(topic=self.topic, offset=offset, **fields)]),
            timeout=60).results[0]

    def epoch_end(self, epoch, **fields):
        return self.log.OffsetForLeaderEpoch(log_pb2.OffsetForLeaderEpochRequest(
            partitions=[log_pb2.OffsetForLeaderEpochPartition(
                topic=self.topic, leader_epoch=epoch, **fields)]), timeout=60).results[0]

    def trim(self, before, validate_only=False, timeout_ms=0, **fields):
        return self.log.DeleteRecords(log_pb2.DeleteRecordsRequest(
            validate_only=validate_only, timeout_ms=timeout_ms,
            partitions=[log_pb2.DeleteRecordsPartition(
                topic=self.topic, before_offset=before, **fields)]), timeout=60).results[0]

    def begun(self):
        wait_until(lambda: self.epoch_end(0).error.code == 0, 60, "a leader that has begun")
        return self


def refused(call, code=grpc.StatusCode.INVALID_ARGUMENT):
    try:
        answer = call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return
    raise AssertionError("it was answered: %s" % answer)


def zstd_bomb(blocks):
    """A zstd frame of 128 KiB a block, four bytes each."""
    block = (1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0"
    last = (1 | 1 << 1 | 1 << 3).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * blocks + last


def every_bad_batch_is_named_and_stored_nowhere():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=2, replicas=1, max_message_bytes=20000)
        t = Calls(cluster, 1, "t").begun()
        epoch = t.fetch(0).leader_epoch
        now = 1700000000000

        def expect(code, payload, **fields):
            error = t.batches(payload, **fields).error
            assert error.code == code, "%s: %s" % (E.ErrorCode.Name(code), error)
            assert error.message, "without a word"

        good = make_batch([b"x"])
        corrupt, invalid = E.ERROR_CODE_CORRUPT_MESSAGE, E.ERROR_CODE_INVALID_RECORD
        for length in (0, 5, -1, 1 << 30):  # below a header, of the future, negative
            expect(corrupt, good[:8] + length.to_bytes(4, "big", signed=True) + good[12:])
        expect(corrupt, good + b"\0")
        expect(corrupt, good[:16] + b"\x00" + good[17:])  # magic 0
        expect(corrupt, good[:-1] + b"\x7f")  # CRC

        expect(invalid, make_batch([b"x"], count=0))
        expect(invalid, make_batch([b"x"], count=-1))
        expect(invalid, make_batch([b"x"], count=2))
        expect(invalid, make_batch([b"x", b"y"], count=2, last_delta=0))
        expect(invalid, make_batch([b"x"], last_delta=5))
        for attributes in (0x20, 0x10, 0x80, 0x8000):  # control, transactional, unused
            expect(invalid, make_batch([b"x"], attributes=attributes))
        expect(invalid, make_batch([b"x"], records=make_record(b"x", headers=varint(-2))))
        expect(invalid, make_batch([b"x"], records=make_record(b"x", headers=varint(9))))
        expect(invalid, make_batch([b"x"], records=make_record(b"x", size=varint(3))))
        expect(invalid, make_batch([b"x"], records=make_record(b"x", size=varint(400))))
        expect(invalid, make_batch([b"x"], records=b"\xff" * 6 + make_record(b"x")))
        expect(invalid, make_batch([b"x"], records=make_record(b"x") * 2))
        expect(invalid, make_batch([b"x"], records=make_record(b"x", delta=1)))
        expect(invalid, make_batch([b"x"], producer=(7, 0, -1)))
        expect(invalid, make_batch([b"x"], producer=(7, -1, 0)))

        expect(E.ERROR_CODE_UNSUPPORTED_COMPRESSION_TYPE, make_batch([b"x"], attributes=7))
        expect(corrupt, make_batch([b"x"], attributes=4, records=b"no zstd at all"))
        bomb = t.batches(make_batch([b"x"], attributes=4, records=zstd_bomb(1000)))
        assert bomb.error.code in (corrupt, E.ERROR_CODE_MESSAGE_TOO_LARGE), bomb
        expect(E.ERROR_CODE_MESSAGE_TOO_LARGE, make_batch([b"y" * 30000]))
        expect(E.ERROR_CODE_INVALID_TIMESTAMP, make_batch([b"x"], timestamp_ms=now * 2))
        expect(E.ERROR_CODE_FENCED_LEADER_EPOCH, good, leader_epoch=epoch - 1)
        expect(E.ERROR_CODE_UNKNOWN_LEADER_EPOCH, good, leader_epoch=epoch + 1)
        # All of a payload or nothing: the second batch is at fault.
        expect(corrupt, good + good[:-1] + b"\x7f")

        def produce(**fields):
            return t.log.Produce(log_pb2.ProduceRequest(**fields), timeout=60)
        part = log_pb2.ProducePartition(topic=ref("t"), partition=0, batches=good)
        refused(lambda: produce(partitions=[part, part]))
        refused(lambda: produce(partitions=[]))
        refused(lambda: produce(partitions=[part] * 10001))
        refused(lambda: produce(partitions=[part], acks=2))
        refused(lambda: produce(partitions=[part], transactional_id="me"))
        refused(lambda: produce(partitions=[log_pb2.ProducePartition(topic=ref("t"))]))
        raw = cluster.channel(cluster.nodes[1].address).unary_unary("/sluice.v1.LogService/Produce")
        refused(lambda: raw(b"\xff\xff\xff no message", timeout=60))

        assert cluster.read_all("t", 0) == []
        assert t.batches(good + make_batch([b"y"])).error.code == 0
        assert [v for _, _, v in cluster.read_all("t", 0)] == [b"x", b"y"]


def every_bad_fetch_is_named_and_a_large_one_is_clamped():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=1)
        t = Calls(cluster, 1, "t").begun()
        for value in (b"a", b"b"):
            assert t.batches(make_batch([value])).error.code == 0
        old = t.fetch(0).leader_epoch
        # The last record is of a later leader epoch.
        cluster.kill(1)
        cluster.start(1).wait_healthy()
        wait_until(lambda: cluster.in_use("t", 1), 60, "t is led again")
        assert t.batches(make_batch([b"c"])).error.code == 0
        epoch = t.fetch(0).leader_epoch
        assert epoch > old, (epoch, old)

        for offset in (-1, 4, 1 << 62):
            result = t.fetch(offset)
            assert result.error.code == E.ERROR_CODE_OFFSET_OUT_OF_RANGE, result
            assert "[0, 3]" in result.error.message and not result.records.records, result
        # No limit is too small for one batch, none too large.
        one = t.fetch(0, max_bytes=1)
        assert [r.value for r in one.records.records] == [b"a"], one
        for limit in (-5, 0, 2**31 - 1):
            everything = t.fetch(0, max_bytes=limit)
            assert [r.value for r in everything.records.records] == [b"a", b"b", b"c"], limit
        assert t.fetch(0, leader_epoch=epoch - 1).error.code == E.ERROR_CODE_FENCED_LEADER_EPOCH
        assert t.fetch(0, leader_epoch=epoch + 1).error.code == E.ERROR_CODE_UNKNOWN_LEADER_EPOCH
        refused(lambda: t.fetch(0, isolation=9))
        refused(lambda: t.fetch(0, form=9))
        asked = log_pb2.FetchPartition(topic=common_pb2.TopicRef(id=b"\x07" * 16))
        unknown = t.log.Fetch(log_pb2.FetchRequest(partitions=[asked]), timeout=60).results[0]
        assert unknown.error.code == E.ERROR_CODE_UNKNOWN_TOPIC_ID, unknown
        same = log_pb2.FetchPartition(topic=ref("t"))
        refused(lambda: t.log.Fetch(log_pb2.FetchRequest(partitions=[same, same]), timeout=60))
        refused(lambda: t.log.Fetch(log_pb2.FetchRequest(), timeout=60))
        refused(lambda: t.log.Fetch(
            log_pb2.FetchRequest(partitions=[same], max_wait_ms=-1), timeout=60))

        # The epoch that was read last: good, of another history, of the future.
        good = t.fetch(2, last_fetched_epoch=old)
        assert good.last_record_epoch == epoch and good.error.code == 0, good
        cut = t.fetch(3, last_fetched_epoch=old)
        assert cut.error.code == E.ERROR_CODE_LOG_TRUNCATED and not cut.records.records, cut
        assert (cut.diverging.leader_epoch, cut.diverging.end_offset) == (old, 2), cut
        assert "epoch %d ends at 2" % old in cut.error.message, cut
        beyond = t.fetch(9, last_fetched_epoch=epoch)
        assert beyond.error.code == E.ERROR_CODE_LOG_TRUNCATED, beyond
        assert (beyond.diverging.leader_epoch, beyond.diverging.end_offset) == (epoch, 3), beyond
        ahead = t.fetch(3, last_fetched_epoch=epoch + 1)
        assert ahead.error.code == E.ERROR_CODE_UNKNOWN_LEADER_EPOCH, ahead

        # Where epochs end: never 0 for one that is not known.
        for begun, end_offset in ((old, 2), (epoch, 3)):
            end = t.epoch_end(begun)
            assert (end.end.leader_epoch, end.end.end_offset) == (begun, end_offset), end
        for epoch_asked in (-1, -2**31, epoch + 1, 2**31 - 1):
            unknown = t.epoch_end(epoch_asked)
            assert unknown.error.code == 0, unknown
            assert (unknown.end.leader_epoch, unknown.end.end_offset) == (-1, -1), unknown
        stale = t.epoch_end(epoch, current_leader_epoch=epoch - 1)
        assert stale.error.code == E.ERROR_CODE_FENCED_LEADER_EPOCH, stale
        early = t.epoch_end(epoch, current_leader_epoch=epoch + 1)
        assert early.error.code == E.ERROR_CODE_UNKNOWN_LEADER_EPOCH, early


def typed_records_of_an_idempotent_producer():
    """Stored once, also when sent again to the next leader (IP1-IP3)."""
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=3, min_insync_replicas=2)
        leader = cluster.leader("t")
        t = Calls(cluster, leader, "t").begun()
        who = dict(producer_id=4711, producer_epoch=3)

        first = t.typed([b"a", b"b"], base_sequence=0, **who)
        assert (first.error.code, first.base_offset, first.duplicate) == (0, 0, False), first
        again = t.typed([b"a", b"b"], base_sequence=0, **who)
        assert (again.error.code, again.base_offset, again.duplicate) == (0, 0, True), again
        gap = t.typed([b"z"], base_sequence=5, **who)
        assert gap.error.code == E.ERROR_CODE_OUT_OF_ORDER_SEQUENCE, gap
        second = t.typed([b"c"], base_sequence=2, **who)
        assert (second.error.code, second.base_offset) == (0, 2), second
        old = t.typed([b"z"], producer_id=4711, producer_epoch=2, base_sequence=3)
        assert old.error.code == E.ERROR_CODE_INVALID_PRODUCER_EPOCH, old
        late = t.typed([b"z"], producer_id=4711, producer_epoch=4, base_sequence=7)
        assert late.error.code == E.ERROR_CODE_OUT_OF_ORDER_SEQUENCE, late
        for fields in (dict(producer_id=1), dict(producer_id=1, producer_epoch=0),
                       dict(producer_id=-2, producer_epoch=0, base_sequence=0),
                       dict(producer_id=1, producer_epoch=40000, base_sequence=0)):
            bad = t.typed([b"z"], **fields)
            assert bad.error.code != 0 and bad.base_offset <= 0, (fields, bad)
        # Numbered records need a partition: a broker that spread them would
        # break their numbers.
        spread = t.produce(log_pb2.ProducePartition(
            topic=t.topic, base_sequence=3, **who,
            records=common_pb2.RecordList(records=[common_pb2.Record(value=b"z")])))
        assert spread.error.code != 0, spread

        cluster.wait_full_isr("t")
        cluster.kill(leader)
        wait_until(lambda: cluster.leader("t") != leader, 60, "another leader")
        n = Calls(cluster, cluster.leader("t"), "t")

        def known():
            result = n.typed([b"c"], base_sequence=2, **who)
            return result if result.error.code == 0 else None
        repeated = wait_until(known, 60, "an answer of the new leader")
        assert (repeated.base_offset, repeated.duplicate) == (2, True), repeated
        third = n.typed([b"d"], base_sequence=3, **who)
        assert (third.error.code, third.base_offset) == (0, 3), third
        assert [v for _, _, v in cluster.read_all("t", 0)] == [b"a", b"b", b"c", b"d"]


def trimmed_records_stay_away():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=3, min_insync_replicas=2)
        for i in range(6):
            cluster.produce("t", 0, [b"%d" % i])
        leader = cluster.leader("t")
        t = Calls(cluster, leader, "t")

        past = t.trim(7)
        assert past.error.code == E.ERROR_CODE_OFFSET_OUT_OF_RANGE, past
        assert t.trim(-2).error.code == E.ERROR_CODE_OFFSET_OUT_OF_RANGE
        checked = t.trim(4, validate_only=True)
        assert (checked.error.code, checked.log_start_offset) == (0, 4), checked
        assert len(cluster.read_all("t", 0)) == 6
        refused(lambda: t.trim(4, timeout_ms=-1))
        other = [n.id for n in cluster.brokers if n.id != leader][0]
        elsewhere = Calls(cluster, other, "t").trim(4)
        assert elsewhere.error.code == E.ERROR_CODE_NOT_LEADER, elsewhere
        assert elsewhere.leader.leader_id == leader, elsewhere

        def trim(before, *flags):
            return cluster.cli("topic", "trim", "t", "--before", before, *flags, check=False)
        dry = trim("4", "--dry-run")
        assert dry.returncode == 0 and b"dry run" in dry.stderr, dry
        assert len(cluster.read_all("t", 0)) == 6
        wrong = trim("soon", "--yes")
        assert wrong.returncode == 2 and b"soon" in wrong.stderr, wrong
        far = trim("99", "--yes")
        assert far.returncode == 1 and b"OFFSET_OUT_OF_RANGE" in far.stdout, far
        done = trim("4", "--yes", "-o", "json")
        assert done.returncode == 0, done
        assert json.loads(done.stdout)["results"][0]["logStartOffset"] == "4", done.stdout

        below = t.fetch(3)
        assert below.error.code == E.ERROR_CODE_OFFSET_OUT_OF_RANGE, below
        assert (below.log_start_offset, below.high_watermark) == (4, 6), below
        listed = t.log.ListOffsets(log_pb2.ListOffsetsRequest(partitions=[
            log_pb2.ListOffsetsPartition(
                topic=t.topic, position=log_pb2.ListOffsetsPartition.POSITION_EARLIEST)]),
            timeout=60).results[0]
        assert listed.offset == 4, listed

        # By the next leader, and by all of them after kill -9 of all.
        cluster.kill(leader)
        wait_until(lambda: cluster.leader("t") != leader, 60, "another leader")
        n = Calls(cluster, cluster.leader("t"), "t").begun()
        assert n.fetch(3).error.code == E.ERROR_CODE_OFFSET_OUT_OF_RANGE
        rest = [x.id for x in cluster.brokers if x.alive]
        cluster.kill(*rest)
        cluster.start(leader, *rest).wait_healthy()
        cluster.wait_full_isr("t")
        n = Calls(cluster, cluster.leader("t"), "t").begun()
        below = n.fetch(3)
        assert (below.error.code, below.log_start_offset) == (
            E.ERROR_CODE_OFFSET_OUT_OF_RANGE, 4), below
        wait_until(lambda: n.fetch(4).error.code == 0, 60, "what was not trimmed")
        assert [r.value for r in n.fetch(4).records.records] == [b"4", b"5"]


def small_batches_take_default_producers():
    """A topic that takes no batch of a default producer's size (MESSAGE_TOO_LARGE)."""
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("small", partitions=1, replicas=1, max_message_bytes=4000)
        lines = "".join("%06d %s\n" % (i, "x" * 100) for i in range(5000))
        cluster.cli("produce", "small", stdin=lines.encode())
        values = [v for _, _, v in cluster.read_all("small", 0)]
        assert [int(v[:6]) for v in values] == list(range(5000)), len(values)
        big = cluster.cli("produce", "small", stdin=b"y" * 9000 + b"\n", check=False)
        assert big.returncode == 1 and b"MESSAGE_TOO_LARGE" in big.stderr, big


if __name__ == "__main__":
    run([every_bad_batch_is_named_and_stored_nowhere,
         every_bad_fetch_is_named_and_a_large_one_is_clamped,
         typed_records_of_an_idempotent_producer, trimmed_records_stay_away,
         small_batches_take_default_producers])
