#!/usr/bin/python3
"""A consumer group's member from generated stubs alone: Kafka's classic protocol
and its ConsumerProtocol bytes, with the range assignor. What a team in a language
without a library of ours would write. A process of its own, which can be stopped and
killed:

  group_member.py BOOTSTRAP GROUP TOPIC

It prints what it processes, `generation partition offset value`, before it commits
that; on stderr each generation's partitions. SIGTERM: it leaves."""
import contextlib
import signal
import struct
import sys
import threading
import time

from cluster import (cluster_pb2, cluster_pb2_grpc, common_pb2, group_pb2, group_pb2_grpc, grpc,
                     log_pb2, log_pb2_grpc)

ERR = {name[len("ERROR_CODE_"):]: number for name, number in common_pb2.ErrorCode.items()}
# Ask again: the coordinator moves, loads, or is not known yet; or the broker that
# was asked has just started, or stops.
AGAIN = {ERR["NOT_COORDINATOR"], ERR["COORDINATOR_NOT_AVAILABLE"],
         ERR["COORDINATOR_LOAD_IN_PROGRESS"], ERR["BROKER_NOT_AVAILABLE"],
         ERR["SHUTTING_DOWN"]}
OUT = {ERR["UNKNOWN_MEMBER_ID"], ERR["ILLEGAL_GENERATION"]}


def _string(text):
    return struct.pack(">h", len(text)) + text.encode()


def subscription(topics):
    return (struct.pack(">hi", 0, len(topics)) + b"".join(map(_string, topics))
            + struct.pack(">i", -1))


def assignment(topic, partitions):
    return (struct.pack(">hi", 0, 1) + _string(topic) + struct.pack(">i", len(partitions))
            + b"".join(struct.pack(">i", p) for p in partitions) + struct.pack(">i", -1))


def partitions_of(data):
    """{topic: [partition]} of an Assignment of any version."""
    if not data:
        return {}
    at, found = 6, {}
    for _ in range(struct.unpack_from(">i", data, 2)[0]):
        (length,) = struct.unpack_from(">h", data, at)
        topic = data[at + 2:at + 2 + length].decode()
        at += 2 + length
        (count,) = struct.unpack_from(">i", data, at)
        found[topic] = list(struct.unpack_from(">%di" % count, data, at + 4))
        at += 4 + 4 * count
    return found


def range_assign(count, members):
    """Consecutive partitions, the first members get one more."""
    members, given, at = sorted(members), {}, 0
    for i, member in enumerate(members):
        size = count // len(members) + (1 if i < count % len(members) else 0)
        given[member] = list(range(at, at + size))
        at += size
    return given


class Brokers:
    """All that a member knows of the cluster: addresses."""

    def __init__(self, bootstrap):
        self._channels = [grpc.insecure_channel(address, options=[
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200)]) for address in bootstrap.split(",")]

    def ask(self, stub, method, request, timeout):
        """The answer of the first that gives one; None: none does."""
        for channel in self._channels:
            with contextlib.suppress(grpc.RpcError):
                return getattr(stub(channel), method)(request, timeout=timeout)
        return None

    def group(self, method, request, timeout):
        return self.ask(group_pb2_grpc.GroupServiceStub, method, request, timeout)

    def fetch(self, request):
        return self.ask(log_pb2_grpc.LogServiceStub, "Fetch", request, 10)

    def partition_count(self, topic):
        answer = self.ask(cluster_pb2_grpc.ClusterServiceStub, "GetMetadata",
                          cluster_pb2.GetMetadataRequest(
                              topics=[common_pb2.TopicRef(name=topic)]), 5)
        return len(answer.topics[0].partitions) if answer is not None else 0


