#!/usr/bin/python3
"""One address is enough: watching the metadata, calls that are handed on to the
leader (ROUTE_FORWARD), reads of a follower nearby; from generated stubs."""
import contextlib
import threading

from record_batch import make_batch
from cluster import (Cluster, cluster_pb2, common_pb2, grpc, log_pb2, run, wait_until)

E = common_pb2
FORWARD = common_pb2.ROUTE_FORWARD


def ref(name):
    return common_pb2.TopicRef(name=name)


class Watch:
    """Keeps what a WatchMetadata tells, as the proto says a client should."""

    def __init__(self, stub, **fields):
        self.call = stub.WatchMetadata(cluster_pb2.WatchMetadataRequest(**fields))
        self.brokers, self.partitions, self.offset = {}, {}, -1
        self.images = self.messages = 0
        self.error = None
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            for message in self.call:
                with self.lock:
                    self._take(message)
        except grpc.RpcError as error:
            self.error = error

    def _take(self, message):
        self.messages += 1
        if message.kind == cluster_pb2.WatchMetadataResponse.KIND_IMAGE and message.first:
            self.images += 1
            self.brokers, self.partitions = {}, {}
        for broker in message.removed_broker_ids:
            self.brokers.pop(broker, None)
        for broker in message.brokers:
            self.brokers[broker.id] = broker
        for gone in message.removed_topics:
            self.partitions = {k: v for k, v in self.partitions.items() if k[0] != gone.name}
        for topic in message.topics:
            for partition in topic.partitions:
                self.partitions[topic.name, partition.partition] = partition
        if message.complete:
            self.offset = message.metadata_offset

    def see(self, condition, what, seconds=60):
        def seen():
            with self.lock:
                return condition(self)
        return wait_until(seen, seconds, "%s; it was told %d messages, error %s" % (
            what, self.messages, self.error))


def a_watch_sees_what_changes():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=2, replicas=3)
        cluster.wait_full_isr("t")
        at = cluster.nodes[1].address
        watch = Watch(cluster.cluster(at))
        watch.see(lambda w: sorted(w.brokers) == [1, 2, 3] and len(w.partitions) == 2, "an image")
        assert watch.images == 1
        cluster.create_topic("later", partitions=1)
        watch.see(lambda w: ("later", 0) in w.partitions, "a new topic")
        # A killed leader: another leader, a broker less.
        leader = cluster.leader("t")
        victim = leader if leader != 1 else cluster.leader("t", 1)
        if victim == 1:
            victim = 2
        cluster.kill(victim)
        watch.see(lambda w: victim not in w.brokers, "that broker %d is gone" % victim)
        watch.see(lambda w: all(p.leader_id not in (victim, -1) and victim not in p.isr
                                for p in w.partitions.values()), "new leaders")
        cluster.start(victim)
        watch.see(lambda w: victim in w.brokers, "that it is back")
        watch.see(lambda w: all(len(p.isr) == 3 for p in w.partitions.values()), "full ISRs")
        # It knows what GetMetadata tells of the same offset, or a newer one.
        told = cluster.cluster(at).GetMetadata(cluster_pb2.GetMetadataRequest(), timeout=60)
        watch.see(lambda w: w.offset >= told.metadata_offset or all(
            w.partitions[t.name, p.partition].partition_epoch >= p.partition_epoch
            for t in told.topics for p in t.partitions), "what GetMetadata tells")
        from cluster import topic_pb2
        cluster.topics(at).DeleteTopics(topic_pb2.DeleteTopicsRequest(topics=[ref("later")]), timeout=60)
        watch.see(lambda w: ("later", 0) not in w.partitions, "that a topic is gone")
        assert watch.images == 1 and watch.error is None, (watch.images, watch.error)

        one = Watch(cluster.cluster(at), topics=["t", "nowhere"])
        one.see(lambda w: len(w.partitions) == 2 and w.offset > 0, "two partitions alone")
        many = cluster.cluster(at).WatchMetadata(
            cluster_pb2.WatchMetadataRequest(topics=["x"] * 1001), timeout=60)
        try:
            next(many)
            raise AssertionError("1,001 topics")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        # A broker that stops says so.
        cluster.stop(1)
        watch.thread.join(30)
        assert not watch.thread.is_alive() and watch.error is not None
        assert "SHUTTING_DOWN" in str(watch.error) or \
            watch.error.code() == grpc.StatusCode.UNAVAILABLE, watch.error


