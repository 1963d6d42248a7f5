#include "client/consumer.h"

#include <map>
#include <string>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/producer.h"
#include "common/base/error.h"
#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class ConsumerTest : public testing::Test {
 protected:
  void Start(ConsumerOptions options = {}) {
    deps_ = {executor_.get(), &world_, &cluster_, 1};
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                         FakeCluster::EndpointOf(NodeId(2))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    ProducerOptions small;
    small.batch_bytes = 16 << 10;  // what a fetch goes beyond its limit by
    producer_ =
        std::make_unique<Producer>(deps_, client_, small, metadata_.get());
    consumer_ =
        std::make_unique<Consumer>(deps_, client_, options, metadata_.get());
  }

  void TearDown() override {
    consumer_.reset();
    producer_.reset();
  }

  static NamedPartition Tp(int partition) {
    return {"t", PartitionIndex(partition)};
  }

  void Produce(int first, int count, int partition) {
    int acked = 0;
    for (int i = first; i < first + count; ++i) {
      ProducerRecord record;
      record.topic = "t";
      record.value = std::to_string(i);
      record.partition = PartitionIndex(partition);
      ASSERT_TRUE(producer_
                      ->Send(std::move(record),
                             [&](const auto& result) { acked += result.ok(); })
                      .ok());
    }
    ASSERT_TRUE(world_.RunUntil([&] { return acked == count; }, 10 * kSecond));
  }

  absl::StatusOr<Consumer::Batches> Poll(int64_t timeout_us = kSecond) {
    std::optional<absl::StatusOr<Consumer::Batches>> answer;
    consumer_->Poll(timeout_us, 1 << 20,
                    [&](auto batches) { answer = std::move(batches); });
    EXPECT_TRUE(world_.RunUntil([&] { return answer.has_value(); },
                                timeout_us + kSecond));
    return *std::move(answer);
  }

  // Polls until `count` values of a partition came; checks offsets on the way.
  std::vector<int> ReadValues(int partition, size_t count) {
    std::vector<int> values;
    for (int polls = 0; polls < 1000 && values.size() < count; ++polls) {
      auto batches = Poll();
      EXPECT_TRUE(batches.ok()) << batches.status();
      if (!batches.ok()) break;
      for (const FetchedBatch& batch : *batches) {
        EXPECT_TRUE(ForEachRecord(batch, [&](const DecodedRecord& record) {
                      EXPECT_GE(record.offset, batch.from);
                      EXPECT_LT(record.offset, batch.next);
                      if (batch.tp == Tp(partition)) {
                        values.push_back(std::stoi(std::string(*record.value)));
                      }
                      return true;
                    }).ok());
      }
    }
    return values;
  }

  static std::vector<int> Range(int first, int count) {
    std::vector<int> all;
    for (int i = first; i < first + count; ++i) all.push_back(i);
    return all;
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  ClientDeps deps_;
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<Consumer> consumer_;
};

TEST_F(ConsumerTest, EarliestReadsAllInOrderOnceEach) {
  cluster_.AddTopic("t", 2);
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  options.partition_bytes_max = 500;  // many fetches
  Start(options);
  Produce(0, 500, 0);
  Produce(1000, 50, 1);
  consumer_->Assign({Tp(0), Tp(1)});
  EXPECT_EQ(ReadValues(0, 500), Range(0, 500));
  EXPECT_EQ(consumer_->Position(Tp(0)), Offset(500));
  EXPECT_EQ(consumer_->HighWatermark(Tp(0)), Offset(500));
}

TEST_F(ConsumerTest, APartitionThatIsAddedIsReadFromItsBeginning) {
  cluster_.AddTopic("t", 1);
  client_.metadata_age_max_ms = 1'000;
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  Start(options);
  Produce(0, 5, 0);
  consumer_->Assign({Tp(0)});
  EXPECT_EQ(ReadValues(0, 5), Range(0, 5));
  v1::CreatePartitionsRequest more;
  more.add_topics()->mutable_topic()->set_name("t");
  more.mutable_topics(0)->set_total_count(2);
  cluster_.Grow(more);
  world_.RunFor(2 * kSecond);
  Produce(5, 5, 1);
  consumer_->Assign({Tp(0), Tp(1)});
  EXPECT_EQ(ReadValues(1, 5), Range(5, 5));
}

