// Idempotent producers: several batches in flight, each record stored once and
// in order (correctness.md IP1-IP3, F67), against a cluster that keeps the
// brokers' rules.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "client/producer.h"
#include "common/base/error.h"
#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

// ---- Numbers ----

TEST(PartitionNumberingTest, SequencesCountRecordsAndWrap) {
  EXPECT_EQ(SequenceAfter(0, 7), 7);
  EXPECT_EQ(SequenceAfter(2147483647, 1), 0);
  EXPECT_EQ(SequenceAfter(2147483640, 10), 2);
  PartitionNumbering numbering;
  numbering.Begin({ProducerId(9), 3});
  EXPECT_EQ(numbering.Take(2147483647).base_sequence, 0);
  EXPECT_EQ(numbering.Take(1).base_sequence, 2147483647);
  EXPECT_EQ(numbering.Take(5).base_sequence, 0);
}

TEST(PartitionNumberingTest, AGapIsLeftBehindInTheNextEpoch) {
  PartitionNumbering numbering;
  numbering.Begin({ProducerId(9), 3});
  numbering.Take(10);
  numbering.Break();
  EXPECT_TRUE(numbering.broken());
  ASSERT_TRUE(numbering.GoOn());
  const BatchNumber next = numbering.Take(1);
  EXPECT_EQ(next.identity, (ProducerIdentity{ProducerId(9), 4}));
  EXPECT_EQ(next.base_sequence, 0);
}

TEST(PartitionNumberingTest, AfterTheLastEpochANewIdIsNeeded) {
  PartitionNumbering numbering;
  numbering.Begin({ProducerId(9), PartitionNumbering::kEpochMax});
  numbering.Break();
  EXPECT_FALSE(numbering.GoOn());
  numbering.Begin({ProducerId(10), 0});
  EXPECT_FALSE(numbering.broken());
}

// ---- Producers ----

class IdempotenceTest : public testing::Test {
 protected:
  void Start(ProducerOptions options = {}, uint64_t seed = 1) {
    producer_.reset();
    metadata_.reset();
    outcomes_.clear();
    deps_ = {executor_.get(), &world_, &cluster_, seed};
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                         FakeCluster::EndpointOf(NodeId(2)),
                         FakeCluster::EndpointOf(NodeId(3))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    producer_ =
        std::make_unique<Producer>(deps_, client_, options, metadata_.get());
  }
  void TearDown() override { producer_.reset(); }  // settles into outcomes_

  static ProducerOptions OneRecordABatch() {
    ProducerOptions options;
    options.enable_idempotence = true;
    options.batch_bytes = 1;
    options.linger_ms = 0;
    return options;
  }

  // The value is the number in the order sent.
  void Send(int number, int partition = 0) {
    ProducerRecord record;
    record.topic = "t";
    record.value = std::to_string(number);
    record.partition = PartitionIndex(partition);
    sent_[partition].push_back(number);
    const absl::Status taken = producer_->Send(
        std::move(record), [this, number](const auto& result) {
          EXPECT_FALSE(outcomes_.contains(number)) << number << " twice";
          outcomes_.emplace(number, result);
        });
    ASSERT_TRUE(taken.ok()) << taken;
  }
  // One batch each, one behind the other.
  void SendMany(int first, int count) {
    for (int i = first; i < first + count; ++i) Send(i);
  }
  bool AwaitSettled(size_t count, int64_t limit_us = 10 * kSecond) {
    return world_.RunUntil([&] { return outcomes_.size() == count; },
                           limit_us);
  }
  std::vector<int> Stored(int partition = 0) {
    std::vector<int> numbers;
    for (const auto& stored : cluster_.Read("t", partition)) {
      numbers.push_back(std::stoi(stored.value));
    }
    return numbers;
  }
  ErrorCode CodeAt(int number) { return CodeOf(outcomes_.at(number).status()); }

