"""GroupService.Consume from generated stubs alone: what a team in a language without
a library of ours would write. A whole consumer is one call."""
import contextlib
import queue
import re
import threading
import time

from cluster import PATIENCE, common_pb2, group_pb2, group_pb2_grpc, grpc

CODES = {number: name[len("ERROR_CODE_"):] for name, number in common_pb2.ErrorCode.items()}
NAMES = set(CODES.values())


def error_name(error):
    """Of our error in a call's status: the reason of its ErrorInfo."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    found = [n.decode() for n in re.findall(rb"[A-Z][A-Z_]{3,}", details)]
    return next((n for n in found if n in NAMES), str(error.code()))


class Consumer:
    """Reads until it is closed, and remembers: (topic, partition, offset, value) as
    `read`, what the broker said of acknowledgements as `results`. Acknowledges and
    grants as it goes, unless `works` is cleared."""

    def __init__(self, cluster, group, topics, node=None, credit=1 << 20, token=b"",
                 on_records=None, **options):
        self.cluster, self.group, self.topics = cluster, group, topics
        self.node = node
        self.auto = options.get("ack_mode") == group_pb2.ConsumeOpen.ACK_MODE_AUTO
        self.read, self.results, self.assigned, self.revokes = [], [], [], []
        self.owned = set()          # (topic, partition)
        self.token, self.member_id, self.generation = token, "", -1
        self.moved = None
        self.error = None           # its name; "" when it ended well
        self.works = threading.Event()
        self.works.set()
        self.answers_revokes = True
        self.on_records = on_records
        self.charges = []           # of each push, bytes
        self.after_revoke = []      # records of what had been revoked
        self._requests = queue.Queue()
        self._lock = threading.Lock()
        self._closing = False
        options.setdefault("session_timeout_ms", 6000)
        options.setdefault("rebalance_timeout_ms", 20000)
        self.send(open=group_pb2.ConsumeOpen(
            group_id=group, topics=topics, resume_token=token, client_id="stub", **options),
            credit_bytes=credit)
        address = cluster.nodes[node].address if node else None
        self._channel = grpc.insecure_channel(address or cluster.any_broker())
        self._call = group_pb2_grpc.GroupServiceStub(self._channel).Consume(
            iter(self._requests.get, None))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, **message):
        self._requests.put(group_pb2.ConsumeRequest(**message))

    def grant(self, count):
        self.send(credit_bytes=count)

    def ack(self, *offsets):
        self.send(ack=group_pb2.ConsumeAck(offsets=[self._commit(*o) for o in offsets]))

    @staticmethod
    def _commit(topic, partition, offset):
        return group_pb2.OffsetCommit(
            topic=common_pb2.TopicRef(name=topic), partition=partition, offset=offset)

    def _run(self):
        try:
            for message in self._call:
                self._hear(message)
            self.error = ""
        except grpc.RpcError as error:
            self.error = error_name(error)
            self.status = error.code()

    def _hear(self, message):
        kind = message.WhichOneof("message")
        if kind == "assigned":
            a = message.assigned
            self.member_id, self.generation, self.token = (
                a.member_id, a.generation_id, a.resume_token)
            self.owned = {(p.topic.name, p.partition) for p in a.partitions}
            self.assigned.append(a)
        elif kind == "revoke":
            gone = {(p.topic.name, p.partition) for p in message.revoke.partitions}
            self.owned -= gone
            self.revokes.append(message.revoke)
            if self.answers_revokes:
                self.send(revoke_ack=group_pb2.ConsumeRevokeAck(
                    revoke_id=message.revoke.revoke_id))
        elif kind == "records":
            self._records(message.records)
        elif kind == "committed":
            for r in message.committed.results:
                self.results.append((r.topic.name, r.partition, r.offset,
                                     CODES.get(r.error.code, r.error.code)
                                     if r.error.code else ""))
        elif kind == "moved":
            self.moved = message.moved.endpoint

    def _records(self, records):
        with self._lock:
            # What was on its way at the half-close nobody can acknowledge any more:
            # it is another's.
            if not self._closing:
                self._process(records)

    def _process(self, records):
        key = (records.topic.name, records.partition)
        if key not in self.owned:
            self.after_revoke.append(key)
        for r in records.records.records:
            self.read.append((*key, r.offset, r.value))
        self.charges.append(records.charged_bytes)
        if not self.works.is_set():
            return
        if self.on_records is not None:
            self.on_records(self, records)
            return
        if not self.auto:
            self.ack((*key, records.next_offset))
        self.grant(records.charged_bytes)

    # ---- What a test does

    def committed(self):
        """The highest offset of each partition that the broker said is committed."""
        highest = {}
        for topic, partition, offset, error in list(self.results):
            if not error:
                key = (topic, partition)
                highest[key] = max(offset, highest.get(key, -1))
        return highest

    def values(self):
        return [value for _, _, _, value in list(self.read)]

    def close(self, seconds=60):
        """Half-closes: the member leaves. The name of the error, or ""."""
        with self._lock:
            self._closing = True
            self._requests.put(None)
        self._thread.join(PATIENCE * seconds)
        assert not self._thread.is_alive(), "the stream does not end"
        self._channel.close()
        return self.error

    def wait_ended(self, seconds=60):
        end = time.monotonic() + PATIENCE * seconds
        while self.error is None and time.monotonic() < end:
            time.sleep(0.02)
        assert self.error is not None, "the stream goes on"
        with contextlib.suppress(Exception):
            self._channel.close()
        return self.error

    def cut(self):
        """The connection breaks: no half-close."""
        self._call.cancel()
        self._thread.join(10)
        self._channel.close()
