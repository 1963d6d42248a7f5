#!/usr/bin/python3
"""Group coordinators on real processes, from generated stubs: any broker takes any
call, bad input is named, and no view of offsets is worth anything of its own."""
import glob
import os
import shutil
import time

from cluster import Cluster, common_pb2, group_pb2 as g, grpc, run, wait_until

E = common_pb2
AGAIN = {E.ERROR_CODE_NOT_COORDINATOR, E.ERROR_CODE_COORDINATOR_NOT_AVAILABLE,
         E.ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS}


def ref(name):
    return E.TopicRef(name=name)


def hard(ask, error_of=lambda answer: answer.error, seconds=60):
    """Until the answer is not "ask again"."""
    last = [None]

    def answered():
        try:
            answer = ask()
        except grpc.RpcError as error:
            last[0] = error
            return None
        last[0] = error_of(answer)
        return answer if last[0].code not in AGAIN else None
    try:
        return wait_until(answered, seconds, "an answer")
    except AssertionError as error:
        raise AssertionError("%s: %s" % (error, last[0]))


class Member:
    """The one member of a group, who has everything; asks whom it is told to."""

    def __init__(self, cluster, group="g", address=None):
        self.cluster, self.group, self.address = cluster, group, address
        self.member_id, self.generation = "", -1

    def stub(self):
        return self.cluster.groups(self.address)

    def join(self):
        request = self.join_request()
        first = hard(lambda: self.stub().JoinGroup(request, timeout=60))
        assert first.error.code == E.ERROR_CODE_MEMBER_ID_REQUIRED, first
        request.member_id = first.member_id
        joined = hard(lambda: self.stub().JoinGroup(request, timeout=60))
        assert joined.error.code == 0 and joined.leader_id == joined.member_id, joined
        self.member_id, self.generation = joined.member_id, joined.generation_id
        synced = hard(lambda: self.stub().SyncGroup(g.SyncGroupRequest(
            assignments=[g.GroupAssignment(member_id=self.member_id, assignment=b"all")],
            **self.who()), timeout=60))
        assert synced.error.code == 0 and synced.assignment == b"all", synced
        return self

    def join_request(self, **fields):
        return g.JoinGroupRequest(**{**dict(
            # It does not end here, however long a test takes.
            group_id=self.group, session_timeout_ms=600000, rebalance_timeout_ms=600000,
            protocol_type="consumer",
            protocols=[g.GroupProtocol(name="range", metadata=b"any")]), **fields})

    def who(self, **fields):
        return {**dict(group_id=self.group, member_id=self.member_id,
                       generation_id=self.generation), **fields}

    def heartbeat(self):
        return hard(lambda: self.stub().Heartbeat(
            g.HeartbeatRequest(**self.who()), timeout=60)).error.code

    def commit(self, offset, partitions=4):
        request = g.CommitOffsetsRequest(offsets=[
            g.OffsetCommit(topic=ref("orders"), partition=p, offset=offset)
            for p in range(partitions)], **self.who())
        answer = hard(lambda: self.stub().CommitOffsets(request, timeout=60),
                      lambda a: a.results[0].error)
        assert all(r.error.code == 0 for r in answer.results), answer

    def committed(self):
        answer = hard(lambda: self.stub().FetchOffsets(g.FetchOffsetsRequest(
            groups=[g.GroupOffsetsQuery(group_id=self.group)]), timeout=60),
            lambda a: a.groups[0].error)
        assert not answer.groups[0].error.code, answer
        return {o.partition: o.offset for o in answer.groups[0].offsets}

    def coordinator(self):
        answer = hard(lambda: self.stub().FindCoordinator(
            g.FindCoordinatorRequest(keys=[self.group]), timeout=60),
            lambda a: a.results[0].error)
        return answer.results[0].node_id


