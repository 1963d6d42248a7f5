#!/usr/bin/python3
"""What members and operators of groups are refused, by Kafka's names and numbers
(the group rows of correctness.md 5.3), and the topic behind it: who makes it, how
it follows the cluster, what a commit costs, and the lags that metrics tell."""
import json
import os
import threading
import urllib.request

from cluster import (Cluster, common_pb2, group_pb2 as g, grpc, run, topic_pb2,
                     wait_until)

E = common_pb2
AGAIN = {E.ERROR_CODE_NOT_COORDINATOR, E.ERROR_CODE_COORDINATOR_NOT_AVAILABLE,
         E.ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS}
FAST = {"group.initial.rebalance.delay.ms": "0"}

# Kafka's own, from its Errors: a client that knows Kafka knows these.
KAFKA = {
    "OFFSET_OUT_OF_RANGE": 1, "UNKNOWN_TOPIC_OR_PARTITION": 3, "OFFSET_METADATA_TOO_LARGE": 12,
    "COORDINATOR_LOAD_IN_PROGRESS": 14, "COORDINATOR_NOT_AVAILABLE": 15, "NOT_COORDINATOR": 16,
    "INVALID_TOPIC": 17, "ILLEGAL_GENERATION": 22, "INCONSISTENT_GROUP_PROTOCOL": 23,
    "INVALID_GROUP_ID": 24, "UNKNOWN_MEMBER_ID": 25, "INVALID_SESSION_TIMEOUT": 26,
    "REBALANCE_IN_PROGRESS": 27, "INVALID_REQUEST": 42,
    "NON_EMPTY_GROUP": 68, "GROUP_ID_NOT_FOUND": 69, "MEMBER_ID_REQUIRED": 79,
    "GROUP_MAX_SIZE_REACHED": 81, "FENCED_INSTANCE_ID": 82, "GROUP_SUBSCRIBED_TO_TOPIC": 86,
}


def name_of(error):
    return E.ErrorCode.Name(error.code)[len("ERROR_CODE_"):] if error.code else ""


def settled(ask, error_of=lambda answer: answer.error):
    """Until the answer is not "ask again": the coordinator has just been made."""
    def answered():
        answer = ask()
        return answer if error_of(answer).code not in AGAIN else None
    return wait_until(answered, 60, "an answer")


class Group:
    """Requests to one broker about one group."""

    def __init__(self, cluster, name="g", address=None):
        self.cluster, self.name = cluster, name
        self.stub = cluster.groups(address)

    def join(self, member_id="", **fields):
        request = g.JoinGroupRequest(**{**dict(
            # Nobody's session is to end here, however long a test takes.
            group_id=self.name, member_id=member_id, session_timeout_ms=600000,
            rebalance_timeout_ms=600000, protocol_type="consumer",
            protocols=[g.GroupProtocol(name="range", metadata=b"any")]), **fields})
        return settled(lambda: self.stub.JoinGroup(request, timeout=60))

    def member(self, **fields):
        """Joins alone and syncs."""
        joined = self.join(member_id_required=False, **fields)
        assert not joined.error.code, joined
        synced = self.sync(joined.member_id, joined.generation_id, assignments=[
            g.GroupAssignment(member_id=joined.member_id, assignment=b"all")])
        assert not synced.error.code, synced
        return joined.member_id, joined.generation_id

    def sync(self, member_id, generation, **fields):
        return self.stub.SyncGroup(g.SyncGroupRequest(
            group_id=self.name, member_id=member_id, generation_id=generation, **fields),
            timeout=60)

    def heartbeat(self, member_id, generation, **fields):
        return name_of(self.stub.Heartbeat(g.HeartbeatRequest(
            group_id=self.name, member_id=member_id, generation_id=generation, **fields),
            timeout=60).error)

    def leave(self, *members):
        return self.stub.LeaveGroup(
            g.LeaveGroupRequest(group_id=self.name, members=members), timeout=60)

    def commit(self, *offsets, **fields):
        request = g.CommitOffsetsRequest(group_id=self.name, offsets=offsets, **fields)
        answer = settled(lambda: self.stub.CommitOffsets(request, timeout=60),
                         lambda a: a.results[0].error)
        return [name_of(r.error) for r in answer.results]

    def fetch(self, *topics, **fields):
        query = g.GroupOffsetsQuery(group_id=self.name, topics=topics, **fields)
        return settled(lambda: self.stub.FetchOffsets(
            g.FetchOffsetsRequest(groups=[query]), timeout=60).groups[0])

    def committed(self):
        return {o.partition: o.offset for o in self.fetch().offsets}