  // Stored once, in order; at the offset that was told; what failed with a
  // definite error is not there.
  void CheckLog(int partition) {
    std::map<int, Offset> where;
    int last = -1;
    for (const auto& stored : cluster_.Read("t", partition)) {
      const int number = std::stoi(stored.value);
      EXPECT_GT(number, last) << "DUP or REORDER in partition " << partition;
      last = std::max(last, number);
      where.emplace(number, stored.offset);
    }
    for (const int number : sent_[partition]) {
      const auto outcome = outcomes_.find(number);
      if (outcome == outcomes_.end()) continue;
      const bool stored = where.contains(number);
      if (outcome->second.ok()) {
        ASSERT_TRUE(stored) << number << " is LOST";
        EXPECT_EQ(outcome->second->offset, where.at(number)) << number;
      } else if (CodeAt(number) != ErrorCode::kDeliveryTimedOut &&
                 CodeAt(number) != ErrorCode::kOutcomeUnknown) {
        EXPECT_FALSE(stored) << number << ": " << outcome->second.status();
      }
    }
  }

  // Which produce is lost, by its number since now.
  void LoseProduce(int which, FakeCluster::Fate fate) {
    cluster_.fate = [which, fate, count = 0](
                        NodeId, const std::string& method) mutable {
      if (method != "Produce" || count++ != which) {
        return FakeCluster::Fate::kDeliver;
      }
      return fate;
    };
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  ClientDeps deps_;
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::map<int, absl::StatusOr<RecordMetadata>> outcomes_;
  std::map<int, std::vector<int>> sent_;
};

TEST_F(IdempotenceTest, FiveBatchesAreInFlightAndNoMore) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  SendMany(0, 40);
  ASSERT_TRUE(AwaitSettled(40));
  EXPECT_EQ(cluster_.max_in_flight, 5);
  EXPECT_EQ(cluster_.max_payload_batches, 1);
  EXPECT_EQ(producer_->counters().records_acked, 40);
  EXPECT_EQ(producer_->counters().batches_retried, 0);
  EXPECT_EQ(producer_->counters().streams, 1);
  EXPECT_EQ(cluster_.calls["InitProducerId"], 1);
  CheckLog(0);
}

TEST_F(IdempotenceTest, ALostAnswerIsSentAgainAndDeduplicated) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  LoseProduce(2, FakeCluster::Fate::kLoseAnswer);
  SendMany(0, 12);
  ASSERT_TRUE(AwaitSettled(12));
  EXPECT_EQ(Stored().size(), 12u);
  CheckLog(0);
  EXPECT_GT(producer_->counters().batches_retried, 0);
  EXPECT_GT(producer_->counters().batches_deduplicated, 0);
  EXPECT_EQ(producer_->counters().records_failed, 0);
}

TEST_F(IdempotenceTest, WhatFollowsALostRequestIsSentAgainBehindIt) {
  cluster_.AddTopic("t", 1);
  for (int which = 0; which < 8; ++which) {
    SCOPED_TRACE(which);
    cluster_.AddTopic("t", 1);
    sent_.clear();
    Start(OneRecordABatch());
    LoseProduce(which, FakeCluster::Fate::kLoseRequest);
    SendMany(0, 12);
    ASSERT_TRUE(AwaitSettled(12));
    EXPECT_EQ(producer_->counters().records_acked, 12);
    EXPECT_EQ(Stored().size(), 12u);
    CheckLog(0);
  }
}

TEST_F(IdempotenceTest, ARefusalTakesItsFollowersBackWithIt) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  // The first is refused, those behind it come out of order.
  cluster_.produce_errors = {ErrorCode::kNotEnoughReplicas};
  SendMany(0, 12);
  ASSERT_TRUE(AwaitSettled(12));
  EXPECT_EQ(producer_->counters().records_failed, 0);
  EXPECT_EQ(Stored().size(), 12u);
  CheckLog(0);
}

TEST_F(IdempotenceTest, ALeaderThatMovesTakesThePipelineAlong) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  int moves = 0;
  for (int i = 0; i < 200; ++i) {
    Send(i);
    world_.RunFor(300);
    if (i % 20 == 19) {
      cluster_.MoveLeader("t", 0, NodeId(1 + ++moves % 3));
    }
  }
  ASSERT_TRUE(AwaitSettled(200));
  EXPECT_EQ(producer_->counters().records_acked, 200);
  EXPECT_EQ(producer_->counters().epochs_begun, 0);
  CheckLog(0);
}