def any_broker_takes_any_call():
    with Cluster(brokers=3, controllers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=4, replicas=3)
        for i, broker in enumerate(cluster.brokers):
            member = Member(cluster, "group-%d" % i, broker.address).join()
            assert member.heartbeat() == 0
            member.commit(10 + i)
            for other in cluster.brokers:
                member.address = other.address
                assert member.committed() == {p: 10 + i for p in range(4)}, other.id
                assert member.heartbeat() == 0
            described = member.stub().DescribeGroups(g.DescribeGroupsRequest(
                group_ids=[member.group], include_lag=True), timeout=60).groups[0]
            assert described.state == g.GROUP_STATE_STABLE, described
            assert described.members[0].client_host.startswith("127."), described
            assert described.members[0].client_id == "", described
            assert [p.lag_records for p in described.partitions] == [-10 - i] * 4, described
        for broker in cluster.brokers:
            listed = cluster.groups(broker.address).ListGroups(
                g.ListGroupsRequest(page_size=2), timeout=60)
            assert [x.group_id for x in listed.groups] == ["group-0", "group-1"], listed
            assert listed.next_page_token == "group-1" and not listed.errors, listed
            rest = cluster.groups(broker.address).ListGroups(
                g.ListGroupsRequest(page_token=listed.next_page_token), timeout=60)
            assert [x.group_id for x in rest.groups] == ["group-2"], rest


def every_bad_group_call_is_named():
    with Cluster(brokers=1) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=4, replicas=1)
        member = Member(cluster).join()
        member.commit(5)
        stub = member.stub()

        def refused(answer, code, message=True):
            assert answer.error.code == code, answer
            assert answer.error.message or not message, answer

        for group in ("", "x" * 250):
            refused(stub.JoinGroup(member.join_request(group_id=group), timeout=60),
                    E.ERROR_CODE_INVALID_GROUP_ID)
            refused(stub.Heartbeat(g.HeartbeatRequest(group_id=group), timeout=60),
                    E.ERROR_CODE_INVALID_GROUP_ID)
        for session in (0, -1, 5999, 1800001, 2**31 - 1):
            refused(stub.JoinGroup(member.join_request(session_timeout_ms=session), timeout=60),
                    E.ERROR_CODE_INVALID_SESSION_TIMEOUT)
        for bad in (dict(protocols=[]), dict(protocol_type="other"), dict(protocol_type=""),
                    dict(protocols=[g.GroupProtocol(name="nobody's")])):
            refused(stub.JoinGroup(member.join_request(**bad), timeout=60),
                    E.ERROR_CODE_INCONSISTENT_GROUP_PROTOCOL)
        for bad in (dict(protocols=[g.GroupProtocol(name="p%d" % i) for i in range(17)]),
                    dict(protocols=[g.GroupProtocol(name="range", metadata=b"x" * (1 << 20))]),
                    dict(group_instance_id="i" * 250), dict(reason="r" * 256)):
            refused(stub.JoinGroup(member.join_request(**bad), timeout=60),
                    E.ERROR_CODE_INVALID_REQUEST)
        refused(stub.JoinGroup(member.join_request(member_id="stranger"), timeout=60),
                E.ERROR_CODE_UNKNOWN_MEMBER_ID)
        for bad, code in ((dict(member_id="stranger"), E.ERROR_CODE_UNKNOWN_MEMBER_ID),
                          (dict(generation_id=99), E.ERROR_CODE_ILLEGAL_GENERATION),
                          (dict(generation_id=-1), E.ERROR_CODE_ILLEGAL_GENERATION)):
            refused(stub.Heartbeat(g.HeartbeatRequest(**member.who(**bad)), timeout=60), code)
            refused(stub.SyncGroup(g.SyncGroupRequest(**member.who(**bad)), timeout=60), code)
        refused(stub.SyncGroup(g.SyncGroupRequest(
            protocol_name="other", **member.who()), timeout=60),
            E.ERROR_CODE_INCONSISTENT_GROUP_PROTOCOL)
        refused(stub.LeaveGroup(g.LeaveGroupRequest(group_id="g"), timeout=60),
                E.ERROR_CODE_INVALID_REQUEST)
        left = stub.LeaveGroup(g.LeaveGroupRequest(group_id="g", members=[
            g.LeavingMember(member_id="stranger")]), timeout=60)
        assert left.members[0].error.code == E.ERROR_CODE_UNKNOWN_MEMBER_ID, left

        def commit(offsets, **fields):
            return stub.CommitOffsets(g.CommitOffsetsRequest(
                offsets=offsets, **member.who(**fields)), timeout=60)

        def put(topic="orders", partition=0, offset=7, **fields):
            return g.OffsetCommit(topic=ref(topic), partition=partition, offset=offset, **fields)

        rows = commit([put(offset=-1), put("nothing"), put(partition=4), put(partition=-1),
                       put(partition=1, metadata="m" * 4097),
                       put(partition=2, metadata="m" * 4096),
                       put(partition=3, offset=2**62)]).results
        assert [r.error.code for r in rows] == [
            E.ERROR_CODE_INVALID_COMMIT_OFFSET, E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION,
            E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION, E.ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION,
            E.ERROR_CODE_OFFSET_METADATA_TOO_LARGE, 0, 0], rows
        assert member.committed() == {0: 5, 1: 5, 2: 7, 3: 2**62}
        for bad, code in ((dict(member_id="stranger"), E.ERROR_CODE_UNKNOWN_MEMBER_ID),
                          (dict(generation_id=99), E.ERROR_CODE_ILLEGAL_GENERATION),
                          (dict(group_instance_id="i"), E.ERROR_CODE_UNKNOWN_MEMBER_ID),
                          (dict(group_id="none"), E.ERROR_CODE_GROUP_ID_NOT_FOUND)):
            assert commit([put()], **bad).results[0].error.code == code, bad
        seek = stub.CommitOffsets(g.CommitOffsetsRequest(
            group_id="g", administrative=True, offsets=[put()]), timeout=60)
        assert seek.results[0].error.code == E.ERROR_CODE_NON_EMPTY_GROUP, seek
        assert commit([put(), put()]).results[0].error.code == E.ERROR_CODE_INVALID_REQUEST
        for request in (lambda: commit([]),
                        lambda: stub.FindCoordinator(g.FindCoordinatorRequest(), timeout=60),
                        lambda: stub.FetchOffsets(g.FetchOffsetsRequest(), timeout=60),
                        lambda: stub.DeleteGroups(g.DeleteGroupsRequest(
                            group_ids=["x"] * 1001), timeout=60)):
            try:
                raise AssertionError(request())
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        results = stub.DeleteGroups(g.DeleteGroupsRequest(
            group_ids=["g", "none", ""]), timeout=60).results
        assert [r.error.code for r in results] == [
            E.ERROR_CODE_NON_EMPTY_GROUP, E.ERROR_CODE_GROUP_ID_NOT_FOUND,
            E.ERROR_CODE_INVALID_GROUP_ID], results
        produced = cluster.produce_once("__consumer_offsets", 0, [b"mine"])
        assert produced.error.code == E.ERROR_CODE_INVALID_TOPIC, produced
        # The group goes on as it was.
        assert member.heartbeat() == 0 and member.committed()[0] == 5


