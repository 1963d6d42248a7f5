"""A member of a consumer group by GroupService.Consume: one call, at any broker,
that joins, fetches and commits for it (docs/consume.md)."""
import argparse
import collections
import os
import queue
import signal
import sys
import time

import grpc
from sluice.v1 import group_pb2, group_pb2_grpc

GIVE_UP_S = 60.0  # without a word from any broker
# A broker that hangs is left within ten seconds.
CHANNEL = [("grpc.keepalive_time_ms", 5000), ("grpc.keepalive_timeout_ms", 5000)]
# What another try mends, at another broker at best.
AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
         grpc.StatusCode.RESOURCE_EXHAUSTED}

# What came of a partition at a time; next_offset is what commits it.
Batch = collections.namedtuple("Batch", "topic topic_id partition records next_offset cost")


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
                        help="that may be on their way; a batch at least (%(default)s)")
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
        self._brokers = collections.deque(options.bootstrap.split(","))
        self._channel = self._call = None
        self._asks = queue.SimpleQueue()  # to the broker; None: half-close
        self._token = b""  # to go on as the same member, at any broker
        self._waiting = collections.deque()  # batches that came
        self._committed = {}  # (topic id, partition) -> the last answer
        self._silent_since = None  # calls fail since then
        self._reading = self._stopped = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, *_):
        self._stopped = True
        if self._reading:  # else a batch is being worked on: first that
            self._asks.put(None)

    # ---- For the application

    def batches(self):
        """Until SIGINT or SIGTERM."""
        while not self._stopped:
            if self._waiting:
                batch, asks = self._waiting.popleft(), self._asks
                yield batch
                asks.put(group_pb2.ConsumeRequest(credit_bytes=batch.cost))
            else:
                self._read()

    def commit(self, batch):
        """Does not wait. Refused, another member reads it again; by the topic's id, so
        that it is never one of a topic that has the name later."""
        self._asks.put(group_pb2.ConsumeRequest(ack=group_pb2.ConsumeAck(
            offsets=[_place(dict(id=batch.topic_id), batch.partition, batch.next_offset)])))

    def commit_and_wait(self, batch):
        """False: refused, or nobody knows."""
        key = (batch.topic_id, batch.partition)
        self._committed.pop(key, None)
        self.commit(batch)
        while self._call is not None:
            answer = self._committed.get(key)
            if answer is not None and (answer.error.code or answer.offset >= batch.next_offset):
                return not answer.error.code
            self._read()
        return False

    def start_over(self):
        """As a new member, whose partitions begin anew."""
        self._end()
        self._token = b""

    def close(self):
        """Leaves the group, so that the others need not wait for a session's end; a
        member with an instance id stays, to come back as the same."""
        self._end()
        if self._channel is not None:
            self._channel.close()

    # ---- The call

    def _open(self):
        options = self._options
        if self._channel is not None:
            self._channel.close()
        self._channel = grpc.insecure_channel(self._brokers[0], CHANNEL)
        self._asks = queue.SimpleQueue()
        self._asks.put(group_pb2.ConsumeRequest(credit_bytes=options.fetch_bytes, open=dict(
            group_id=options.group, topics=[options.topic], client_id="sluice-example",
            group_instance_id=options.instance_id, resume_token=self._token,
            session_timeout_ms=options.session_timeout_ms,
            rebalance_timeout_ms=options.session_timeout_ms,
            max_poll_interval_ms=options.session_timeout_ms,
            assignors=["range"], start_by_seek=self._start_at is not None)))
        self._call = group_pb2_grpc.GroupServiceStub(self._channel).Consume(
            iter(self._asks.get, None))

    def _end(self):
        """What is committed is committed first."""
        self._asks.put(None)
        while self._call is not None:
            self._read()

    def _read(self):
        """One message. Without one the call is over, and what was not committed
        comes again with the next one."""
        if self._call is None:
            self._open()
        self._reading = True
        if self._stopped:
            self._asks.put(None)
        try:
            message = next(self._call)
            self._silent_since = None
            told = getattr(self, "_on_%s" % message.WhichOneof("message"), None)
            if told is not None:
                told(message)
        except StopIteration:
            self._call = None
        except grpc.RpcError as error:
            self._call = None
            self._lost(error)
        finally:
            self._reading = False
            if self._call is None:
                self._waiting.clear()

    def _lost(self, error):
        """The next broker goes on, as the same member where that is possible."""
        said = "%s: %s" % (self._brokers[0], error.details())
        self._silent_since = self._silent_since or time.monotonic()
        if error.code() == grpc.StatusCode.ABORTED:
            self._token = b""  # the group has gone on without this member
        elif (error.code() not in AGAIN
              or time.monotonic() > self._silent_since + GIVE_UP_S):
            raise GroupError(said)
        print(said, file=sys.stderr, flush=True)
        self._brokers.rotate(-1)
        time.sleep(0.1)

    # ---- What the broker says; `moved`: the call ends next, and any broker will do

    def _on_assigned(self, message):
        assigned = message.assigned
        self._token = assigned.resume_token
        print("generation %d: reads %s %s" % (
            assigned.generation_id, self._options.topic,
            sorted(p.partition for p in assigned.partitions)), file=sys.stderr, flush=True)
        if self._start_at is None or not assigned.added:
            return
        places = [_place(p.topic, p.partition, self._start_at(p.topic.name, p.partition))
                  for p in assigned.added]
        self._asks.put(group_pb2.ConsumeRequest(seek=dict(positions=[
            dict(topic=p.topic, partition=p.partition, offset=p.offset) for p in places])))
        # For who looks at the group: who was here last may not have said so.
        self._asks.put(group_pb2.ConsumeRequest(ack=dict(offsets=places)))

    def _on_revoke(self, message):
        gone = {(p.topic.name, p.partition) for p in message.revoke.partitions}
        self._waiting = collections.deque(
            b for b in self._waiting if (b.topic, b.partition) not in gone)
        # Everything that is done was committed before.
        self._asks.put(group_pb2.ConsumeRequest(
            revoke_ack=dict(revoke_id=message.revoke.revoke_id)))

    def _on_records(self, message):
        r = message.records
        self._waiting.append(Batch(
            r.topic.name, r.topic_id, r.partition, r.records.records, r.next_offset,
            r.charged_bytes))

    def _on_committed(self, message):
        for result in message.committed.results:
            # As it was named: by id but for a place that was sought.
            self._committed[result.topic.id, result.partition] = result


def _place(topic, partition, offset):
    return group_pb2.OffsetCommit(topic=topic, partition=partition, offset=offset)