def every_data_call_goes_through_one_address():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=3, replicas=3)
        cluster.wait_full_isr("t")
        leaders = {p.partition: p.leader_id for p in cluster.partitions("t")}
        assert len(set(leaders.values())) == 3, leaders
        log = cluster.log(cluster.nodes[1].address)
        away = next(p for p, leader in leaders.items() if leader != 1)

        def produce(partition, route, value=b"x"):
            part = log_pb2.ProducePartition(topic=ref("t"), partition=partition,
                                            batches=make_batch([value]))
            return log.Produce(log_pb2.ProduceRequest(partitions=[part], route=route),
                               timeout=60).results[0]
        direct = produce(away, common_pb2.ROUTE_DIRECT)
        assert direct.error.code == E.ERROR_CODE_NOT_LEADER, direct
        assert direct.leader.leader_id == leaders[away], direct
        for partition in leaders:
            stored = produce(partition, FORWARD, b"p%d" % partition)
            assert (stored.error.code, stored.base_offset) == (0, 0), stored
            assert stored.topic.name == "t" and stored.durability == "disk", stored

        # Records that the broker spreads over all leaders.
        part = log_pb2.ProducePartition(topic=ref("t"))
        for i in range(60):
            part.records.records.add(key=b"k%d" % i, value=b"v%d" % i)
        spread = log.Produce(log_pb2.ProduceRequest(partitions=[part], route=FORWARD), timeout=60)
        assert all(r.error.code == 0 for r in spread.results), spread
        assert sorted(i for r in spread.results for i in r.record_indexes) == list(range(60))
        assert len(spread.results) == 3

        # Unary reads.
        fetched = log.Fetch(log_pb2.FetchRequest(route=FORWARD, partitions=[
            log_pb2.FetchPartition(topic=ref("t"), partition=p, offset=0) for p in leaders]), timeout=60)
        values = [r.value for result in fetched.results for r in result.records.records]
        assert sorted(values) == sorted([b"p0", b"p1", b"p2"] + [b"v%d" % i for i in range(60)])
        ends = log.ListOffsets(log_pb2.ListOffsetsRequest(route=FORWARD, partitions=[
            log_pb2.ListOffsetsPartition(
                topic=ref("t"), partition=p, position=log_pb2.ListOffsetsPartition.POSITION_LATEST)
            for p in leaders]), timeout=60)
        assert sum(r.offset for r in ends.results) == 63, ends
        epochs = log.OffsetForLeaderEpoch(log_pb2.OffsetForLeaderEpochRequest(route=FORWARD, partitions=[
            log_pb2.OffsetForLeaderEpochPartition(
                topic=ref("t"), partition=p, leader_epoch=fetched.results[i].leader_epoch)
            for i, p in enumerate(leaders)]), timeout=60)
        assert [r.end.end_offset for r in epochs.results] == [r.offset for r in ends.results], epochs

        # A long poll is woken by whichever leader has something first.
        at = {p: r.offset for p, r in zip(leaders, ends.results)}
        poll = log.Fetch.future(log_pb2.FetchRequest(
            route=FORWARD, min_bytes=1, max_wait_ms=30000, partitions=[
                log_pb2.FetchPartition(topic=ref("t"), partition=p, offset=o)
                for p, o in at.items()]), timeout=60)
        produce(away, FORWARD, b"late")
        woken = poll.result()
        assert [r.value for x in woken.results for r in x.records.records] == [b"late"], woken

        # A stream: in order by partition, whoever leads it.
        def requests(count):
            for n in range(count):
                part = log_pb2.ProducePartition(topic=ref("t"), partition=n % 3)
                part.records.records.add(value=b"s%d" % n)
                yield log_pb2.ProduceStreamRequest(correlation_id=n, request=log_pb2.ProduceRequest(
                    partitions=[part], route=FORWARD))
        answers = list(log.ProduceStream(requests(300), timeout=60))
        assert all(a.complete and a.results[0].error.code == 0 for a in answers), answers[:3]
        for p in leaders:
            mine = [a for a in answers if a.correlation_id % 3 == p]
            assert [a.correlation_id for a in mine] == list(range(p, 300, 3))
            offsets = [a.results[0].base_offset for a in mine]
            assert offsets == list(range(offsets[0], offsets[0] + 100)), offsets

        # A subscription of all partitions through one broker.
        grants = threading.Semaphore(0)

        def subscribe():
            first = log_pb2.SubscribeRequest(credit_bytes=1 << 20, route=FORWARD)
            first.partitions.add(topic=ref("t"), partition=-1,
                                 position=log_pb2.SubscribePartition.START_EARLIEST)
            yield first
            grants.acquire()
        stream = log.Subscribe(subscribe(), timeout=60)
        seen = {p: [] for p in leaders}
        while sum(len(v) for v in seen.values()) < 364:
            push = next(stream)
            assert push.error.code == 0, push
            seen[push.partition] += [r.offset for r in push.records.records]
        assert all(v == list(range(len(v))) for v in seen.values()), {p: len(v) for p, v in seen.items()}
        grants.release()
        stream.cancel()

        trimmed = log.DeleteRecords(log_pb2.DeleteRecordsRequest(route=FORWARD, partitions=[
            log_pb2.DeleteRecordsPartition(topic=ref("t"), partition=away, before_offset=1)]),
            timeout=60).results[0]
        assert (trimmed.error.code, trimmed.log_start_offset) == (0, 1), trimmed
        try:
            produce(0, 9)
            raise AssertionError("route 9 was taken")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error


