// Controllers for tests of a broker's control side: each call is seen, and
// answered as the test says, late, or never.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/control/controller_directory.h"
#include "broker/replica_host.h"
#include "client/peers/controller_peer.h"
#include "common/env/sim_world.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {

// The controller's end of one stream.
template <class Up, class Down>
class FakeControlStream {
 public:
  std::vector<Up> received;
  bool open = true;  // for the broker

  void Answer(Down message) {
    if (open && events.on_message) events.on_message(std::move(message));
  }
  void Break(absl::Status why) {
    if (std::exchange(open, false) && events.on_closed) {
      events.on_closed(std::move(why));
    }
  }

  PeerStreamEvents<Down> events;
};

using FakeLiveness = FakeControlStream<internal::v1::LivenessRequest,
                                       internal::v1::LivenessResponse>;
using FakeMetadata = FakeControlStream<internal::v1::FollowMetadataRequest,
                                       internal::v1::FollowMetadataResponse>;

class FakeController final : public ControllerPeer {
 public:
  static constexpr int64_t kDelayUs = 500;
  template <class Request, class Response>
  using Handler = std::function<absl::StatusOr<Response>(const Request&)>;

  FakeController(SimWorld* world, Executor* executor, NodeId id)
      : world_(world), executor_(executor), id_(id) {
    hello = [this](const internal::v1::HelloRequest&)
        -> absl::StatusOr<internal::v1::HelloResponse> {
      internal::v1::HelloResponse response;
      response.set_cluster_id(cluster_id);
      response.set_cluster_name(cluster_name);
      response.set_node_id(id_.value());
      response.set_term(term);
      response.set_active_controller_id(active);
      return response;
    };
  }

  // What Hello says.
  std::string cluster_id = TestCluster::cluster_id().ToBytes();
  std::string cluster_name;
  int64_t term = 1;
  int active = -1;

  bool up = true;     // false: connections are refused
  bool mute = false;  // takes requests and never answers
  std::map<std::string, int> calls;

  Handler<internal::v1::HelloRequest, internal::v1::HelloResponse> hello;
  Handler<internal::v1::RegisterBrokerRequest,
          internal::v1::RegisterBrokerResponse>
      register_broker;
  Handler<internal::v1::ReportReplicasRequest,
          internal::v1::ReportReplicasResponse>
      report_replicas;
  Handler<internal::v1::AlterPartitionsRequest,
          internal::v1::AlterPartitionsResponse>
      alter_partitions;
  Handler<internal::v1::AllocateProducerIdsRequest,
          internal::v1::AllocateProducerIdsResponse>
      allocate_producer_ids;
  Handler<v1::CreateTopicsRequest, v1::CreateTopicsResponse> create_topics;
  Handler<v1::CreatePartitionsRequest, v1::CreatePartitionsResponse>
      create_partitions;
  Handler<internal::v1::EnsureInternalTopicRequest,
          internal::v1::EnsureInternalTopicResponse>
      ensure_internal_topic;
  Handler<v1::DeleteTopicsRequest, v1::DeleteTopicsResponse> delete_topics;
  Handler<v1::AlterConfigsRequest, v1::AlterConfigsResponse> alter_configs;
  Handler<v1::ElectLeadersRequest, v1::ElectLeadersResponse> elect_leaders;
  Handler<v1::DescribeQuorumRequest, v1::DescribeQuorumResponse>
      describe_quorum;
  std::vector<std::shared_ptr<FakeLiveness>> sessions;
  std::vector<std::shared_ptr<FakeMetadata>> feeds;

  NodeId id() const override { return id_; }

