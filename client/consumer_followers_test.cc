// Reading from followers nearby, and coming back to the leader (KIP-392, F33).
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/consumer.h"
#include "client/fake_cluster_testing.h"
#include "client/producer.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

// One partition, led by broker 1, with a follower near the reader at broker 2.
class ConsumerFollowersTest : public testing::Test {
 protected:
  ConsumerFollowersTest() {
    cluster_.AddTopic("t", 1);
    state().near = NodeId(2);
    deps_ = {executor_.get(), &world_, &cluster_, 1};
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    producer_ = std::make_unique<Producer>(deps_, client_, ProducerOptions(),
                                           metadata_.get());
    ConsumerOptions options;
    options.reset = OffsetReset::kNone;  // a reset would be seen
    options.rack = "here";
    consumer_ =
        std::make_unique<Consumer>(deps_, client_, options, metadata_.get());
    consumer_->Assign({tp_});
    EXPECT_TRUE(consumer_->Seek(tp_, Offset(0)).ok());
  }
  void TearDown() override {
    consumer_.reset();
    producer_.reset();
  }

  FakeCluster::Partition& state() {
    return cluster_.topic("t").partitions[0];
  }
  // One batch each.
  void Produce(int count) {
    for (int i = 0; i < count; ++i) {
      bool acked = false;
      ProducerRecord record;
      record.topic = "t";
      record.value = "v";
      record.partition = PartitionIndex(0);
      ASSERT_TRUE(producer_
                      ->Send(std::move(record),
                             [&](const auto& result) { acked = result.ok(); })
                      .ok());
      ASSERT_TRUE(world_.RunUntil([&] { return acked; }, 10 * kSecond));
    }
  }
  // Polls until the position is there; what a Poll said instead.
  absl::Status ReadTo(int64_t offset, int64_t limit_us = 60 * kSecond) {
    const int64_t end_us = world_.MonoMicros() + limit_us;
    while (world_.MonoMicros() < end_us) {
      if (consumer_->Position(tp_) >= Offset(offset)) return absl::OkStatus();
      std::optional<absl::Status> status;
      consumer_->Poll(kSecond / 10, 1 << 20,
                      [&](auto batches) { status = batches.status(); });
      EXPECT_TRUE(
          world_.RunUntil([&] { return status.has_value(); }, 2 * kSecond));
      if (!status->ok()) return *status;
    }
    return absl::DeadlineExceededError("not there");
  }
  int FromFollower() { return cluster_.calls["FetchNear"]; }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  const NamedPartition tp_{"t", PartitionIndex(0)};
  ClientDeps deps_;
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<Consumer> consumer_;
};

TEST_F(ConsumerFollowersTest, ReadsTheFollowerThatTheLeaderNames) {
  Produce(5);
  ASSERT_TRUE(ReadTo(5).ok());
  EXPECT_GT(FromFollower(), 0);
  EXPECT_EQ(consumer_->counters().follower_returns, 0);
  // Stays there.
  const int before = cluster_.calls["Fetch"] - FromFollower();
  Produce(5);
  ASSERT_TRUE(ReadTo(10).ok());
  EXPECT_EQ(cluster_.calls["Fetch"] - FromFollower(), before);
}

TEST_F(ConsumerFollowersTest, AFollowerThatIsALittleBehindIsWaitedFor) {
  Produce(5);
  ASSERT_TRUE(ReadTo(5).ok());
  state().near_high_watermark = Offset(3);  // it was restarted, say
  Produce(1);
  EXPECT_FALSE(ReadTo(6, kSecond / 5).ok());
  state().near_high_watermark = Offset(INT64_MAX);
  ASSERT_TRUE(ReadTo(6).ok());
  EXPECT_EQ(consumer_->counters().follower_returns, 0);
  EXPECT_EQ(consumer_->counters().resets, 0);
}

TEST_F(ConsumerFollowersTest, OneThatStaysBehindIsLeftForTheLeader) {
  Produce(5);
  ASSERT_TRUE(ReadTo(5).ok());
  state().near_high_watermark = Offset(3);
  Produce(1);
  ASSERT_TRUE(ReadTo(6).ok());
  EXPECT_EQ(consumer_->counters().follower_returns, 1);
  EXPECT_EQ(consumer_->HighWatermark(tp_), Offset(6));
}

TEST_F(ConsumerFollowersTest, WhatAFollowerSaysOfTheLogIsNotBelieved) {
  Produce(5);
  ASSERT_TRUE(ReadTo(5).ok());
  for (const ErrorCode code :
       {ErrorCode::kOffsetOutOfRange, ErrorCode::kNotLeader,
        ErrorCode::kLogTruncated, ErrorCode::kReplicaFailed,
        ErrorCode::kUnknownTopicOrPartition}) {
    SCOPED_TRACE(NameOf(code));
    state().near_error = code;
    const int64_t before = consumer_->counters().follower_returns;
    Produce(1);
    const absl::Status read = ReadTo(state().end.value());
    EXPECT_TRUE(read.ok()) << read;
    EXPECT_EQ(consumer_->counters().follower_returns, before + 1);
    state().near_error = ErrorCode::kNone;
    // The leader is asked for a follower again after a while.
    world_.RunFor(10 * kSecond);
    const int near = FromFollower();
    Produce(1);
    ASSERT_TRUE(ReadTo(state().end.value()).ok());
    EXPECT_GT(FromFollower(), near);
  }
  EXPECT_EQ(consumer_->counters().resets, 0);
  EXPECT_EQ(consumer_->counters().truncations, 0);
}

TEST_F(ConsumerFollowersTest, ADeadFollowerCostsNoRecord) {
  Produce(5);
  ASSERT_TRUE(ReadTo(5).ok());
  cluster_.Kill(NodeId(2));
  Produce(3);
  ASSERT_TRUE(ReadTo(8).ok());
  EXPECT_GE(consumer_->counters().follower_returns, 1);
}

TEST_F(ConsumerFollowersTest, ANewLeaderIsAskedAgainWhoIsNear) {
  Produce(5);
  ASSERT_TRUE(ReadTo(5).ok());
  cluster_.MoveLeader("t", 0, NodeId(3));
  Produce(3);
  ASSERT_TRUE(ReadTo(8).ok());
  world_.RunFor(10 * kSecond);
  const int near = FromFollower();
  Produce(1);
  ASSERT_TRUE(ReadTo(9).ok());
  EXPECT_GT(FromFollower(), near);
}

TEST_F(ConsumerFollowersTest, NoFollowerIsReadForEverWithoutAskingTheLeader) {
  Produce(1);
  ASSERT_TRUE(ReadTo(1).ok());
  const int at_leader = cluster_.calls["Fetch"] - FromFollower();
  world_.RunFor(client_.metadata_age_max_ms * 1000 + kSecond);
  Produce(1);
  ASSERT_TRUE(ReadTo(2).ok());
  EXPECT_GT(cluster_.calls["Fetch"] - FromFollower(), at_leader);
  EXPECT_EQ(consumer_->counters().follower_returns, 0);
}

}  // namespace
}  // namespace sluice
