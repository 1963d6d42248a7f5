// What the recorder makes of a producer whose answers get lost: once stored,
// once acknowledged, by the leader that answered.
#include "test/chaos/recording_connector.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <utility>

#include "client/fake_cluster_testing.h"
#include "client/producer.h"
#include "test/chaos/chaos_value.h"
#include "test/check/history_text.h"

namespace sluice::chaos {
namespace {

using Fate = FakeCluster::Fate;
using check::SendOutcome;

constexpr int64_t kPatienceUs = 10'000'000;
constexpr int64_t kSoonUs = 100;  // before it is sent again

class ToFakeCluster final : public BrokerConnector {
 public:
  explicit ToFakeCluster(FakeCluster* cluster) : cluster_(*cluster) {}
  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return cluster_.Connect(endpoint, executor);
  }

 private:
  FakeCluster& cluster_;
};

class RecordingConnectorTest : public testing::Test {
 protected:
  RecordingConnectorTest() { cluster_.AddTopic("orders", 1); }

  void Start(int32_t acks) {
    acks_ = acks;
    ClientDeps deps{executor_.get(), &world_, connector_.get(), 1};
    ClientOptions client;
    client.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                        FakeCluster::EndpointOf(NodeId(2))};
    metadata_ = std::make_unique<MetadataCache>(deps, client);
    ProducerOptions options;
    options.acks = acks;
    options.delivery_timeout_ms = 2'000;
    producer_ =
        std::make_unique<Producer>(deps, client, options, metadata_.get());
  }

  void SendAndWait(int64_t number) {
    const check::ValueName name{7, number};
    ProducerRecord record;
    record.topic = "orders";
    record.partition = PartitionIndex(0);
    record.value = MakeValue(name, 20);
    recorder_.Sending({name, check::HashOf(*record.value)}, 0, acks_);
    bool over = false;
    ASSERT_TRUE(producer_
                    ->Send(std::move(record),
                           [&](const absl::StatusOr<RecordMetadata>& result) {
                             over = true;
                             if (!result.ok()) return recorder_.GaveUp(name);
                             recorder_.Acknowledged(name,
                                                    result->offset.value());
                           })
                    .ok());
    ASSERT_TRUE(world_.RunUntil([&] { return over; }, kPatienceUs));
  }

  // The next produce alone, and what happens to the cluster then.
  void NextProduce(Fate fate, std::function<void()> then = [] {}) {
    cluster_.fate = [this, fate, then, over = false](
                        NodeId, const std::string& method) mutable {
      if (method != "Produce" || std::exchange(over, true)) {
        return Fate::kDeliver;
      }
      executor_->PostAfter(kSoonUs, then);
      return fate;
    };
  }

  check::History Recorded() {
    const std::string path = testing::TempDir() + "/run.history";
    EXPECT_TRUE(recorder_.WriteTo(path).ok());
    std::ifstream in(path);
    check::History history;
    const absl::Status read = check::ReadHistory(in, path, &history);
    EXPECT_TRUE(read.ok()) << read;
    return history;
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 2};
  Recorder recorder_{&world_, "orders", 1};
  std::unique_ptr<BrokerConnector> connector_ = MakeRecordingConnector(
      std::make_unique<ToFakeCluster>(&cluster_), &recorder_);
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  int32_t acks_ = -1;
};

TEST_F(RecordingConnectorTest, WhoAnsweredAcknowledged) {
  Start(/*acks=*/-1);
  SendAndWait(0);
  const check::History history = Recorded();
  EXPECT_EQ(history.sends()[0].outcome, SendOutcome::kOk);
  EXPECT_EQ(history.sends()[0].offset, 0);
  EXPECT_EQ(history.sends()[0].acked_epoch, 1);
}

TEST_F(RecordingConnectorTest, TheNewLeaderAcknowledgedWhatTheOldOneStored) {
  Start(/*acks=*/-1);
  NextProduce(Fate::kLoseAnswer,
              [this] { cluster_.MoveLeader("orders", 0, NodeId(2)); });
  SendAndWait(0);
  const check::History history = Recorded();
  ASSERT_EQ(cluster_.Read("orders", 0).size(), 1u);
  EXPECT_EQ(history.sends()[0].outcome, SendOutcome::kOk);
  EXPECT_EQ(history.sends()[0].offset, 0);
  EXPECT_EQ(history.sends()[0].acked_epoch, 2);
  EXPECT_EQ(history.sends()[0].attempts, 1);  // both are one: idempotent
}

TEST_F(RecordingConnectorTest, WithoutIdempotenceEveryRequestMayStoreIt) {
  Start(/*acks=*/1);
  NextProduce(Fate::kLoseAnswer);
  SendAndWait(0);
  const check::History history = Recorded();
  ASSERT_EQ(cluster_.Read("orders", 0).size(), 2u);
  EXPECT_EQ(history.sends()[0].outcome, SendOutcome::kOk);
  EXPECT_EQ(history.sends()[0].attempts, 2);
}

TEST_F(RecordingConnectorTest, WhatWasSentAndNotAnsweredIsUnknown) {
  Start(/*acks=*/-1);
  SendAndWait(0);
  cluster_.fate = [](NodeId, const std::string& method) {
    return method == "Produce" ? Fate::kLoseRequest : Fate::kDeliver;
  };
  SendAndWait(1);
  const check::History history = Recorded();
  EXPECT_EQ(history.sends()[1].outcome, SendOutcome::kUnknown);
  EXPECT_EQ(history.sends()[1].acked_epoch, check::kEpochUnknown);
}

}  // namespace
}  // namespace sluice::chaos