def put(partition=0, offset=7, topic="orders", **fields):
    return g.OffsetCommit(topic=E.TopicRef(name=topic), partition=partition, offset=offset,
                          **fields)


def of(topic, *partitions):
    return topic_pb2.TopicPartitions(topic=E.TopicRef(name=topic), partitions=partitions)


def the_numbers_are_kafkas():
    for name, number in KAFKA.items():
        assert E.ErrorCode.Value("ERROR_CODE_" + name) == number, name


def members_that_are_replaced_late_or_too_many_are_told():
    with Cluster(brokers=1, settings={**FAST, "group.max.size": "2"}) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=4, replicas=1)

        # A new member without an id is given one, and comes again with it.
        group = Group(cluster, "fresh")
        first = group.join()
        assert name_of(first.error) == "MEMBER_ID_REQUIRED" and first.member_id, first
        assert group.join(first.member_id).generation_id == 1

        # A second process with the instance id of the first: the first is out, whatever
        # it asks.
        group = Group(cluster, "static")
        old, generation = group.member(group_instance_id="i")
        assert group.commit(put(0, 5), member_id=old, generation_id=generation,
                            group_instance_id="i") == [""]
        new = group.join(group_instance_id="i")
        assert not new.error.code and new.member_id != old, new
        who = dict(group_instance_id="i")
        assert group.heartbeat(old, new.generation_id, **who) == "FENCED_INSTANCE_ID"
        assert name_of(group.sync(old, new.generation_id, **who).error) == "FENCED_INSTANCE_ID"
        assert name_of(group.join(old, **who).error) == "FENCED_INSTANCE_ID"
        assert group.commit(put(0, 1), member_id=old, generation_id=new.generation_id,
                            **who) == ["FENCED_INSTANCE_ID"]
        left = group.leave(g.LeavingMember(member_id=old, group_instance_id="i"))
        assert name_of(left.members[0].error) == "FENCED_INSTANCE_ID", left
        assert group.committed() == {0: 5}
        assert name_of(group.join("stranger").error) == "UNKNOWN_MEMBER_ID"

        # While a generation is made: a heartbeat says so, a commit of the old one is taken
        # (its member may be about to give partitions back), and after it is refused.
        group = Group(cluster, "moving")
        one, generation = group.member()
        joined = []
        other = threading.Thread(target=lambda: joined.append(
            group.join(member_id_required=False)))
        other.start()
        wait_until(lambda: group.heartbeat(one, generation) == "REBALANCE_IN_PROGRESS", 60,
                   "a rebalance")
        assert group.commit(put(1, 11), member_id=one, generation_id=generation) == [""]
        again = group.join(one)
        other.join()
        assert again.generation_id == joined[0].generation_id == generation + 1
        # Nobody has said who reads what: what is committed now may be another's.
        assert group.commit(put(1, 12), member_id=one, generation_id=generation + 1) == [
            "REBALANCE_IN_PROGRESS"]
        assert group.commit(put(1, 12), member_id=one, generation_id=generation) == [
            "ILLEGAL_GENERATION"]
        assert group.committed() == {1: 11}

        # The third of two.
        third = group.join(member_id_required=False)
        assert name_of(third.error) == "GROUP_MAX_SIZE_REACHED", third
        assert group.heartbeat(one, generation + 1) == ""

        # What only the operator is refused.
        topics = [of("orders"), of("nothing", 0)]
        deleted = group.stub.DeleteOffsets(g.DeleteOffsetsRequest(
            group_id="moving", topics=topics), timeout=60)
        assert [name_of(r.error) for r in deleted.results] == [
            "GROUP_SUBSCRIBED_TO_TOPIC", "UNKNOWN_TOPIC_OR_PARTITION"], deleted
        assert group.committed() == {1: 11}
        none = group.stub.DeleteOffsets(g.DeleteOffsetsRequest(
            group_id="none", topics=topics), timeout=60)
        assert name_of(none.error) == "GROUP_ID_NOT_FOUND", none
        described = group.stub.DescribeGroups(
            g.DescribeGroupsRequest(group_ids=["none", "", "x" * 250]), timeout=60)
        assert [name_of(x.error) for x in described.groups] == [
            "GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID", "INVALID_GROUP_ID"], described
        found = group.stub.FindCoordinator(
            g.FindCoordinatorRequest(keys=["", "x" * 250]), timeout=60)
        assert [name_of(r.error) for r in found.results] == ["INVALID_GROUP_ID"] * 2, found


