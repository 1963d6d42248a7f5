"""A member of a consumer group, from generated stubs alone.

Kafka's classic protocol over gRPC: join, sync, heartbeat, fetch, commit. One
topic a group, the range assignor, one thread: heartbeats go out between batches,
so each batch has to be done with within the session timeout. Any broker takes
any call and hands it to the coordinator or the leader it is for.
"""
import argparse
import collections
import os
import signal
import struct
import sys
import time

import grpc
from sluice.v1 import (cluster_pb2, cluster_pb2_grpc, common_pb2, group_pb2, group_pb2_grpc,
                       log_pb2, log_pb2_grpc)

ERR = {name[len("ERROR_CODE_"):]: number for name, number in common_pb2.ErrorCode.items()}
# The coordinator moves or loads, or the broker that was asked starts or stops.
AGAIN = {ERR[name] for name in (
    "NOT_COORDINATOR", "COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS",
    "BROKER_NOT_AVAILABLE", "REQUEST_TIMED_OUT", "SHUTTING_DOWN", "BUSY")}
# The group makes a new generation, or has gone on without this member.
REJOIN = {ERR["REBALANCE_IN_PROGRESS"], ERR["ILLEGAL_GENERATION"], ERR["UNKNOWN_MEMBER_ID"]}
HEARTBEAT_S = 1.0
GIVE_UP_S = 60.0

# What one fetch brought of a partition; next_offset is what commits it.
Batch = collections.namedtuple("Batch", "topic partition records next_offset leader_epoch")