TEST_F(IdempotenceTest, ALeaderThatDiesTakesThePipelineAlong) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  SendMany(0, 10);
  ASSERT_TRUE(AwaitSettled(10));
  SendMany(10, 10);
  world_.RunFor(1'200);
  cluster_.Kill(NodeId(1));
  SendMany(20, 10);
  world_.RunFor(100'000);
  cluster_.ElectAfterDeathOf(NodeId(1));
  ASSERT_TRUE(AwaitSettled(30));
  EXPECT_EQ(producer_->counters().records_acked, 30);
  CheckLog(0);
}

TEST_F(IdempotenceTest, ASlowPartitionDelaysOnlyItself) {
  cluster_.AddTopic("t", 4);
  cluster_.answer_delay_us["t-0"] = 20 * kSecond;  // on the broker of 3, too
  Start(OneRecordABatch());
  for (int i = 0; i < 10; ++i) Send(i, 0);
  for (int i = 10; i < 60; ++i) Send(i, 3);
  ASSERT_TRUE(AwaitSettled(50, kSecond));
  EXPECT_FALSE(outcomes_.contains(0));
  ASSERT_TRUE(AwaitSettled(60, 60 * kSecond));
}

// ---- A batch that fails for good ----

TEST_F(IdempotenceTest, BehindADefiniteErrorTheNextEpochBegins) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  Send(0);
  ASSERT_TRUE(AwaitSettled(1));
  cluster_.produce_errors = {ErrorCode::kInvalidRecord};
  SendMany(1, 20);
  ASSERT_TRUE(AwaitSettled(21));
  EXPECT_EQ(CodeAt(1), ErrorCode::kInvalidRecord);
  // Those that were on their way with it: refused, and not stored.
  for (int i = 2; i <= 5; ++i) {
    EXPECT_EQ(CodeAt(i), ErrorCode::kOutOfOrderSequence) << i;
  }
  for (int i = 6; i < 21; ++i) EXPECT_TRUE(outcomes_.at(i).ok()) << i;
  EXPECT_EQ(producer_->counters().epochs_begun, 1);
  CheckLog(0);
}

TEST_F(IdempotenceTest, ATimeoutOfWhatWasSentBeginsTheNextEpoch) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options = OneRecordABatch();
  options.delivery_timeout_ms = 3'000;
  Start(options);
  Send(0);
  ASSERT_TRUE(AwaitSettled(1));
  // Stored, but nobody hears of it until its time is up.
  bool silent = true;
  cluster_.fate = [&](NodeId, const std::string& method) {
    return silent && method == "Produce" ? FakeCluster::Fate::kLoseAnswer
                                         : FakeCluster::Fate::kDeliver;
  };
  Send(1);
  ASSERT_TRUE(AwaitSettled(2));
  EXPECT_EQ(CodeAt(1), ErrorCode::kDeliveryTimedOut);
  silent = false;
  SendMany(2, 10);
  ASSERT_TRUE(AwaitSettled(12));
  for (int i = 2; i < 12; ++i) EXPECT_TRUE(outcomes_.at(i).ok()) << i;
  EXPECT_EQ(Stored().size(), 12u) << "1 was stored, once";
  EXPECT_EQ(producer_->counters().epochs_begun, 1);
  CheckLog(0);
}

TEST_F(IdempotenceTest, ATimeoutNamesTheCauseAndNotWhatFollowedFromIt) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options = OneRecordABatch();
  options.delivery_timeout_ms = 3'000;
  options.on_retry = [](const auto&, const absl::Status& why) {
    EXPECT_EQ(CodeOf(why), ErrorCode::kStorageFull);
  };
  Start(options);
  Send(0);
  ASSERT_TRUE(AwaitSettled(1));
  cluster_.disk_full = true;  // each refusal puts four behind it out of order
  SendMany(1, 5);
  ASSERT_TRUE(AwaitSettled(6));
  const auto text = outcomes_.at(5).status().message();
  EXPECT_NE(text.find("error: STORAGE_FULL"), text.npos) << text;
}