def every_bad_commit_and_fetch_is_named_by_partition():
    with Cluster(brokers=1, settings=FAST) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=7, replicas=1)
        assert cluster.produce("orders", 3, [b"a", b"b"]).base_offset == 0
        group = Group(cluster)
        member, generation = group.member()
        claim = dict(member_id=member, generation_id=generation)
        rows = [
            (put(0, -1), "INVALID_COMMIT_OFFSET"),
            (put(6, -2**63), "INVALID_COMMIT_OFFSET"),
            (put(0, 1, topic="nothing"), "UNKNOWN_TOPIC_OR_PARTITION"),
            (put(0, 1, topic=""), "INVALID_REQUEST"),  # neither name nor id
            (put(7, 1), "UNKNOWN_TOPIC_OR_PARTITION"),
            (put(-1, 1), "UNKNOWN_TOPIC_OR_PARTITION"),
            (put(2**31 - 1, 1), "UNKNOWN_TOPIC_OR_PARTITION"),
            (put(1, 1, metadata="m" * 5120), "OFFSET_METADATA_TOO_LARGE"),
            (put(2, 1, metadata="m" * 4096), ""),
            (put(3, 1000), ""),  # beyond the end of its log: as Kafka
            (put(4, 2**63 - 1), ""),
            (put(5, 0, leader_epoch=99), ""),  # stored, not judged
        ]
        answered = group.commit(*[row for row, _ in rows], **claim)
        assert answered == [name for _, name in rows], answered
        assert group.committed() == {2: 1, 3: 1000, 4: 2**63 - 1, 5: 0}
        # Twice in one call: nothing of it.
        assert set(group.commit(put(0, 1), put(1, 1), put(0, 2), **claim)) == {"INVALID_REQUEST"}
        for bad, name in ((dict(member_id="stranger"), "UNKNOWN_MEMBER_ID"),
                          (dict(generation_id=generation + 1), "ILLEGAL_GENERATION"),
                          (dict(generation_id=-5, member_id=""), "UNKNOWN_MEMBER_ID"),
                          (dict(group_instance_id="i"), "UNKNOWN_MEMBER_ID")):
            assert group.commit(put(0, 1), **{**claim, **bad}) == [name], bad
        try:
            group.commit(*[put(0, 1)] * 10001, **claim)
            raise AssertionError("10,001 offsets were taken")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        assert group.committed() == {2: 1, 3: 1000, 4: 2**63 - 1, 5: 0}

        read = group.fetch(of("orders", 3, 7, -1, 0), of("nothing", 0))
        assert [(o.offset, name_of(o.error)) for o in read.offsets] == [
            (1000, ""), (-1, "UNKNOWN_TOPIC_OR_PARTITION"), (-1, "UNKNOWN_TOPIC_OR_PARTITION"),
            (-1, ""), (-1, "UNKNOWN_TOPIC_OR_PARTITION")], read
        assert name_of(group.fetch(member_id="stranger").error) == "UNKNOWN_MEMBER_ID"
        assert name_of(group.fetch(member_id=member, generation_id=generation + 1).error) == (
            "ILLEGAL_GENERATION")

        # describe says what lies beyond the end.
        shown = cluster.cli("group", "describe", "g")
        (line,) = [x for x in shown.stdout.decode().splitlines() if x.startswith("orders  3 ")]
        assert line.split()[2:5] == ["1000", "2", "-998"], line
        assert "orders-3: 1000 is committed, 998 beyond the end" in shown.stderr.decode(), shown

        # Bytes that are no message, on every call; and one that is too large.
        channel = cluster.channel(cluster.any_broker())
        for method in g.DESCRIPTOR.services_by_name["GroupService"].methods:
            if method.name == "Consume":
                continue
            raw = channel.unary_unary("/sluice.v1.GroupService/" + method.name)
            try:
                raw(b"\xff\xff\xff no message", timeout=60)
                raise AssertionError(method.name + " took garbage")
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.INTERNAL,
                                        grpc.StatusCode.INVALID_ARGUMENT), (method.name, error)
        try:
            group.stub.JoinGroup(g.JoinGroupRequest(
                group_id="g", protocols=[g.GroupProtocol(name="p", metadata=b"x" * (18 << 20))]),
                timeout=60)
            raise AssertionError("18 MiB were taken")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        assert group.heartbeat(member, generation) == ""