def a_forwarded_produce_survives_its_leader_and_says_what_is_unknown():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=3)
        cluster.wait_full_isr("t")
        leader = cluster.leader("t")
        through = next(n.id for n in cluster.brokers if n.id != leader)
        log = cluster.log(cluster.nodes[through].address)
        allowed = {0, E.ERROR_CODE_NOT_LEADER, E.ERROR_CODE_LEADER_NOT_AVAILABLE,
                   E.ERROR_CODE_REQUEST_TIMED_OUT, E.ERROR_CODE_NOT_ENOUGH_REPLICAS,
                   E.ERROR_CODE_NOT_ENOUGH_REPLICAS_AFTER_APPEND, E.ERROR_CODE_SHUTTING_DOWN,
                   E.ERROR_CODE_FENCED_LEADER_EPOCH, E.ERROR_CODE_UNKNOWN_LEADER_EPOCH}
        acked, codes = [], set()
        for n in range(60):
            def stored():
                part = log_pb2.ProducePartition(topic=ref("t"), partition=0)
                part.records.records.add(value=b"%d" % n)
                with contextlib.suppress(grpc.RpcError):
                    result = log.Produce(log_pb2.ProduceRequest(
                        partitions=[part], timeout_ms=2000, route=FORWARD), timeout=60).results[0]
                    assert result.error.code in allowed, result
                    codes.add(result.error.code)
                    return result.error.code == 0
            if n == 20:
                # It hangs first: nobody can know of what it is sent now.
                cluster.hang(leader)
                assert not stored() and E.ERROR_CODE_REQUEST_TIMED_OUT in codes, codes
                cluster.kill(leader)
            wait_until(stored, 60, "record %d to be stored through broker %d" % (n, through))
            acked.append(b"%d" % n)
        values = [v for _, _, v in cluster.read_all("t", 0)]
        assert [v for i, v in enumerate(values) if v not in values[:i]] == acked