TEST_F(IdempotenceTest, ATimeoutOfWhatWasNeverSentLeavesTheNumbersAlone) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options = OneRecordABatch();
  options.delivery_timeout_ms = 1'000;
  Start(options);
  Send(0);
  ASSERT_TRUE(AwaitSettled(1));
  cluster_.topic("t").partitions[0].leader = kNoNode;
  cluster_.topic("t").partitions[0].epoch = LeaderEpoch(2);
  metadata_->Refresh();
  world_.RunFor(100'000);
  Send(1);
  ASSERT_TRUE(AwaitSettled(2));
  EXPECT_EQ(CodeAt(1), ErrorCode::kDeliveryTimedOut);
  cluster_.MoveLeader("t", 0, NodeId(2));
  Send(2);
  ASSERT_TRUE(AwaitSettled(3));
  EXPECT_TRUE(outcomes_.at(2).ok());
  EXPECT_EQ(producer_->counters().epochs_begun, 0);
}

// Its topic was made again, say (F72). Nothing of the batch is open: it was sent
// once and refused.
TEST_F(IdempotenceTest, AForgottenProducerBeginsAnew) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  Send(0);
  ASSERT_TRUE(AwaitSettled(1));
  cluster_.topic("t").partitions[0].producers.Forget();
  Send(1);
  ASSERT_TRUE(AwaitSettled(2));
  EXPECT_TRUE(outcomes_.at(1).ok());
  EXPECT_EQ(producer_->counters().epochs_begun, 1);
  EXPECT_EQ(Stored().size(), 2u);
  Send(2);
  ASSERT_TRUE(AwaitSettled(3));
  EXPECT_TRUE(outcomes_.at(2).ok());
  CheckLog(0);
}

TEST_F(IdempotenceTest, WhetherARetryWasStoredStaysOpenWhenItIsRefused) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  Send(0);
  ASSERT_TRUE(AwaitSettled(1));
  LoseProduce(0, FakeCluster::Fate::kLoseAnswer);
  Send(1);
  world_.RunFor(2'000);
  cluster_.topic("t").partitions[0].producers.Forget();
  ASSERT_TRUE(AwaitSettled(2));
  EXPECT_EQ(CodeAt(1), ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(Stored(), (std::vector<int>{0, 1}));
}

TEST_F(IdempotenceTest, AnotherOwnerOfTheIdMeansANewId) {
  cluster_.AddTopic("t", 1);
  Start(OneRecordABatch());
  cluster_.produce_errors = {ErrorCode::kInvalidProducerEpoch};
  Send(0);
  ASSERT_TRUE(AwaitSettled(1));
  EXPECT_EQ(CodeAt(0), ErrorCode::kInvalidProducerEpoch);
  Send(1);
  ASSERT_TRUE(AwaitSettled(2));
  EXPECT_TRUE(outcomes_.at(1).ok());
  EXPECT_EQ(cluster_.calls["InitProducerId"], 2);
}

TEST_F(IdempotenceTest, WithoutAProducerIdRecordsWaitAndThenFailByName) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options = OneRecordABatch();
  options.delivery_timeout_ms = 2'000;
  Start(options);
  bool refused = true;
  cluster_.fate = [&](NodeId, const std::string& method) {
    return refused && method == "InitProducerId"
               ? FakeCluster::Fate::kLoseRequest
               : FakeCluster::Fate::kDeliver;
  };
  Send(0);
  ASSERT_TRUE(AwaitSettled(1, 4 * kSecond));
  EXPECT_EQ(CodeAt(0), ErrorCode::kDeliveryTimedOut);
  EXPECT_NE(outcomes_.at(0).status().ToString().find("producer id"),
            std::string::npos);
  EXPECT_EQ(cluster_.calls["Produce"], 0);
  Send(1);
  refused = false;
  ASSERT_TRUE(AwaitSettled(2));
  EXPECT_TRUE(outcomes_.at(1).ok());
}

