// How much a member fetches, and for how long it waits: against brokers in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "client/group/group_consumer.h"
#include "client/producer.h"

namespace sluice {
namespace {

constexpr int64_t kMs = 1'000;
constexpr int64_t kSecond = 1'000 * kMs;

class GroupFetchingTest : public testing::Test {
 protected:
  GroupFetchingTest() {
    groups_.config.initial_rebalance_delay_us = 100 * kMs;
    deps_.client = {executor_.get(), &world_, &cluster_, 1};
    deps_.options.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    metadata_ = std::make_unique<MetadataCache>(deps_.client, deps_.options);
    deps_.metadata = metadata_.get();
    deps_.groups = &groups_;
    producer_ = std::make_unique<Producer>(deps_.client, deps_.options,
                                           ProducerOptions(), metadata_.get());
    options_.membership.group_id = "g";
    options_.reset = GroupReset::kEarliest;
    cluster_.AddTopic("t", 2);
  }
  void TearDown() override {
    ending_ = true;
    consumer_.reset();
    producer_.reset();
  }

  // One member of everything, which polls all the time.
  void Start() {
    consumer_ = std::make_unique<GroupConsumer>(deps_, options_);
    ASSERT_TRUE(consumer_->Subscribe({"t"}).ok());
    Poll();
    ASSERT_TRUE(world_.RunUntil(
        [&] { return consumer_->Assignment().size() == 2; }, 20 * kSecond));
    world_.RunFor(kSecond);  // its fetches are on their way
  }
  void Poll() {
    consumer_->Poll(kSecond, 1 << 20, [this](absl::StatusOr<GroupPoll> polled) {
      if (ending_) return;  // a Poll that waits is told
      ASSERT_TRUE(polled.ok()) << polled.status();
      for (const FetchedBatch& batch : polled->batches) {
        EXPECT_TRUE(ForEachRecord(batch, [&](const DecodedRecord&) {
                      ++read_;
                      return true;
                    }).ok());
      }
      executor_->PostAfter(kMs, [this] { Poll(); });
    });
  }
  void Produce(int partition, size_t bytes) {
    bool acked = false;
    ProducerRecord record;
    record.topic = "t";
    record.value = std::string(bytes, 'v');
    record.partition = PartitionIndex(partition);
    ASSERT_TRUE(producer_->Send(std::move(record), [&](const auto& r) {
      acked = r.ok();
    }).ok());
    ASSERT_TRUE(world_.RunUntil([&] { return acked; }, 10 * kSecond));
  }
  // How long until `count` records were read; all of `within_us` if they were
  // not.
  int64_t TakesUs(int count, int64_t within_us) {
    const int64_t began_us = world_.MonoMicros();
    world_.RunUntil([&] { return read_ >= count; }, within_us);
    return world_.MonoMicros() - began_us;
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 1};
  FakeGroups groups_{&world_, &cluster_};
  GroupMember::Deps deps_;
  GroupConsumerOptions options_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<GroupConsumer> consumer_;
  int read_ = 0;
  bool ending_ = false;
};

TEST_F(GroupFetchingTest, WhatIsThereComesAtOnceByDefault) {
  options_.fetching.fetch_wait_ms_max = 30'000;
  Start();
  Produce(0, 10);
  EXPECT_LT(TakesUs(1, 40 * kSecond), kSecond);
}

// min_bytes: of all partitions of a leader together.
TEST_F(GroupFetchingTest, LessThanItWantsIsWaitedForUntilThereIsEnough) {
  options_.fetching.fetch_wait_ms_max = 30'000;
  options_.fetching.fetch_bytes_min = 5'000;
  Start();
  Produce(0, 3'000);
  EXPECT_EQ(TakesUs(1, 10 * kSecond), 10 * kSecond) << "it did not wait";
  Produce(1, 3'000);
  EXPECT_LT(TakesUs(2, 10 * kSecond), kSecond);
  EXPECT_EQ(read_, 2);
}

// max_wait: then what there is comes.
TEST_F(GroupFetchingTest, ItWaitsNoLongerThanItSaid) {
  options_.fetching.fetch_wait_ms_max = 4'000;
  options_.fetching.fetch_bytes_min = 1'000'000;
  Start();
  Produce(0, 10);
  const int64_t took_us = TakesUs(1, 30 * kSecond);
  EXPECT_EQ(read_, 1);
  // The fetch was on its way for a second or more when the record came.
  EXPECT_LE(took_us, 4 * kSecond);
  Produce(1, 10);
  // The next one began when that was answered.
  const int64_t next_us = TakesUs(2, 30 * kSecond);
  EXPECT_GT(next_us, 3 * kSecond);
  EXPECT_LE(next_us, 4 * kSecond + 100 * kMs);
}

// Seed 1450: where nothing was written after the cut, it stood beyond the end.
TEST_F(GroupFetchingTest, AfterACutItStandsWhereTheLogEnds) {
  Start();
  for (int i = 0; i < 3; ++i) Produce(0, 10);
  TakesUs(3, 10 * kSecond);
  const NamedPartition tp{"t", PartitionIndex(0)};
  ASSERT_EQ(consumer_->Position(tp), Offset(3));
  cluster_.CutLog("t", 0, Offset(1));
  world_.RunFor(10 * kSecond);
  EXPECT_EQ(consumer_->Position(tp), Offset(1));
}

}  // namespace
}  // namespace sluice
