#!/usr/bin/python3
"""Memory is bounded by name: a thousand subscribers that never read, beside one
that does; produce and fetch beyond their budgets."""
import os
import threading

from record_batch import make_batch
from cluster import Cluster, common_pb2, grpc, log_pb2, run, wait_until

E = common_pb2
MIB = 1 << 20


def ref(name):
    return common_pb2.TopicRef(name=name)


def resident(node):
    with open("/proc/%d/statm" % node.process.pid) as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def budgets(cluster):
    told = cluster.describe()
    return {b.name: b for b in told.memory_budgets}, told.resident_bytes


def fill(cluster, topic, mebibytes):
    payload = make_batch([b"v" * 100] * 5000)  # about half a MiB
    log = cluster.log(cluster.nodes[1].address)
    for _ in range(2 * mebibytes):
        part = log_pb2.ProducePartition(topic=ref(topic), partition=0, batches=payload)
        result = log.Produce(log_pb2.ProduceRequest(partitions=[part]), timeout=60).results[0]
        assert result.error.code == 0, result


class Stalled:
    """Streams with much credit that never read: gRPC's windows fill, then the
    broker's memory."""

    def __init__(self, address, count, form):
        self.channels, self.calls, self.stop = [], [], threading.Event()
        for i in range(count):
            if i % 100 == 0:  # connections take 128 streams each
                # Windows as they begin: gRPC would widen them, and take a
                # thousand times a megabyte that nobody reads.
                self.channels.append(grpc.insecure_channel(address, options=[
                    ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.http2.bdp_probe", 0)]))
            call = self.channels[-1].stream_stream(
                "/sluice.v1.LogService/Subscribe",
                request_serializer=log_pb2.SubscribeRequest.SerializeToString)
            self.calls.append(call(self.requests(form)))

    def requests(self, form):
        first = log_pb2.SubscribeRequest(credit_bytes=64 * MIB, form=form)
        first.partitions.add(topic=ref("t"), partition=0,
                             position=log_pb2.SubscribePartition.START_EARLIEST)
        yield first
        self.stop.wait()

    def close(self):
        self.stop.set()
        for call in self.calls:
            call.cancel()
        for channel in self.channels:
            channel.close()


def a_thousand_stalled_subscribers_stay_under_the_budget():
    with Cluster(brokers=1) as cluster:
        node = cluster.nodes[1]
        node.extra = ["--subscribe_memory_bytes=%d" % (64 * MIB)]
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=1, durability="memory")
        fill(cluster, "t", 16)
        idle = resident(node)
        for form, name in ((common_pb2.PAYLOAD_FORM_RECORDS, "records"),
                           (common_pb2.PAYLOAD_FORM_BATCHES, "batches")):
            stalled = Stalled(node.address, 1000, form)
            try:
                def full():
                    told, _ = budgets(cluster)
                    return told["subscribe"].used_bytes > 32 * MIB
                wait_until(full, 300, "subscriptions that hold more than half")
                peak = used_most = 0

                def reads():
                    """One that reads gets all, though the others do not."""
                    done = cluster.cli("consume", "t", "--from", "earliest", "-n", "50000",
                                       "--exit-at-end", "--format", "%o\\n", timeout=300)
                    return len(done.stdout.split())
                assert reads() == 50000
                log = cluster.log(node.address)
                first = log_pb2.SubscribeRequest(credit_bytes=64 * MIB, form=form)
                first.partitions.add(topic=ref("t"), partition=0,
                                     position=log_pb2.SubscribePartition.START_EARLIEST)
                over = threading.Event()

                def asked():
                    yield first
                    over.wait()
                reader = log.Subscribe(asked(), timeout=300)
                offset = 0
                for push in reader:
                    assert push.error.code == 0, push
                    offset = push.next_offset
                    told, told_resident = budgets(cluster)
                    used_most = max(used_most, told["subscribe"].used_bytes)
                    peak = max(peak, resident(node), told_resident)
                    if offset >= 60000:
                        break
                over.set()
                reader.cancel()
                assert offset >= 60000, offset
                limit = told["subscribe"].max_bytes
                assert limit == 64 * MIB
                # One batch comes whole: a stream may pass the bound by one.
                assert used_most <= limit + MIB, (used_most, limit)
                print("  1,000 stalled subscribers, %s: used %d MiB of %d MiB, resident %d MiB, "
                      "%d MiB before" % (name, used_most >> 20, limit >> 20, peak >> 20, idle >> 20))
                assert peak - idle < 3 * limit, (peak, idle)
                ended = sum(1 for call in stalled.calls if call.done())
                print("  %d of them were ended to make room" % ended)
                for call in stalled.calls:
                    if call.done():
                        # Its status is behind what it does not read, or comes.
                        if call.code() != grpc.StatusCode.CANCELLED:
                            assert call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, call
                            assert "has not read" in call.details(), call
            finally:
                stalled.close()

            def released():
                told, _ = budgets(cluster)
                return told["subscribe"].used_bytes == 0
            wait_until(released, 120, "memory that is given back")


def produce_beyond_its_budget_is_busy_by_name():
    with Cluster(brokers=1) as cluster:
        node = cluster.nodes[1]
        node.extra = ["--produce_memory_bytes=%d" % (32 * MIB)]
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=8, replicas=1, max_message_bytes=4 * MIB)
        log = cluster.log(node.address)
        payload = make_batch([b"x" * (1 << 20)] * 3)

        def offer():
            calls = []
            for i in range(40):  # 120 MiB at once
                part = log_pb2.ProducePartition(topic=ref("t"), partition=i % 8, batches=payload)
                calls.append(log.Produce.future(
                    log_pb2.ProduceRequest(partitions=[part]), timeout=60))
            codes = {}
            for call in calls:
                error = call.result().results[0].error
                codes[error.code] = codes.get(error.code, 0) + 1
                if error.code == E.ERROR_CODE_BUSY:
                    assert error.retry_after_ms > 0 and "limit" in error.message, error
            assert set(codes) <= {0, E.ERROR_CODE_BUSY}, codes
            return codes.get(E.ERROR_CODE_BUSY)
        busy = wait_until(offer, 60, "a produce beyond the budget")
        told, _ = budgets(cluster)
        assert told["produce"].refused >= busy, told
        assert told["produce"].used_bytes == 0, told
        text = cluster.cli("cluster", "info").stdout.decode()
        assert "--produce_memory_bytes" in text and "resident" in text, text


def fetch_beyond_its_budget_is_busy_by_name():
    """120 fetches of 8 MiB at once, where 32 MiB may be held: what is answered is
    whole, the others are told to come back, and nothing stays held."""
    with Cluster(brokers=1) as cluster:
        node = cluster.nodes[1]
        node.extra = ["--fetch_memory_bytes=%d" % (32 * MIB)]
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=1, durability="memory")
        fill(cluster, "t", 16)
        log = cluster.log(node.address)
        part = log_pb2.FetchPartition(topic=ref("t"), partition=0, max_bytes=8 * MIB)
        request = log_pb2.FetchRequest(
            max_bytes=8 * MIB, form=common_pb2.PAYLOAD_FORM_BATCHES, partitions=[part])
        used_most = 0

        def asked():
            nonlocal used_most
            calls = [log.Fetch.future(request, timeout=120) for _ in range(120)]
            busy = read = 0
            while not all(call.done() for call in calls):
                held = budgets(cluster)[0]["fetch"]
                used_most = max(used_most, held.used_bytes)
            for call in calls:
                if call.code() == grpc.StatusCode.OK:
                    result = call.result().results[0]
                    assert result.error.code == 0 and len(result.batches) > 7 * MIB, result.error
                    read += 1
                    continue
                assert call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, call
                details = dict(call.trailing_metadata())["grpc-status-details-bin"]
                assert b"BUSY" in details and b"google.rpc.RetryInfo" in details, call
                busy += 1
            return (busy, read) if busy and read else None
        busy, read = wait_until(asked, 60, "fetches beyond the budget")

        def given_back():
            told = budgets(cluster)[0]["fetch"]
            return told if told.used_bytes == 0 else None
        told = wait_until(given_back, 60, "memory that is given back")
        assert told.max_bytes == 32 * MIB and told.refused >= busy, told
        assert used_most <= told.max_bytes, (used_most, told)
        print("  %d fetches were answered, %d were told to come back; used at most %d MiB" % (
            read, busy, used_most >> 20))
        assert log.Fetch(request, timeout=60).results[0].error.code == 0


if __name__ == "__main__":
    run([a_thousand_stalled_subscribers_stay_under_the_budget,
         produce_beyond_its_budget_is_busy_by_name,
         fetch_beyond_its_budget_is_busy_by_name])