def topic_names(cluster):
    listed = cluster.topics().ListTopics(
        topic_pb2.ListTopicsRequest(include_internal=True), timeout=60)
    return {t.name for t in listed.topics}


def a_question_makes_no_topic():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        group = Group(cluster)
        stub = group.stub

        def error_of(answer):
            return name_of(answer.error)
        assert error_of(stub.DescribeGroups(g.DescribeGroupsRequest(
            group_ids=["g"]), timeout=60).groups[0]) == "GROUP_ID_NOT_FOUND"
        assert error_of(stub.DeleteGroups(g.DeleteGroupsRequest(
            group_ids=["g"]), timeout=60).results[0]) == "GROUP_ID_NOT_FOUND"
        assert error_of(stub.DeleteOffsets(g.DeleteOffsetsRequest(
            group_id="g", topics=[of("t")]), timeout=60)) == "GROUP_ID_NOT_FOUND"
        # "None" could be wrong: a broker that does not know of the topic yet would say it.
        assert error_of(stub.FetchOffsets(g.FetchOffsetsRequest(
            groups=[g.GroupOffsetsQuery(group_id="g")]), timeout=60).groups[0]) == (
                "COORDINATOR_NOT_AVAILABLE")
        assert group.heartbeat("m", 1) == "COORDINATOR_NOT_AVAILABLE"
        assert not stub.ListGroups(g.ListGroupsRequest(), timeout=60).groups
        assert error_of(stub.JoinGroup(g.JoinGroupRequest(), timeout=60)) == "INVALID_GROUP_ID"
        try:
            stub.FindCoordinator(g.FindCoordinatorRequest(), timeout=60)
            raise AssertionError("no key was found")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        for args in (["describe", "typo"], ["delete", "typo", "--yes"],
                     ["delete-offsets", "typo", "t", "--yes"]):
            done = cluster.cli("group", *args, check=False)
            assert done.returncode == 4 and b"GROUP_ID_NOT_FOUND" in done.stderr, done
        assert topic_names(cluster) == set()
        settled(lambda: stub.FindCoordinator(g.FindCoordinatorRequest(keys=["g"]), timeout=60),
                lambda a: a.results[0].error)
        assert topic_names(cluster) == {"__consumer_offsets"}