TEST_F(ConsumerTest, LatestSkipsWhatWasThere) {
  cluster_.AddTopic("t", 1);
  Start();
  Produce(0, 10, 0);
  consumer_->Assign({Tp(0)});
  ASSERT_TRUE(world_.RunUntil(
      [&] { return consumer_->Position(Tp(0)).has_value(); }, kSecond));
  Produce(10, 5, 0);
  EXPECT_EQ(ReadValues(0, 5), Range(10, 5));
}

TEST_F(ConsumerTest, APausedPartitionRestsAndGoesOnWhereItStood) {
  cluster_.AddTopic("t", 2);
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  Start(options);
  Produce(0, 10, 0);
  consumer_->Assign({Tp(0), Tp(1)});
  EXPECT_EQ(ReadValues(0, 10), Range(0, 10));
  Produce(10, 5, 0);
  world_.RunFor(kSecond);  // it is fetched, and not given
  consumer_->Pause(Tp(0));
  Produce(100, 3, 1);
  EXPECT_EQ(ReadValues(1, 3), Range(100, 3));
  EXPECT_TRUE(Poll()->empty());
  EXPECT_EQ(consumer_->Position(Tp(0)), Offset(10));
  EXPECT_EQ(consumer_->PositionEpoch(Tp(0)), LeaderEpoch(1));
  consumer_->Resume(Tp(0));
  EXPECT_EQ(ReadValues(0, 5), Range(10, 5));
  EXPECT_EQ(consumer_->counters().truncations, 0);
}

TEST_F(ConsumerTest, WhatWasFetchedIsGivenInSlices) {
  cluster_.AddTopic("t", 1);
  Start();
  Produce(0, 10, 0);
  consumer_->Assign({Tp(0)});
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(2)).ok());
  auto batches = Poll();
  ASSERT_TRUE(batches.ok() && batches->size() == 1);
  FetchedBatch rest = batches->at(0);
  rest.truncated_from = Offset(4);
  std::vector<int> values;
  std::vector<Offset> ends;
  while (rest.from < rest.next) {
    const FetchedBatch front = TakeFront(rest, 3);
    EXPECT_EQ(front.truncated_from, ends.empty() ? Offset(4) : kNoOffset);
    EXPECT_EQ(front.last_epoch, LeaderEpoch(1));
    ends.push_back(front.next);
    ASSERT_TRUE(ForEachRecord(front, [&](const DecodedRecord& record) {
                  values.push_back(std::stoi(std::string(*record.value)));
                  return true;
                }).ok());
  }
  EXPECT_EQ(values, Range(2, 8));
  EXPECT_EQ(ends, (std::vector<Offset>{Offset(5), Offset(8), Offset(10)}));
}

TEST_F(ConsumerTest, SeekIntoABatchGivesNoEarlierRecord) {
  cluster_.AddTopic("t", 1);
  Start();
  Produce(0, 100, 0);  // one batch
  consumer_->Assign({Tp(0)});
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(42)).ok());
  EXPECT_EQ(ReadValues(0, 58), Range(42, 58));
}

TEST_F(ConsumerTest, SeekDropsWhatWasFetchedAndWhatIsOnItsWay) {
  cluster_.AddTopic("t", 1);
  Start();
  Produce(0, 10, 0);
  consumer_->Assign({Tp(0)});
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(0)).ok());
  for (int64_t wait_us : {0, 300, 1'000, 2'000, 5'000}) {
    world_.RunFor(wait_us);
    ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(7)).ok());
    EXPECT_EQ(ReadValues(0, 3), Range(7, 3));
    ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(0)).ok());
  }
  EXPECT_EQ(CodeOf(consumer_->Seek(Tp(5), Offset(0))),
            ErrorCode::kInvalidRequest);
}