TEST_F(IdempotenceTest, IdempotenceNeedsAcksOfAll) {
  ProducerOptions options;
  options.acks = 1;
  EXPECT_FALSE(options.idempotent());
  EXPECT_TRUE(options.Check().ok());
  options.enable_idempotence = true;
  EXPECT_EQ(CodeOf(options.Check()), ErrorCode::kInvalidConfig);
  cluster_.AddTopic("t", 1);
  Start(options);
  EXPECT_EQ(CodeOf(producer_->Send({.topic = "t"}, nullptr)),
            ErrorCode::kInvalidConfig);
}

// ---- Whatever happens ----

struct Storm {
  Random random;
  bool blowing = true;
};

// Losses, broken streams, moves, deaths, refusals, times that run out: each
// record is stored once and in order, or failed by name.
TEST_F(IdempotenceTest, OnceAndInOrderThroughRandomFaults) {
  constexpr int kPartitions = 3;
  constexpr int kRecords = 500;
  int64_t acked = 0, failed = 0, deduplicated = 0;
  for (uint64_t seed = 1; seed <= 80; ++seed) {
    SCOPED_TRACE(seed);
    cluster_.AddTopic("t", kPartitions);
    sent_.clear();
    Storm storm{Random(seed)};
    Random& random = storm.random;
    ProducerOptions options;
    options.enable_idempotence = true;
    options.batch_bytes = 150;
    options.linger_ms = static_cast<int64_t>(random.Below(3));
    // A third of the seeds lets time run out.
    const bool impatient = seed % 3 == 0;
    options.delivery_timeout_ms = impatient ? 300 : 120'000;
    Start(options, seed);
    cluster_.hints = seed % 4 != 0;
    cluster_.fate = [&storm](NodeId, const std::string&) {
      if (!storm.blowing || !storm.random.OneIn(12)) {
        return FakeCluster::Fate::kDeliver;
      }
      return storm.random.OneIn(2) ? FakeCluster::Fate::kLoseAnswer
                                   : FakeCluster::Fate::kLoseRequest;
    };
    NodeId dead = kNoNode;
    for (int i = 0; i < kRecords; ++i) {
      Send(i, static_cast<int>(random.Below(kPartitions)));
      if (random.OneIn(3)) world_.RunFor(random.Between(0, 3'000));
      if (random.OneIn(30)) {
        cluster_.MoveLeader("t", static_cast<int>(random.Below(kPartitions)),
                            NodeId(random.Between(1, 3)));
      }
      if (random.OneIn(40)) {
        cluster_.produce_errors.push_back(
            random.OneIn(2) ? ErrorCode::kNotEnoughReplicas
                            : ErrorCode::kInvalidRecord);
      }
      if (random.OneIn(50)) {
        cluster_.BreakStreams(NodeId(random.Between(1, 3)));
      }
      if (dead == kNoNode && random.OneIn(120)) {
        dead = NodeId(random.Between(1, 3));
        cluster_.Kill(dead);
        world_.RunFor(random.Between(0, 50'000));
        cluster_.ElectAfterDeathOf(dead);
      } else if (dead != kNoNode && random.OneIn(30)) {
        cluster_.Start(dead);
        dead = kNoNode;
      }
    }
    storm.blowing = false;
    if (dead != kNoNode) cluster_.Start(dead);
    ASSERT_TRUE(AwaitSettled(kRecords, 200 * kSecond));
    for (int p = 0; p < kPartitions; ++p) CheckLog(p);
    EXPECT_EQ(producer_->buffered_bytes(), 0);
    acked += producer_->counters().records_acked;
    failed += producer_->counters().records_failed;
    deduplicated += producer_->counters().batches_deduplicated;
  }
  EXPECT_LE(cluster_.max_in_flight, 15);  // five at each deposed leader, too
  // The storm is one, and most get through.
  EXPECT_GT(deduplicated, 50);
  EXPECT_GT(failed, 0);
  EXPECT_GT(acked, failed);
}

}  // namespace
}  // namespace sluice
