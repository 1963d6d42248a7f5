#!/usr/bin/python3
"""Partitions that are added while a topic is in use, and offsets by timestamp,
on real processes and from generated stubs."""
from record_batch import NOW_MS, make_batch
from cluster import Cluster, common_pb2, grpc, log_pb2, run, topic_pb2, wait_until

E = common_pb2
AT = log_pb2.ListOffsetsPartition.POSITION_TIMESTAMP
NEWEST = log_pb2.ListOffsetsPartition.POSITION_MAX_TIMESTAMP


def ref(name):
    return common_pb2.TopicRef(name=name)


def grow(cluster, total, name="t", assignments=(), address=None, **fields):
    answer = cluster.topics(address).CreatePartitions(topic_pb2.CreatePartitionsRequest(
        topics=[topic_pb2.NewPartitions(
            topic=ref(name), total_count=total, assignments=[
                topic_pb2.ReplicaAssignment(broker_ids=ids) for ids in assignments])],
        **fields), timeout=60)
    assert len(answer.results) == 1 and answer.results[0].topic.name == name, answer
    return answer.results[0]


def partitions_are_added_to_a_topic_in_use():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=2, replicas=3, min_insync_replicas=2)
        cluster.produce("t", 0, [b"old"])

        for total in (2, 1, 0, -1, 10001, -(1 << 31)):
            refused = grow(cluster, total)
            assert refused.error.code == E.ERROR_CODE_INVALID_PARTITIONS, (total, refused)
            assert refused.error.message and refused.partition_count == 2, refused
        assert grow(cluster, 3, "nope").error.code == E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION
        for bad in ([[1, 2]], [[1, 1, 2]], [[1, 2, 9]], [[]], [[1, 2, 3], [1, 2, 3]]):
            refused = grow(cluster, 3, assignments=bad)
            assert refused.error.code == E.ERROR_CODE_INVALID_REPLICA_ASSIGNMENT, (bad, refused)
        for request in (topic_pb2.CreatePartitionsRequest(),
                        topic_pb2.CreatePartitionsRequest(
                            timeout_ms=-1, topics=[topic_pb2.NewPartitions(topic=ref("t"))]),
                        topic_pb2.CreatePartitionsRequest(
                            topics=[topic_pb2.NewPartitions()] * 1001)):
            try:
                cluster.topics().CreatePartitions(request, timeout=60)
                raise AssertionError("taken: %s" % request)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        dry = grow(cluster, 6, validate_only=True)
        assert (dry.error.code, dry.partition_count) == (0, 6), dry
        assert len(cluster.partitions("t")) == 2

        # Through each node in turn; known to that node at once.
        for total, node in zip((3, 4, 6), cluster.brokers):
            grown = grow(cluster, total, address=node.address)
            assert (grown.error.code, grown.partition_count) == (0, total), grown
            described = cluster.topics(node.address).DescribeTopics(
                topic_pb2.DescribeTopicsRequest(topics=[ref("t")]), timeout=60)
            assert len(described.topics[0].metadata.partitions) == total, described
        cluster.wait_full_isr("t")
        leaders = [p.leader_id for p in cluster.partitions("t")]
        assert sorted(leaders) == [1, 1, 2, 2, 3, 3], leaders
        for partition in range(6):
            cluster.produce("t", partition, [b"p%d" % partition])
        assert [v for _, _, v in cluster.read_all("t", 0)] == [b"old", b"p0"]
        assert [v for _, _, v in cluster.read_all("t", 5)] == [b"p5"]

        # They outlive everybody.
        cluster.kill(*[n.id for n in cluster.nodes.values()])
        cluster.start().wait_healthy()
        assert [v for _, _, v in cluster.read_all("t", 5)] == [b"p5"]


def offsets_by_timestamp():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("t", partitions=2, replicas=3, min_insync_replicas=2)
        cluster.wait_full_isr("t")
        leader = cluster.leader("t")
        log = cluster.log(cluster.nodes[leader].address)
        other = cluster.log([n for n in cluster.brokers if n.id != leader][0].address)

        def look(position, at=0, log=log, route=common_pb2.ROUTE_DIRECT, name="t", partition=0,
                 **fields):
            return log.ListOffsets(log_pb2.ListOffsetsRequest(route=route, partitions=[
                log_pb2.ListOffsetsPartition(topic=ref(name), partition=partition,
                                             position=position, timestamp_ms=at, **fields)]),
                timeout=60).results[0]
        wait_until(lambda: look(NEWEST).error.code == 0, 60, "a leader that has begun")
        empty = look(NEWEST)
        assert (empty.offset, empty.timestamp_ms) == (-1, -1), empty
        assert look(AT, NOW_MS).offset == -1

        for later in (0, 2000, 1000):
            stored = log.Produce(log_pb2.ProduceRequest(acks=-1, partitions=[
                log_pb2.ProducePartition(topic=ref("t"), partition=0, batches=make_batch(
                    [b"a", b"b"], timestamp_ms=NOW_MS + later))]), timeout=60).results[0]
            assert stored.error.code == 0, stored
        for at, offset, found_at in ((0, 0, NOW_MS), (NOW_MS, 0, NOW_MS),
                                     (NOW_MS + 1, 2, NOW_MS + 2000),
                                     (NOW_MS + 2001, -1, -1), ((1 << 63) - 1, -1, -1)):
            for route, where in ((common_pb2.ROUTE_DIRECT, log), (common_pb2.ROUTE_FORWARD, other)):
                found = look(AT, at, where, route)
                assert (found.error.code, found.offset, found.timestamp_ms) == (
                    0, offset, found_at), (at, found)
                assert found.high_watermark == 6, found
                assert found.leader_epoch == (-1 if offset < 0 else 0), found
        newest = look(NEWEST)
        assert (newest.offset, newest.timestamp_ms) == (2, NOW_MS + 2000), newest

        assert look(AT, -1).error.code == E.ERROR_CODE_INVALID_REQUEST
        assert look(AT, -(1 << 63)).error.code == E.ERROR_CODE_INVALID_REQUEST
        assert look(AT, 0, name="nope").error.code == E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION
        assert look(AT, 0, partition=9).error.code == E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION
        assert look(AT, 0, other).error.code == E.ERROR_CODE_NOT_LEADER
        assert look(AT, 0, leader_epoch=99).error.code == E.ERROR_CODE_UNKNOWN_LEADER_EPOCH
        for beside in (log_pb2.ListOffsetsPartition.POSITION_EARLIEST,
                       log_pb2.ListOffsetsPartition.POSITION_LATEST, NEWEST):
            refused = look(beside, NOW_MS)
            assert refused.error.code == E.ERROR_CODE_INVALID_REQUEST, refused
            assert "takes none" in refused.error.message, refused
        for unknown in (0, 99):
            assert look(unknown, NOW_MS).error.code == E.ERROR_CODE_INVALID_REQUEST


if __name__ == "__main__":
    run([partitions_are_added_to_a_topic_in_use, offsets_by_timestamp])