TEST_F(ConsumerTest, OutOfRangeFollowsThePolicy) {
  cluster_.AddTopic("t", 1);
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  Start(options);
  Produce(0, 10, 0);
  consumer_->Assign({Tp(0)});
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(999)).ok());
  EXPECT_EQ(ReadValues(0, 10), Range(0, 10));
  EXPECT_EQ(consumer_->counters().resets, 1);
}

TEST_F(ConsumerTest, OutOfRangeWithoutPolicyIsAnErrorUntilSeek) {
  cluster_.AddTopic("t", 2);
  ConsumerOptions options;
  options.reset = OffsetReset::kNone;
  Start(options);
  Produce(0, 10, 0);
  Produce(0, 10, 1);
  consumer_->Assign({Tp(0), Tp(1)});
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(999)).ok());
  ASSERT_TRUE(consumer_->Seek(Tp(1), Offset(0)).ok());
  bool failed = false;
  bool read = false;
  for (int i = 0; i < 3; ++i) {
    auto batches = Poll(100'000);
    if (batches.ok()) {
      read |= !batches->empty();
    } else {
      EXPECT_EQ(CodeOf(batches.status()), ErrorCode::kOffsetOutOfRange);
      EXPECT_FALSE(failed) << "told twice";
      failed = true;
    }
  }
  EXPECT_TRUE(failed);
  EXPECT_TRUE(read) << "the other partition goes on";
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(3)).ok());
  EXPECT_EQ(ReadValues(0, 7), Range(3, 7));
}

TEST_F(ConsumerTest, LongPollBringsANewRecordAtOnce) {
  cluster_.AddTopic("t", 1);
  Start();
  consumer_->Assign({Tp(0)});
  world_.RunFor(5 * kSecond);
  EXPECT_LT(consumer_->counters().fetches, 15) << "polls too often when idle";
  Produce(0, 1, 0);
  const int64_t produced_us = world_.MonoMicros();
  EXPECT_EQ(ReadValues(0, 1), Range(0, 1));
  EXPECT_LT(world_.MonoMicros() - produced_us, 20'000);
}

TEST_F(ConsumerTest, LeadersAreFollowedWithoutGapOrRepeat) {
  cluster_.AddTopic("t", 1);
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  Start(options);
  consumer_->Assign({Tp(0)});
  for (int round = 0; round < 6; ++round) {
    cluster_.hints = round % 2 == 0;
    Produce(round * 20, 20, 0);
    EXPECT_EQ(ReadValues(0, 20), Range(round * 20, 20));
    if (round == 3) {
      cluster_.Kill(NodeId(1));
      cluster_.ElectAfterDeathOf(NodeId(1));
    } else {
      cluster_.MoveLeader("t", 0, NodeId(2 + round % 2));
    }
  }
}

// ---- Logs that are cut (KIP-320) ----

class CutLogTest : public ConsumerTest {
 protected:
  void Begin(OffsetReset reset) {
    cluster_.AddTopic("t", 1);
    ConsumerOptions options;
    options.reset = reset;
    Start(options);
    consumer_->Assign({Tp(0)});
    ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(0)).ok());
  }
  // One batch each.
  void ProduceOneByOne(int first, int count) {
    for (int i = first; i < first + count; ++i) Produce(i, 1, 0);
  }
};