  void Hello(const internal::v1::HelloRequest& request, int64_t timeout_us,
             PeerReply<internal::v1::HelloResponse> reply) override {
    Call("Hello", request, timeout_us, hello, std::move(reply));
  }
  void RegisterBroker(
      const internal::v1::RegisterBrokerRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::RegisterBrokerResponse> reply) override {
    Call("RegisterBroker", request, timeout_us, register_broker,
         std::move(reply));
  }
  void ReportReplicas(
      const internal::v1::ReportReplicasRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::ReportReplicasResponse> reply) override {
    Call("ReportReplicas", request, timeout_us, report_replicas,
         std::move(reply));
  }
  void AlterPartitions(
      const internal::v1::AlterPartitionsRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::AlterPartitionsResponse> reply) override {
    Call("AlterPartitions", request, timeout_us, alter_partitions,
         std::move(reply));
  }
  void AllocateProducerIds(
      const internal::v1::AllocateProducerIdsRequest& request,
      int64_t timeout_us,
      PeerReply<internal::v1::AllocateProducerIdsResponse> reply) override {
    Call("AllocateProducerIds", request, timeout_us, allocate_producer_ids,
         std::move(reply));
  }
  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override {
    Call("CreateTopics", request, timeout_us, create_topics, std::move(reply));
  }
  void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) override {
    Call("CreatePartitions", request, timeout_us, create_partitions,
         std::move(reply));
  }
  void EnsureInternalTopic(
      const internal::v1::EnsureInternalTopicRequest& request,
      int64_t timeout_us,
      PeerReply<internal::v1::EnsureInternalTopicResponse> reply) override {
    Call("EnsureInternalTopic", request, timeout_us, ensure_internal_topic,
         std::move(reply));
  }
  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override {
    Call("DeleteTopics", request, timeout_us, delete_topics, std::move(reply));
  }
  void AlterConfigs(const v1::AlterConfigsRequest& request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply) override {
    Call("AlterConfigs", request, timeout_us, alter_configs, std::move(reply));
  }
  void ElectLeaders(const v1::ElectLeadersRequest& request, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply) override {
    Call("ElectLeaders", request, timeout_us, elect_leaders, std::move(reply));
  }
  void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override {
    Call("DescribeQuorum", request, timeout_us, describe_quorum,
         std::move(reply));
  }

  std::shared_ptr<LivenessStream> OpenLiveness(
      PeerStreamEvents<internal::v1::LivenessResponse> events) override {
    ++calls["OpenLiveness"];
    return Open(sessions, std::move(events));
  }
  std::shared_ptr<MetadataStream> FollowMetadata(
      const internal::v1::FollowMetadataRequest& request,
      PeerStreamEvents<internal::v1::FollowMetadataResponse> events) override {
    ++calls["FollowMetadata"];
    auto stream = Open(feeds, std::move(events));
    feeds.back()->received.push_back(request);
    return stream;
  }

 private:
  template <class Up, class Down>
  class End final : public PeerStream<Up> {
   public:
    explicit End(std::shared_ptr<FakeControlStream<Up, Down>> stream)
        : stream_(std::move(stream)) {}
    void Send(const Up& message) override {
      if (stream_->open) stream_->received.push_back(message);
    }
    void Close(absl::Status) override { stream_->open = false; }

   private:
    const std::shared_ptr<FakeControlStream<Up, Down>> stream_;
  };

  template <class Up, class Down>
  std::shared_ptr<PeerStream<Up>> Open(
      std::vector<std::shared_ptr<FakeControlStream<Up, Down>>>& all,
      PeerStreamEvents<Down> events) {
    auto stream = std::make_shared<FakeControlStream<Up, Down>>();
    stream->events = std::move(events);
    all.push_back(stream);
    if (!up) {
      executor_->PostAfter(kDelayUs, [stream] {
        stream->Break(absl::UnavailableError("refused"));
      });
    }
    return std::make_shared<End<Up, Down>>(stream);
  }

  template <class Request, class Response>
  void Call(const char* name, const Request& request, int64_t timeout_us,
            const Handler<Request, Response>& handler,
            PeerReply<Response> reply) {
    ++calls[name];
    absl::StatusOr<Response> answer = absl::UnavailableError("refused");
    int64_t delay_us = kDelayUs;
    if (up && !mute) {
      answer = handler ? handler(request)
                       : absl::StatusOr<Response>(MakeError(
                             ErrorCode::kNotController, "not active"));
    } else if (mute) {
      answer = absl::DeadlineExceededError("no answer");
      delay_us = timeout_us;
    }
    executor_->PostAfter(delay_us, [answer = std::move(answer),
                                    reply = std::move(reply)]() mutable {
      reply(std::move(answer));
    });
  }

  SimWorld* const world_;
  Executor* const executor_;
  const NodeId id_;
};