def a_view_that_is_damaged_or_deleted_loses_nothing():
    with Cluster(brokers=3) as cluster:
        cluster.start().wait_healthy()
        cluster.create_topic("orders", partitions=4, replicas=3)
        member = Member(cluster).join()

        def delete(view):
            shutil.rmtree(view)

        def overwrite(view):
            for path in glob.glob(view + "/*"):
                with open(path, "r+b") as out:
                    out.write(b"damaged " * 64)

        def truncate(view):
            for path in glob.glob(view + "/*.sst") + glob.glob(view + "/MANIFEST*"):
                os.truncate(path, os.path.getsize(path) // 2)

        for i, harm in enumerate((delete, overwrite, truncate, delete)):
            member.commit(100 + i)
            node = cluster.nodes[member.coordinator()]
            if i % 2:
                cluster.stop(node.id)  # what it had is flushed
            else:
                cluster.kill(node.id)
            assert member.committed() == {p: 100 + i for p in range(4)}
            (view,) = glob.glob(os.path.join(node.dir, "data", "**", "offsets-view"),
                                recursive=True)
            harm(view)
            cluster.start(node.id)
            cluster.wait_healthy()
            # Whoever coordinates has them, this one too when its turn comes.
            others = [n.id for n in cluster.brokers if n.id != node.id]
            cluster.kill(others[i % 2])
            started = time.time()
            assert member.committed() == {p: 100 + i for p in range(4)}
            assert member.heartbeat() == 0
            print("%s: answered %.1f s after a kill" % (harm.__name__, time.time() - started))
            cluster.start(others[i % 2])
            cluster.wait_healthy()


run([any_broker_takes_any_call, every_bad_group_call_is_named,
     a_view_that_is_damaged_or_deleted_loses_nothing])
