// A controller for tests, on a log without Raft.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "controller/controller.h"
#include "controller/controller_testing.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {

// Controller 1 with brokers that talk to it; registrations are TestCluster's.
class ControllerTest : public testing::Test {
 protected:
  struct Broker {
    BrokerEpoch epoch;
    std::string incarnation;
    std::shared_ptr<FakeStream<internal::v1::LivenessResponse>> stream;
    PeerStreamEvents<internal::v1::LivenessRequest> events;
  };

  void SetUp() override {
    auto configs = ConfigRegistry::Make({});
    ASSERT_TRUE(configs.ok());
    Controller::Deps deps;
    deps.executor = executor_.get();
    deps.clock = &world_;
    deps.log = &log_;
    deps.dialer = &dialer_;
    deps.configs = *configs;
    deps.node_id = NodeId(1);
    deps.cluster_name = "test";
    deps.random_seed = 3;
    deps.on_fatal = [this](absl::Status why) { fatal_.push_back(why); };
    controller_ = std::make_unique<Controller>(std::move(deps));
    controller_->Start();
  }
  void Run(int64_t ms = 50) { world_.RunFor(ms * 1000); }
  void Lead(int term = 1) {
    log_.Lead(Term(term));
    Run();
  }

  Reply<internal::v1::RegisterBrokerResponse> Register(int id,
                                                       int incarnation) {
    Reply<internal::v1::RegisterBrokerResponse> reply;
    controller_->RegisterBroker(TestCluster::Registration(id, incarnation),
                                reply.Catch());
    Run();
    return reply;
  }
  // Registered, with a liveness stream, unfenced.
  void Join(int id, int incarnation = 1) {
    const auto reply = Register(id, incarnation);
    ASSERT_TRUE(reply.arrived());
    ASSERT_TRUE(reply.answer().ok()) << reply.answer().status();
    Broker& broker = brokers_[id];
    broker.epoch = BrokerEpoch(reply->broker_epoch());
    broker.incarnation = TestCluster::Incarnation(id, incarnation);
    broker.stream =
        std::make_shared<FakeStream<internal::v1::LivenessResponse>>();
    broker.events = controller_->AcceptLiveness(broker.stream);
    Beat(id,
         [](internal::v1::LivenessRequest& r) { r.set_want_unfence(true); });
    Run();
    ASSERT_FALSE(Image().FindBroker(NodeId(id))->fenced);
  }
  void JoinAll(int count) {
    for (int id = 1; id <= count; ++id) Join(id);
  }
  void Beat(int id) {
    Beat(id, [](internal::v1::LivenessRequest&) {});
  }
  template <class Fill>
  void Beat(int id, Fill fill) {
    Broker& broker = brokers_[id];
    internal::v1::LivenessRequest request;
    request.set_broker_id(id);
    request.set_broker_epoch(broker.epoch.value());
    request.set_incarnation_id(broker.incarnation);
    request.set_applied_metadata_offset(Image().offset().value());
    fill(request);
    broker.events.on_message(request);
  }
  // Time passes with heartbeats of those named.
  void Live(int64_t ms, std::vector<int> beating) {
    for (int64_t passed = 0; passed < ms; passed += 100) {
      Run(100);
      for (const int id : beating) Beat(id);
    }
  }
  void Die(int id) {
    dialer_.answers[StrCat("b", id)] = DialResult::kRefused;
    brokers_[id].events.on_closed(absl::UnavailableError("reset"));
    Run();
  }

  Reply<v1::CreateTopicsResponse> Create(const std::string& name,
                                         int partitions = 1,
                                         int replicas = 3) {
    v1::CreateTopicsRequest request;
    auto* topic = request.add_topics();
    topic->set_name(name);
    topic->set_partition_count(partitions);
    topic->set_replication_factor(replicas);
    Reply<v1::CreateTopicsResponse> reply;
    controller_->CreateTopics(request, reply.Catch());
    return reply;
  }
  Reply<v1::DeleteTopicsResponse> Delete(const std::string& name) {
    v1::DeleteTopicsRequest request;
    request.add_topics()->set_name(name);
    Reply<v1::DeleteTopicsResponse> reply;
    controller_->DeleteTopics(request, reply.Catch());
    return reply;
  }
  Reply<internal::v1::AlterPartitionsResponse> Alter(
      const TopicPartition& tp, const std::vector<int>& isr,
      std::function<void(internal::v1::AlterPartitionsRequest&)> change = {}) {
    const PartitionImage& now = *Image().FindPartition(tp);
    internal::v1::AlterPartitionsRequest request;
    request.set_broker_id(now.leader.value());
    request.set_broker_epoch(
        Image().FindBroker(now.leader)->epoch.value());
    auto* partition = request.add_partitions();
    partition->set_topic_id(tp.topic_id.ToBytes());
    partition->set_partition(tp.partition.value());
    partition->set_leader_epoch(now.leader_epoch.value());
    partition->set_partition_epoch(now.partition_epoch.value());
    for (const int id : isr) {
      auto* member = partition->add_new_isr();
      member->set_broker_id(id);
      member->set_broker_epoch(Image().FindBroker(NodeId(id))->epoch.value());
    }
    if (change) change(request);
    Reply<internal::v1::AlterPartitionsResponse> reply;
    controller_->AlterPartitions(request, reply.Catch());
    return reply;
  }

  const MetadataImage& Image() { return *controller_->image(); }
  TopicPartition First(const std::string& topic) {
    return {Image().FindTopic(topic)->id, PartitionIndex(0)};
  }
  const PartitionImage& At(const std::string& topic) {
    return *Image().FindPartition(First(topic));
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeMetadataLog log_{executor_.get()};
  FakeDialer dialer_;
  std::vector<absl::Status> fatal_;
  std::map<int, Broker> brokers_;
  std::unique_ptr<Controller> controller_;
};

}  // namespace sluice