def readers_with_a_rack_read_a_follower_there():
    racks = {1: "a", 2: "b", 3: "c"}
    with Cluster(brokers=3, controllers=1, racks=racks) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=1, replicas=3)
        cluster.wait_full_isr("t")
        for n in range(10):
            cluster.produce("t", 0, [b"%d" % n])
        leader = cluster.leader("t")
        near = next(n.id for n in cluster.brokers if n.id != leader)

        def fetch(node, offset, rack="", epoch=None, wait_ms=0):
            part = log_pb2.FetchPartition(topic=ref("t"), offset=offset)
            if epoch is not None:
                part.leader_epoch = epoch
            return cluster.log(cluster.nodes[node].address).Fetch(log_pb2.FetchRequest(
                partitions=[part], rack=rack, max_wait_ms=wait_ms, min_bytes=1), timeout=60).results[0]

        named = fetch(leader, 0, racks[near])
        assert named.preferred_replica == near and not named.records.records, named
        assert named.preferred_replica_endpoint.port == cluster.nodes[near].port, named
        own = fetch(leader, 0, racks[leader])
        assert own.preferred_replica == 0 and len(own.records.records) == 10, own
        assert fetch(near, 0).error.code == E.ERROR_CODE_NOT_LEADER

        def all_there():
            read = fetch(near, 0, racks[near])
            return read if len(read.records.records) == 10 else None
        read = wait_until(all_there, 60, "all records at the follower")
        assert (read.high_watermark, read.log_start_offset) == (10, -1), read
        ahead = fetch(near, 11, racks[near])
        assert ahead.error.code == E.ERROR_CODE_OFFSET_NOT_AVAILABLE, ahead
        below = fetch(near, -1, racks[near])
        assert below.error.code == E.ERROR_CODE_OFFSET_NOT_AVAILABLE, below
        stale = fetch(near, 0, racks[near], epoch=read.leader_epoch - 1)
        assert stale.error.code == E.ERROR_CODE_FENCED_LEADER_EPOCH, stale
        # A long poll at the follower.
        waiting = cluster.log(cluster.nodes[near].address).Fetch.future(log_pb2.FetchRequest(
            partitions=[log_pb2.FetchPartition(topic=ref("t"), offset=10)], rack=racks[near],
            max_wait_ms=30000, min_bytes=1), timeout=60)
        cluster.produce("t", 0, [b"10"])
        assert [r.value for r in waiting.result().results[0].records.records] == [b"10"]

        # A subscription is sent there, and pushed to from there.
        def subscribed(node, offset):
            part = log_pb2.SubscribePartition(topic=ref("t"), offset=offset)
            read = threading.Event()

            def asked():
                yield log_pb2.SubscribeRequest(
                    partitions=[part], rack=racks[near], credit_bytes=1 << 20)
                read.wait(120)  # a half-close would end the subscription
            call = cluster.log(cluster.nodes[node].address).Subscribe(asked(), timeout=60)
            told = next(call)
            read.set()
            call.cancel()
            return told
        sent = subscribed(leader, 4)
        assert sent.preferred_replica == near and not sent.error.code and not sent.records.records, sent
        assert sent.preferred_replica_endpoint.port == cluster.nodes[near].port, sent
        assert sent.next_offset == 4, sent
        pushed = subscribed(near, sent.next_offset)
        assert pushed.preferred_replica == 0 and pushed.records.records[0].value == b"4", pushed

        # The client library, by the CLI; and after the follower's end.
        def consume():
            done = cluster.cli("consume", "t", "--from", "earliest", "--exit-at-end",
                               "--rack", racks[near], timeout=60)
            return done.stdout.split()
        expected = [b"%d" % n for n in range(11)]
        assert consume() == expected
        cluster.kill(near)
        assert consume() == expected


if __name__ == "__main__":
    run([a_watch_sees_what_changes, every_data_call_goes_through_one_address,
         a_forwarded_produce_survives_its_leader_and_says_what_is_unknown,
         readers_with_a_rack_read_a_follower_there])
