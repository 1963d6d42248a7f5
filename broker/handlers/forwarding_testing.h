// Handlers of a broker that leads some topics, for tests of what it hands on to
// the brokers that lead the others.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "broker/handlers/fake_hosts_testing.h"
#include "broker/handlers/fake_leaders_testing.h"
#include "broker/handlers/leader_calls.h"

namespace sluice {

// This is broker 1, which leads "a" and "b". Topic "far" is led by broker 2,
// "farther" by broker 3.
class ForwardingTest : public testing::Test {
 protected:
  ForwardingTest() {
    fake_.cluster.Start(2);
    fake_.cluster.Start(3);
    far_ = fake_.cluster.CreateOn("far", {2}, {}, 2).topic_id;
    farther_ = fake_.cluster.CreateOn("farther", {3}).topic_id;
    fake_.image.Store(fake_.cluster.shared());
    context_.deadline_us = 60'000'000;
    context_.client_id = "app";
  }

  HandlerDeps deps() {
    HandlerDeps deps = fake_.deps();
    deps.leaders = &leaders_;
    return deps;
  }
  FakeLeader& two() { return peers_.at("b2"); }
  FakeLeader& three() { return peers_.at("b3"); }
  void Run() { fake_.Run(); }

  static api::ProducePartition Batch(const std::string& topic, int partition) {
    api::ProducePartition asked;
    asked.topic = Named(topic);
    asked.partition = PartitionIndex(partition);
    asked.payload = MakeBatch(TestBatch());
    return asked;
  }
  static api::ProduceRequest Forwarded(
      std::vector<std::pair<std::string, int>> to) {
    api::ProduceRequest request;
    request.route = api::Route::kForward;
    for (const auto& [topic, partition] : to) {
      request.partitions.push_back(Batch(topic, partition));
    }
    return request;
  }
  api::ProduceResult Stored(const TopicId& topic, int partition,
                            int64_t offset) {
    api::ProduceResult result;
    result.topic = ById(topic);
    result.partition = PartitionIndex(partition);
    result.base_offset = Offset(offset);
    result.durability = "disk";
    return result;
  }

  FakeBroker fake_;
  FakeLeaders peers_;
  LeaderCalls leaders_{
      {NodeId(1), fake_.worker.get(), &fake_.world, &peers_}};
  TopicId far_;
  TopicId farther_;
  api::CallContext context_;
};

}  // namespace sluice
