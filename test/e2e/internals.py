"""What the tests of the internal listener share: its stubs, a broker of their
own that is registered and no process, and a topic whose epochs have moved on."""
import os
import queue
import re
import subprocess

from cluster import ROOT, _STUBS, common_pb2, grpc, topic_pb2, wait_until

subprocess.run(
    ["protoc", "-I" + os.path.join(ROOT, "proto"), "--python_out=" + _STUBS,
     "--grpc_out=" + _STUBS, "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin"] +
    ["sluice/internal/v1/%s.proto" % n for n in ("metadata", "controller", "replication")],
    check=True, cwd=ROOT)
from sluice.internal.v1 import controller_pb2, controller_pb2_grpc  # noqa: E402
from sluice.internal.v1 import replication_pb2, replication_pb2_grpc  # noqa: E402,F401

E = common_pb2


def name_of(error):
    """Of our error in a call's status: the reason of its ErrorInfo."""
    details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    found = [n.decode() for n in re.findall(rb"[A-Z][A-Z_]{3,}", details)]
    return next((n for n in found if "ERROR_CODE_" + n in E.ErrorCode.keys()), str(error.code()))


def outcome(call):
    """The name of the error that the whole call was answered with; "": none."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return name_of(error)
    if not answer.HasField("error"):
        return ""
    return E.ErrorCode.Name(answer.error.code)[len("ERROR_CODE_"):]


class Internals:
    def __init__(self, cluster):
        self.cluster = cluster
        self.active = cluster.nodes[cluster.active_controller()]
        self.controller = controller_pb2_grpc.ControllerServiceStub(
            cluster.channel(self.active.internal_address))
        hello = self.controller.Hello(controller_pb2.HelloRequest(node_id=99), timeout=60)
        self.cluster_id = hello.cluster_id

    def broker(self, broker_id):
        told = self.cluster.describe()
        return next(b for b in told.brokers if b.id == broker_id)

    def registration(self, broker_id, **changes):
        request = controller_pb2.RegisterBrokerRequest(
            cluster_id=self.cluster_id, broker_id=broker_id, incarnation_id=b"\x07" * 16,
            boot_id=b"boot", feature_min=1, feature_max=1, version="0")
        for name in ("INTERNAL", "PUBLIC"):
            listener = request.listeners.add(name=name, protocol="GRPC", authenticator="NONE")
            listener.endpoint.host, listener.endpoint.port = "127.0.0.1", 1
        request.directories.add(id=b"\x55" * 16, clean_broker_epoch=-1)
        for key, value in changes.items():
            if isinstance(value, list):
                del getattr(request, key)[:]
                getattr(request, key).extend(value)
            else:
                setattr(request, key, value)
        return request

    def register(self, broker_id, **changes):
        request = self.registration(broker_id, **changes)
        return outcome(lambda: self.controller.RegisterBroker(request, timeout=60))

    def own_broker(self):
        """Broker 9 is this test: registered, and fenced as long as it sends no
        heartbeats. The epoch and the incarnation of it."""
        request = self.registration(9)
        answer = self.controller.RegisterBroker(request, timeout=60)
        assert answer.error.code == 0, answer
        return answer.broker_epoch, request.incarnation_id


def assigned_topic(cluster, name, replicas):
    """What GetMetadata says of it, once it is led. One in-sync replica is enough."""
    topic = topic_pb2.NewTopic(name=name, configs={"min.insync.replicas": "1"})
    topic.assignments.add(broker_ids=replicas)
    made = cluster.topics().CreateTopics(
        topic_pb2.CreateTopicsRequest(topics=[topic]), timeout=60).results[0]
    assert made.error.code == 0, made
    wait_until(lambda: cluster.in_use(name, 1), 60, "%s is known and led" % name)
    return made.id


def wait_for_isr(cluster, topic, isr):
    def reached():
        found = cluster.partitions(topic)
        return found and found[0] if found and sorted(found[0].isr) == isr else None
    return wait_until(reached, 60, "the ISR %s of %s" % (isr, topic))


def past_the_first_epochs(cluster, topic):
    """Of a topic of brokers 1 (leads) and 2, and of 9, which is no process: a
    follower dies and comes back, then the leader. A record in either leader
    epoch; both replicas are in the ISR in the end."""
    first = wait_for_isr(cluster, topic, [1, 2])
    assert cluster.produce(topic, 0, [b"old"]).base_offset == 0
    for victim, survivor in ((2, 1), (1, 2)):
        cluster.kill(victim)
        wait_for_isr(cluster, topic, [survivor])
        cluster.start(victim)
        now = wait_for_isr(cluster, topic, [1, 2])
    assert cluster.produce(topic, 0, [b"new"]).base_offset == 1
    assert now.leader_id == 2 and now.leader_epoch > first.leader_epoch, now
    assert now.partition_epoch > first.partition_epoch, now
    # The others know of it too: each of them is asked about it.
    wait_until(lambda: all(
        [(p.leader_epoch, p.partition_epoch) for p in cluster.partitions_at(n, topic)] ==
        [(now.leader_epoch, now.partition_epoch)] for n in cluster.brokers), 60,
        "brokers that know of epochs %s" % now)
    return first, now


class Heartbeats:
    """The session of a broker of our own, which has applied all there is."""

    def __init__(self, inside, epoch, incarnation):
        self.beats = queue.Queue()
        self.who = dict(broker_id=9, broker_epoch=epoch, incarnation_id=incarnation)
        self.stream = inside.controller.Liveness(iter(self.beats.get, None), timeout=600)
        self.applied = 0

    def until(self, wanted, **fields):
        def beat():
            self.beats.put(controller_pb2.LivenessRequest(
                applied_metadata_offset=self.applied, **self.who, **fields))
            told = next(self.stream)
            assert told.error.code == 0, told
            self.applied = told.committed_metadata_offset
            return wanted(told)
        wait_until(beat, 60, "an answer to heartbeats with %s" % fields)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.beats.put(None)
        self.stream.cancel()