// Controllers 1 to 3 and a directory of them, as broker 4 sees them.
class ControlWorld {
 public:
  ControlWorld() : executor(world.NewExecutor()) {
    for (int id = 1; id <= 3; ++id) {
      controllers.push_back(std::make_unique<FakeController>(
          &world, executor.get(), NodeId(id)));
    }
    directory = std::make_unique<ControllerDirectory>(Deps());
  }

  ControllerDirectory::Deps Deps() {
    ControllerDirectory::Deps deps;
    deps.executor = executor.get();
    deps.clock = &world;
    for (auto& controller : controllers) {
      deps.controllers.push_back(
          {controller->id(), {"c", 9000}, controller.get()});
    }
    deps.node_id = NodeId(4);
    deps.random_seed = 7;
    return deps;
  }
  FakeController& at(int id) { return *controllers.at(id - 1); }
  // Everybody says so.
  void SetActive(int id, int64_t term = 1) {
    for (auto& controller : controllers) {
      controller->active = id;
      controller->term = term;
    }
  }
  void StartWithActive(int id) {
    SetActive(id);
    directory->Start();
    world.RunFor(10'000);
  }
  int CallsOf(const std::string& method) {
    int count = 0;
    for (auto& controller : controllers) count += controller->calls[method];
    return count;
  }

  SimWorld world;
  std::unique_ptr<Executor> executor;
  std::vector<std::unique_ptr<FakeController>> controllers;
  std::unique_ptr<ControllerDirectory> directory;
};

// The shards, as far as the control side sees them.
class FakeReplicaHost final : public ReplicaHost {
 public:
  struct Applied {
    std::shared_ptr<const MetadataImage> image;
    MetadataChanges changes;
    BrokerEpoch epoch;
  };

  // Wait for the test.
  absl::AnyInvocable<void(Verdicts)> some;
  absl::AnyInvocable<void()> recovered;
  std::vector<TopicPartition> first;
  std::vector<Applied> applied;
  std::vector<IsrDecision> decisions;
  std::vector<LogStartDecision> log_starts;
  std::vector<BrokerEpoch> stops;
  absl::Status stop_status;
  absl::AnyInvocable<void(absl::Status)> stopped;  // held when hold_stop
  bool hold_stop = false;

  void RecoverLogs(absl::AnyInvocable<void(Verdicts)> told,
                   absl::AnyInvocable<void()> done) override {
    some = std::move(told);
    recovered = std::move(done);
  }
  void RecoverFirst(std::vector<TopicPartition> wanted) override {
    first = std::move(wanted);
  }
  void ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                     const MetadataChanges& changes,
                     BrokerEpoch own_epoch) override {
    applied.push_back({std::move(image), changes, own_epoch});
  }
  void OnIsrDecisions(std::vector<IsrDecision> made) override {
    decisions.insert(decisions.end(), made.begin(), made.end());
  }
  void OnLogStartDecisions(std::vector<LogStartDecision> made) override {
    log_starts.insert(log_starts.end(), made.begin(), made.end());
  }
  void StopClean(BrokerEpoch own_epoch,
                 absl::AnyInvocable<void(absl::Status)> done) override {
    stops.push_back(own_epoch);
    if (hold_stop) {
      stopped = std::move(done);
    } else {
      done(stop_status);
    }
  }
};

// A committed batch as the feed sends it.
inline internal::v1::FollowMetadataResponse MetadataPiece(
    const std::vector<TestCluster::LogEntry>& log, size_t from, size_t end,
    int64_t previous, int active = 1) {
  internal::v1::FollowMetadataResponse piece;
  piece.set_previous_offset(previous);
  piece.set_active_controller_id(active);
  piece.set_committed_offset(log.back().offset.value());
  piece.set_term(log.back().term.value());
  for (size_t i = from; i < end; ++i) {
    auto* batch = piece.add_batches();
    batch->set_offset(log[i].offset.value());
    batch->set_term(log[i].term.value());
    *batch->mutable_batch() = log[i].batch;
  }
  return piece;
}

}  // namespace sluice