class StubMember:
    """Reads `topic` in `group` until stopped. Commits before it gives back."""

    def __init__(self, brokers, group, topic, session_ms=6000):
        self.brokers, self.group, self.topic = brokers, group, topic
        self.session_ms = session_ms
        self.member_id, self.generation = "", -1
        self._stop = threading.Event()

    def stop(self):
        self._stop.set()

    def _call(self, method, request, timeout):
        """The answer of any broker that is alive; None: none gave one."""
        return self.brokers.group(method, request, timeout)

    def run(self):
        while not self._stop.is_set():
            mine = self._join()
            if mine is not None:
                self._read(mine)
        if self.member_id:
            self._call("LeaveGroup", group_pb2.LeaveGroupRequest(
                group_id=self.group,
                members=[group_pb2.LeavingMember(member_id=self.member_id)]), 5)

    def _join(self):
        joined = self._call("JoinGroup", group_pb2.JoinGroupRequest(
            group_id=self.group, member_id=self.member_id, client_id="stub",
            session_timeout_ms=self.session_ms, rebalance_timeout_ms=20000,
            protocol_type="consumer", protocols=[group_pb2.GroupProtocol(
                name="range", metadata=subscription([self.topic]))]), 30)
        if joined is None or joined.error.code in AGAIN:
            time.sleep(0.1)
            return None
        if joined.error.code == ERR["MEMBER_ID_REQUIRED"]:
            self.member_id = joined.member_id
            return None
        if joined.error.code == ERR["UNKNOWN_MEMBER_ID"]:
            self.member_id = ""
            return None
        if joined.error.code == ERR["REBALANCE_IN_PROGRESS"]:
            return None
        assert joined.error.code == 0, "join: %s" % joined.error
        self.member_id, self.generation = joined.member_id, joined.generation_id
        assignments = []
        if joined.leader_id == self.member_id and not joined.skip_assignment:
            count = self.brokers.partition_count(self.topic)
            if count == 0:
                return None
            given = range_assign(count, [m.member_id for m in joined.members])
            assignments = [group_pb2.GroupAssignment(
                member_id=m, assignment=assignment(self.topic, ps)) for m, ps in given.items()]
        synced = self._call("SyncGroup", group_pb2.SyncGroupRequest(
            group_id=self.group, member_id=self.member_id, generation_id=self.generation,
            protocol_type="consumer", protocol_name="range", assignments=assignments), 30)
        if synced is None or synced.error.code:
            if synced is not None and synced.error.code == ERR["UNKNOWN_MEMBER_ID"]:
                self.member_id = ""
            return None
        mine = partitions_of(synced.assignment).get(self.topic, [])
        print("generation %d: reads %s [%s]" % (
            self.generation, self.topic, ",".join(map(str, mine))), file=sys.stderr, flush=True)
        return mine

    def _committed(self, mine):
        """Where to go on; None: the membership is over."""
        while not self._stop.is_set():
            answer = self._call("FetchOffsets", group_pb2.FetchOffsetsRequest(
                groups=[group_pb2.GroupOffsetsQuery(
                    group_id=self.group, member_id=self.member_id,
                    generation_id=self.generation, topics=[dict(
                        topic=dict(name=self.topic), partitions=mine)])]), 10)
            if answer is not None:
                found = answer.groups[0]
                codes = {found.error.code} | {o.error.code for o in found.offsets}
                if codes & OUT:
                    return None
                if codes == {0}:
                    return {o.partition: max(0, o.offset) for o in found.offsets}
            time.sleep(0.1)
        return None

    def _commit(self, positions):
        """False: refused, as the membership is over."""
        end = time.monotonic() + 20
        while positions and time.monotonic() < end:
            answer = self._call("CommitOffsets", group_pb2.CommitOffsetsRequest(
                group_id=self.group, member_id=self.member_id,
                generation_id=self.generation, offsets=[group_pb2.OffsetCommit(
                    topic=common_pb2.TopicRef(name=self.topic), partition=p, offset=o)
                    for p, o in positions.items()]), 10)
            if answer is not None:
                codes = {r.error.code for r in answer.results}
                if codes == {0}:
                    return True
                if codes & OUT or ERR["REBALANCE_IN_PROGRESS"] in codes:
                    return False
            time.sleep(0.1)
        return not positions

    def _read(self, mine):
        positions = self._committed(mine) if mine else {}
        if positions is None:
            return
        beat_at = 0
        while not self._stop.is_set():
            if time.monotonic() >= beat_at:
                beat = self._call("Heartbeat", group_pb2.HeartbeatRequest(
                    group_id=self.group, member_id=self.member_id,
                    generation_id=self.generation), 5)
                beat_at = time.monotonic() + 0.5
                code = beat.error.code if beat is not None else ERR["NOT_COORDINATOR"]
                if code == ERR["REBALANCE_IN_PROGRESS"]:
                    break
                if code in OUT:
                    if code == ERR["UNKNOWN_MEMBER_ID"]:
                        self.member_id = ""
                    return
                assert code == 0 or code in AGAIN, "heartbeat: %s" % beat
            if not positions:
                time.sleep(0.2)
                continue
            if self._fetch(positions) and not self._commit(positions):
                return
        self._commit(positions)

    def _fetch(self, positions):
        """True: something came, and is printed."""
        answer = self.brokers.fetch(log_pb2.FetchRequest(
            min_bytes=1, max_wait_ms=100, max_bytes=4 << 20, route=common_pb2.ROUTE_FORWARD,
            partitions=[log_pb2.FetchPartition(
                topic=common_pb2.TopicRef(name=self.topic), partition=p, offset=o,
                max_bytes=1 << 20) for p, o in positions.items()]))
        came = False
        for result in answer.results if answer is not None else ():
            if result.error.code:
                continue
            for record in result.records.records:
                sys.stdout.buffer.write(b"%d %d %d %s\n" % (
                    self.generation, result.partition, record.offset, record.value))
                came = True
            positions[result.partition] = max(positions[result.partition], result.next_offset)
        sys.stdout.buffer.flush()
        return came


def main():
    bootstrap, group, topic = sys.argv[1:]
    member = StubMember(Brokers(bootstrap), group, topic)
    signal.signal(signal.SIGTERM, lambda *_: member.stop())
    member.run()


if __name__ == "__main__":
    main()