def offsets_partitions(cluster):
    return cluster.partitions("__consumer_offsets")


def metrics_of(node):
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % node.metrics_port,
                                timeout=60) as page:
        lines = page.read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def lag_metrics(cluster, kind):
    found = {}
    for node in cluster.brokers:
        if node.alive:
            found.update({k: float(v) for k, v in metrics_of(node).items()
                          if k.startswith("sluice_group_%s{" % kind)})
    return found


def the_offsets_topic_follows_the_cluster():
    """One broker, then three: replicas are added, and enter by the ISR rules."""
    with Cluster(brokers=3, controllers=1, settings=FAST) as cluster:
        cluster.start(1, 101).wait_healthy()
        cluster.create_topic("orders", partitions=100, replicas=1)
        group = Group(cluster, address=cluster.nodes[1].address)
        assert group.commit(put(0, 5), put(1, 6)) == ["", ""]
        assert all(list(p.replicas) == [1] for p in offsets_partitions(cluster))

        for broker, count in ((2, 2), (3, 3)):
            cluster.start(broker)
            wait_until(lambda count=count: all(
                len(p.replicas) == count and sorted(p.isr) == sorted(p.replicas)
                for p in offsets_partitions(cluster)), 60, "%d replicas in sync" % count)
        cluster.wait_healthy()
        assert len(offsets_partitions(cluster)) == 16
        assert all(1 in p.replicas for p in offsets_partitions(cluster))  # none is removed

        # What a commit costs while nothing compacts: an offset a commit, and a hundred.
        def cost():
            total = {"commits": 0, "bytes": 0}
            for node in cluster.brokers:
                now = metrics_of(node)
                total["commits"] += float(now["sluice_group_commits_total"])
                total["bytes"] += float(now["sluice_group_log_in_bytes_total"])
            return total
        for width in (1, 100):
            before = cost()
            for i in range(20):
                assert set(group.commit(*[put(p, i) for p in range(width)])) == {""}
            after = cost()
            commits = after["commits"] - before["commits"]
            assert commits == 20, (before, after)
            print("%d partitions a commit: %d bytes a commit" % (
                width, (after["bytes"] - before["bytes"]) / commits))

        # Any one of the three may die now, the first one too.
        committed = group.committed()
        assert committed[0] == 19 and len(committed) == 100
        coordinator = settled(lambda: group.stub.FindCoordinator(
            g.FindCoordinatorRequest(keys=["g"]), timeout=60),
            lambda a: a.results[0].error).results[0].node_id
        cluster.kill(coordinator)
        other = next(n for n in cluster.brokers if n.alive)
        survivor = Group(cluster, address=other.address)
        assert survivor.committed() == committed

        # Asked on the internal listener nothing is handed on: it is told who it is.
        def moved():
            for node in cluster.brokers:
                if not node.alive:
                    continue
                answer = cluster.groups(node.internal_address).Heartbeat(
                    g.HeartbeatRequest(group_id="g", member_id="m"), timeout=60)
                if name_of(answer.error) == "NOT_COORDINATOR":
                    return node, answer
            return None
        node, answer = wait_until(moved, 60, "a broker that is not the coordinator")
        told = cluster.nodes[answer.coordinator.node_id]
        assert told.id not in (node.id, coordinator) and told.alive, answer
        assert answer.coordinator.endpoint.port == told.port, answer