def arguments(about):
    """The command line that the examples share."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--bootstrap", metavar="HOST:PORT,...", help="brokers (%(default)s)",
                        default=os.environ.get("SLUICE_BOOTSTRAP", "127.0.0.1:9001"))
    parser.add_argument("--topic", default="orders", help="what to read (%(default)s)")
    parser.add_argument("--group", default="example", help="who shares it (%(default)s)")
    parser.add_argument("--instance-id", default="",
                        help="a name of its own: a restart under it costs no rebalance")
    parser.add_argument("--session-timeout-ms", type=int, default=10000,
                        help="how long a silent member keeps its part (%(default)s)")
    parser.add_argument("--fetch-bytes", type=int, default=256 << 10,
                        help="of a partition at a time; a batch at least (%(default)s)")
    return parser


class GroupError(Exception):
    """What asking again does not mend."""


class GroupConsumer:
    """Yields batches of the partitions that the group gave this member.

    `start_at(topic, partition)`, if given, says where each one begins; else it
    begins where the group has committed, or at the log's start.
    """

    def __init__(self, options, start_at=None):
        self._options, self._start_at = options, start_at
        self._addresses = collections.deque(options.bootstrap.split(","))
        self._channel = None
        self._member_id, self._generation = "", -1
        self._belongs = False  # to the group's generation, as far as is known
        self._beat_at = 0.0
        self._stopped = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, *_):
        self._stopped = True

    # ---- For the application

    def batches(self):
        """Until SIGINT or SIGTERM."""
        while not self._stopped:
            partitions = self._join()
            if partitions is None:
                continue
            positions = self._positions(partitions)
            while self._still_belongs():
                if not positions:
                    time.sleep(0.2)
                    continue
                for batch in self._fetch(positions):
                    if not self._still_belongs():
                        break
                    yield batch
                    positions[batch.partition] = batch.next_offset

    def commit(self, batch):
        """False: refused, for the group goes on without this member, and
        another one begins where the last commit was."""
        offset = group_pb2.OffsetCommit(
            topic=common_pb2.TopicRef(name=batch.topic), partition=batch.partition,
            offset=batch.next_offset, leader_epoch=batch.leader_epoch)
        code = self._ask("CommitOffsets", group_pb2.CommitOffsetsRequest(
            group_id=self._options.group, offsets=[offset], **self._who()),
            lambda answer: [answer.results[0].error])[1]
        return code == 0

    def start_over(self):
        """Joins anew, and begins its partitions anew."""
        self._belongs = False

    def close(self):
        """Leaves, so that the others need not wait for the session's end; a
        member with an instance id stays, to come back as the same."""
        if self._member_id and not self._options.instance_id:
            self._ask("LeaveGroup", group_pb2.LeaveGroupRequest(
                group_id=self._options.group,
                members=[group_pb2.LeavingMember(member_id=self._member_id)]),
                lambda answer: [answer.error])
        if self._channel is not None:
            self._channel.close()

    # ---- The group

    def _who(self):
        return dict(member_id=self._member_id, generation_id=self._generation,
                    group_instance_id=self._options.instance_id)

    def _join(self):
        """The partitions of this member; None: join again."""
        options = self._options
        joined, code = self._ask("JoinGroup", group_pb2.JoinGroupRequest(
            group_id=options.group, member_id=self._member_id,
            group_instance_id=options.instance_id, client_id="sluice-example",
            session_timeout_ms=options.session_timeout_ms, protocol_type="consumer",
            protocols=[group_pb2.GroupProtocol(
                name="range", metadata=encode_subscription(options.topic))]),
            lambda answer: [answer.error], timeout_s=options.session_timeout_ms / 1000 + 30)
        if code == ERR["MEMBER_ID_REQUIRED"]:
            self._member_id = joined.member_id  # the id to come again with
        if code:
            return None
        self._member_id, self._generation = joined.member_id, joined.generation_id
        assignments = []
        if joined.leader_id == self._member_id and not joined.skip_assignment:
            given = assign_range(self._partition_count(), [m.member_id for m in joined.members])
            assignments = [group_pb2.GroupAssignment(
                member_id=member, assignment=encode_assignment(options.topic, partitions))
                for member, partitions in given.items()]
        synced, code = self._ask("SyncGroup", group_pb2.SyncGroupRequest(
            group_id=options.group, assignments=assignments, **self._who()),
            lambda answer: [answer.error], timeout_s=options.session_timeout_ms / 1000 + 30)
        if code:
            return None
        self._belongs, self._beat_at = True, time.monotonic() + HEARTBEAT_S
        mine = decode_assignment(synced.assignment).get(options.topic, [])
        print("generation %d: reads %s %s" % (self._generation, options.topic, mine),
              file=sys.stderr, flush=True)
        return mine

    def _still_belongs(self):
        """Beats the heart if that is due."""
        if self._belongs and not self._stopped and time.monotonic() >= self._beat_at:
            self._ask("Heartbeat", group_pb2.HeartbeatRequest(
                group_id=self._options.group, **self._who()), lambda answer: [answer.error])
            self._beat_at = time.monotonic() + HEARTBEAT_S
        return self._belongs and not self._stopped

    def _partition_count(self):
        answer = self._call("Cluster", "GetMetadata", cluster_pb2.GetMetadataRequest(
            topics=[common_pb2.TopicRef(name=self._options.topic)]), 10)
        error = answer.topics[0].error
        if error.code:
            raise GroupError("topic %s: %s" % (self._options.topic, error.message))
        return len(answer.topics[0].partitions)

    def _positions(self, partitions):
        if self._start_at is not None:
            return {p: self._start_at(self._options.topic, p) for p in partitions}
        if not partitions:
            return {}
        topic = dict(topic=dict(name=self._options.topic), partitions=partitions)
        answer, code = self._ask("FetchOffsets", group_pb2.FetchOffsetsRequest(
            groups=[group_pb2.GroupOffsetsQuery(
                group_id=self._options.group, topics=[topic], member_id=self._member_id,
                generation_id=self._generation)]),
            lambda answer: [answer.groups[0].error] + [o.error for o in answer.groups[0].offsets])
        if code:
            return {}
        return {o.partition: max(o.offset, 0) for o in answer.groups[0].offsets}

    # ---- Records

    def _fetch(self, positions):
        """A list: what came of each partition."""
        ask = [log_pb2.FetchPartition(
            topic=common_pb2.TopicRef(name=self._options.topic), partition=p, offset=offset,
            max_bytes=self._options.fetch_bytes) for p, offset in positions.items()]
        answer = self._call("Log", "Fetch", log_pb2.FetchRequest(
            partitions=ask, min_bytes=1, max_wait_ms=300, route=common_pb2.ROUTE_FORWARD), 10)
        batches = []
        for result in answer.results:
            code, p = result.error.code, result.partition
            if code == ERR["OFFSET_OUT_OF_RANGE"] and positions[p] < result.log_start_offset:
                positions[p] = result.log_start_offset  # what was there is deleted
            elif code == ERR["OFFSET_OUT_OF_RANGE"]:
                raise GroupError(result.error.message)
            elif code:  # its leader moves
                time.sleep(0.1)
            elif result.next_offset > positions[p]:
                batches.append(Batch(self._options.topic, p, result.records.records,
                                     result.next_offset, result.last_record_epoch))
        return batches

    # ---- Calls

    def _ask(self, method, request, errors_of, timeout_s=10):
        """(answer, error code) of a call about the group: 0, one of REJOIN, or
        MEMBER_ID_REQUIRED."""
        until = time.monotonic() + GIVE_UP_S
        while True:
            answer = self._call("Group", method, request, timeout_s)
            error = next((e for e in errors_of(answer) if e.code), common_pb2.Error())
            if error.code in REJOIN:
                self._belongs = False
                if error.code == ERR["UNKNOWN_MEMBER_ID"]:
                    self._member_id = ""
            if error.code in REJOIN | {0, ERR["MEMBER_ID_REQUIRED"]}:
                return answer, error.code
            if error.code not in AGAIN or time.monotonic() > until:
                raise GroupError("%s: %s" % (method, error.message))
            time.sleep(0.1)

    def _call(self, service, method, request, timeout_s):
        """At the broker that is known to answer, else at the next one."""
        until = time.monotonic() + GIVE_UP_S
        while True:
            if self._channel is None:
                self._channel = grpc.insecure_channel(self._addresses[0])
                self._services = {
                    "Cluster": cluster_pb2_grpc.ClusterServiceStub(self._channel),
                    "Group": group_pb2_grpc.GroupServiceStub(self._channel),
                    "Log": log_pb2_grpc.LogServiceStub(self._channel)}
            try:
                return getattr(self._services[service], method)(request, timeout=timeout_s)
            except grpc.RpcError as error:
                if (error.code() not in (grpc.StatusCode.UNAVAILABLE,
                                         grpc.StatusCode.DEADLINE_EXCEEDED)
                        or self._stopped or time.monotonic() > until):
                    raise GroupError("%s at %s: %s" % (
                        method, self._addresses[0], error.details()))
                self._channel.close()
                self._channel = None
                self._addresses.rotate(-1)
                time.sleep(0.1)


# ---- Kafka's ConsumerProtocol: what members tell each other

def encode_string(text):
    return struct.pack(">h", len(text.encode())) + text.encode()


def encode_subscription(topic):
    """Version 0: topics, no user data."""
    return struct.pack(">hi", 0, 1) + encode_string(topic) + struct.pack(">i", -1)


def encode_assignment(topic, partitions):
    return (struct.pack(">hi", 0, 1) + encode_string(topic) + struct.pack(
        ">i%dii" % len(partitions), len(partitions), *partitions, -1))


def decode_assignment(data):
    """{topic: [partition]}"""
    found, at = {}, 6
    for _ in range(struct.unpack_from(">i", data, 2)[0] if data else 0):
        (length,) = struct.unpack_from(">h", data, at)
        topic, at = data[at + 2:at + 2 + length].decode(), at + 2 + length
        (count,) = struct.unpack_from(">i", data, at)
        found[topic] = list(struct.unpack_from(">%di" % count, data, at + 4))
        at += 4 + 4 * count
    return found


def assign_range(count, members):
    """{member: [partition]}: neighbours to one member, one more to the first ones."""
    given, at = {}, 0
    for i, member in enumerate(sorted(members)):
        size = count // len(members) + (i < count % len(members))
        given[member] = list(range(at, at + size))
        at += size
    return given