TEST_F(CutLogTest, WithoutPolicyItIsAnErrorThatSaysWhereToReadOn) {
  Begin(OffsetReset::kNone);
  ProduceOneByOne(0, 10);
  EXPECT_EQ(ReadValues(0, 10), Range(0, 10));
  const LeaderEpoch epoch = consumer_->PositionEpoch(Tp(0));
  EXPECT_EQ(epoch, LeaderEpoch(1));
  cluster_.CutLog("t", 0, Offset(7));
  ProduceOneByOne(70, 9);  // the new history is longer: no offset tells

  absl::Status told;
  for (int i = 0; i < 5 && told.ok(); ++i) {
    const auto batches = Poll();
    told = batches.status();
    if (!batches.ok()) continue;
    EXPECT_TRUE(batches->empty()) << "of the other history";
  }
  EXPECT_EQ(CodeOf(told), ErrorCode::kLogTruncated);
  EXPECT_NE(told.message().find("cut to offset 7 below offset 10"),
            std::string::npos)
      << told;
  EXPECT_EQ(consumer_->Position(Tp(0)), Offset(7));
  EXPECT_EQ(consumer_->counters().truncations, 1);
  // It rests until the application has decided.
  ASSERT_TRUE(Poll().ok());
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(7), epoch).ok());
  EXPECT_EQ(ReadValues(0, 9), Range(70, 9));
  EXPECT_GT(consumer_->PositionEpoch(Tp(0)), epoch);
}

TEST_F(CutLogTest, WithAPolicyItGoesOnWhereTheHistoriesPartAndSaysSo) {
  Begin(OffsetReset::kLatest);
  ProduceOneByOne(0, 10);
  EXPECT_EQ(ReadValues(0, 10), Range(0, 10));
  cluster_.CutLog("t", 0, Offset(7));
  ProduceOneByOne(70, 2);
  std::vector<std::pair<Offset, Offset>> told;
  std::vector<int> values;
  for (int i = 0; i < 20 && values.size() < 2; ++i) {
    auto batches = Poll();
    ASSERT_TRUE(batches.ok());
    for (const FetchedBatch& batch : *batches) {
      if (batch.truncated_from != kNoOffset) {
        told.emplace_back(batch.from, batch.truncated_from);
      }
      EXPECT_TRUE(ForEachRecord(batch, [&](const DecodedRecord& record) {
                    values.push_back(std::stoi(std::string(*record.value)));
                    return true;
                  }).ok());
    }
  }
  EXPECT_EQ(values, Range(70, 2));
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0], (std::pair{Offset(7), Offset(10)}));
  EXPECT_EQ(consumer_->counters().resets, 0);
}

TEST_F(CutLogTest, WhatWasFetchedButNotGivenIsFetchedAgainInSilence) {
  Begin(OffsetReset::kNone);
  ProduceOneByOne(0, 5);
  EXPECT_EQ(ReadValues(0, 5), Range(0, 5));
  ProduceOneByOne(5, 5);
  world_.RunFor(kSecond);  // fetched ahead
  cluster_.CutLog("t", 0, Offset(7));
  ProduceOneByOne(70, 3);
  world_.RunFor(kSecond);
  EXPECT_EQ(ReadValues(0, 5), (std::vector<int>{5, 6, 70, 71, 72}));
  EXPECT_EQ(consumer_->counters().truncations, 0);
}

TEST_F(CutLogTest, TheEarlierOfTwoEndsOfAnEpochCounts) {
  Begin(OffsetReset::kNone);
  ProduceOneByOne(0, 4);  // epoch 1
  cluster_.MoveLeader("t", 0, NodeId(2));
  ProduceOneByOne(4, 4);  // epoch 2
  EXPECT_EQ(ReadValues(0, 8), Range(0, 8));
  // The next leader has neither of the last two records of epoch 1 nor all of
  // epoch 2, and an epoch in between that was never read here.
  cluster_.CutLog("t", 0, Offset(2));
  ProduceOneByOne(20, 9);
  absl::Status told;
  for (int i = 0; i < 5 && told.ok(); ++i) told = Poll().status();
  EXPECT_EQ(CodeOf(told), ErrorCode::kLogTruncated);
  EXPECT_EQ(consumer_->Position(Tp(0)), Offset(2));
}