def lag_is_told_by_metrics():
    with Cluster(brokers=3, controllers=1, settings=FAST) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=2, replicas=3)
        cluster.produce("orders", 0, [b"x"] * 10)
        group = Group(cluster, "billing")
        assert group.commit(put(0, 4), put(1, 0)) == ["", ""]
        labels = '{group="billing",partition="%d",topic="orders"}'

        def lags(kind):
            return {k[k.index("{"):]: v for k, v in lag_metrics(cluster, kind).items()}
        wait_until(lambda: lags("lag_records") == {labels % 0: 6, labels % 1: 0}, 60, "lags")
        assert lags("committed_offset") == {labels % 0: 4, labels % 1: 0}
        seconds = lags("lag_seconds")
        assert seconds[labels % 0] > 0 and seconds[labels % 1] == 0, seconds
        # Nobody is there any more, and the coordinator dies: the next one tells it.
        coordinator = settled(lambda: group.stub.FindCoordinator(
            g.FindCoordinatorRequest(keys=["billing"]), timeout=60),
            lambda a: a.results[0].error).results[0].node_id
        cluster.kill(coordinator)
        wait_until(lambda: lags("lag_records").get(labels % 0) == 6, 90, "lags of the next")
        described = json.loads(cluster.cli("group", "describe", "billing", "-o", "json").stdout)
        assert described["partitions"][0]["lagRecords"] == "6", described


def seek_every_way():
    """As a new user would, mistyping too: nothing moves without --execute."""
    with Cluster(brokers=1, settings=FAST) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=2, replicas=1)
        cluster.produce("orders", 0, [b"x"] * 10)
        cluster.produce("orders", 1, [b"x"] * 10)
        group = Group(cluster)
        assert group.commit(put(0, 5), put(1, 5)) == ["", ""]

        def seek(*args, code=0):
            done = cluster.cli("group", "seek", "g", *args, check=False)
            assert done.returncode == code, (args, done)
            return done

        exported = seek("--export").stdout
        assert exported == b"orders,0,5\norders,1,5\n", exported
        saved = os.path.join(cluster.dir, "saved.csv")
        with open(saved, "wb") as out:
            out.write(exported)
        for args, moved in (
                (["--to", "earliest"], {0: 0, 1: 0}),
                (["--to", "latest"], {0: 10, 1: 10}),
                (["--to", "7"], {0: 7, 1: 7}),
                (["--to", "7000"], {0: 10, 1: 10}),  # cut to the end
                (["--to", "@-1h"], {0: 0, 1: 0}),
                (["--to", "@2100-01-01T00:00:00Z"], {0: 10, 1: 10}),
                (["--shift", "-2"], {0: 8, 1: 8}),
                (["--shift", "1"], {0: 9, 1: 9}),
                (["--back", "30m"], {0: 0, 1: 0}),
                (["--topic", "orders", "-p", "1", "--to", "3"], {0: 0, 1: 3}),
                (["--file", saved], {0: 5, 1: 5})):
            before = group.committed()
            told = seek(*args)
            assert b"--execute" in told.stderr, told
            assert group.committed() == before, args  # a dry run
            seek(*args, "--execute")
            assert group.committed() == moved, (args, group.committed())
        for args, code in ((["--to", "soon"], 2), (["--to", "@soon"], 2), (["--to", "-1"], 2),
                           (["--back", "2 hours"], 2), (["--shift", "many"], 2), ([], 2),
                           (["--to", "1", "--shift", "1"], 2), (["--file", "/nowhere"], 2),
                           (["-p", "0", "--to", "1"], 2),
                           (["--topic", "order", "--to", "1"], 4),
                           (["--topic", "orders", "-p", "2", "--to", "1"], 4)):
            done = seek(*args, "--execute", code=code)
            assert done.stderr.strip(), args
            assert group.committed() == {0: 5, 1: 5}, args
        member, generation = group.member()
        done = seek("--to", "earliest", "--execute", code=1)
        assert b"NON_EMPTY_GROUP" in done.stderr and member.encode() in done.stderr, done
        seek("--export")  # looking is allowed
        assert group.committed() == {0: 5, 1: 5}
        assert group.heartbeat(member, generation) == ""


if __name__ == "__main__":
    run([the_numbers_are_kafkas, members_that_are_replaced_late_or_too_many_are_told,
         every_bad_commit_and_fetch_is_named_by_partition, a_question_makes_no_topic,
         the_offsets_topic_follows_the_cluster, lag_is_told_by_metrics, seek_every_way])