TEST_F(CutLogTest, ASoughtEpochIsCheckedToo) {
  Begin(OffsetReset::kNone);
  ProduceOneByOne(0, 5);
  cluster_.CutLog("t", 0, Offset(3));
  ProduceOneByOne(30, 5);
  ASSERT_TRUE(consumer_->Seek(Tp(0), Offset(5), LeaderEpoch(1)).ok());
  absl::Status told;
  for (int i = 0; i < 5 && told.ok(); ++i) told = Poll().status();
  EXPECT_EQ(CodeOf(told), ErrorCode::kLogTruncated);
  EXPECT_EQ(consumer_->Position(Tp(0)), Offset(3));
}

TEST_F(CutLogTest, CleanMovesOfTheLeaderAreNoCuts) {
  Begin(OffsetReset::kNone);
  for (int round = 0; round < 40; ++round) {  // more epochs than are kept
    ProduceOneByOne(round, 1);
    EXPECT_EQ(ReadValues(0, 1), Range(round, 1));
    cluster_.MoveLeader("t", 0, NodeId(1 + round % 3));
  }
  EXPECT_EQ(consumer_->counters().truncations, 0);
}

TEST_F(ConsumerTest, FetchesAheadNoFurtherThanItsBuffer) {
  cluster_.AddTopic("t", 3);
  ConsumerOptions options;
  options.reset = OffsetReset::kEarliest;
  options.partition_bytes_max = 1000;
  options.buffer_bytes_max = 2000;
  Start(options);
  for (int p = 0; p < 3; ++p) Produce(0, 3000, p);
  consumer_->Assign({Tp(0), Tp(1), Tp(2)});
  world_.RunFor(5 * kSecond);
  // Each answer in flight may bring one batch (16 KiB) beyond.
  EXPECT_LT(consumer_->counters().bytes_fetched, 3 * 18'000);
  EXPECT_EQ(ReadValues(0, 3000), Range(0, 3000));
}

TEST_F(ConsumerTest, PollTimesOutEmptyAndAnswersOneAtATime) {
  cluster_.AddTopic("t", 1);
  Start();
  consumer_->Assign({Tp(0)});
  const int64_t before_us = world_.MonoMicros();
  const auto batches = Poll(700'000);
  ASSERT_TRUE(batches.ok());
  EXPECT_TRUE(batches->empty());
  EXPECT_EQ(world_.MonoMicros() - before_us, 700'000);
  absl::Status second;
  absl::Status first;
  consumer_->Poll(kSecond, 1, [&](auto answer) { first = answer.status(); });
  consumer_->Poll(kSecond, 1, [&](auto answer) { second = answer.status(); });
  EXPECT_EQ(CodeOf(second), ErrorCode::kInvalidRequest);
  consumer_.reset();
  EXPECT_EQ(CodeOf(first), ErrorCode::kShuttingDown);
}

TEST_F(ConsumerTest, UnknownTopicIsToldAfterAWhile) {
  Start();
  consumer_->Assign({Tp(0)});
  absl::Status status;
  for (int i = 0; i < 20 && status.ok(); ++i) status = Poll().status();
  EXPECT_EQ(CodeOf(status), ErrorCode::kUnknownTopicOrPartition);
}

TEST_F(ConsumerTest, DamagedBatchIsRefusedWhole) {
  cluster_.AddTopic("t", 1);
  Start();
  Produce(0, 3, 0);
  std::string bytes(cluster_.topic("t").partitions[0].batches[0].view());
  bytes.back() ^= 1;
  FetchedBatch fetched{Tp(0), {Buffer::Take(bytes)}, Offset(0), Offset(3)};
  int shown = 0;
  const auto status =
      ForEachRecord(fetched, [&](const DecodedRecord&) { return ++shown > 0; });
  EXPECT_EQ(CodeOf(status), ErrorCode::kCorruptMessage);
  EXPECT_EQ(shown, 0);
}

}  // namespace
}  // namespace sluice
