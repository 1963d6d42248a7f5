#include "client/producer.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/fake_cluster_testing.h"
#include "common/base/error.h"
#include "common/base/murmur2.h"
#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class ProducerTest : public testing::Test {
 protected:
  explicit ProducerTest(int brokers = 3) : cluster_(&world_, brokers) {}

  void Start(ProducerOptions options = {}, uint64_t seed = 1) {
    deps_ = {executor_.get(), &world_, &cluster_, seed};
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1)),
                         FakeCluster::EndpointOf(NodeId(2)),
                         FakeCluster::EndpointOf(NodeId(3))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    producer_ =
        std::make_unique<Producer>(deps_, client_, options, metadata_.get());
  }

  void TearDown() override { producer_.reset(); }  // settles into outcomes_

  // The value is the number in the order sent.
  absl::Status Send(int number, std::optional<int> partition = std::nullopt,
                    std::optional<std::string> key = std::nullopt) {
    ProducerRecord record;
    record.topic = "t";
    record.key = key;
    record.value = std::to_string(number);
    if (partition.has_value()) record.partition = PartitionIndex(*partition);
    return producer_->Send(std::move(record), [this,
                                               number](const auto& result) {
      EXPECT_FALSE(outcomes_.contains(number)) << number << " settled twice";
      outcomes_.emplace(number, result);
    });
  }

  bool AllAcked(int count) {
    int acked = 0;
    for (const auto& [number, outcome] : outcomes_) acked += outcome.ok();
    return acked == count;
  }

  ErrorCode CodeAt(int number) { return CodeOf(outcomes_.at(number).status()); }

  // First occurrences rise: nothing was reordered; all are there.
  void ExpectOrderedAndComplete(int partitions, int count) {
    std::set<int> seen;
    for (int p = 0; p < partitions; ++p) {
      int last = -1;
      for (const auto& stored : cluster_.Read("t", p)) {
        const int number = std::stoi(stored.value);
        if (!seen.insert(number).second) continue;
        EXPECT_GT(number, last) << "reordered in partition " << p;
        last = number;
      }
    }
    EXPECT_EQ(seen.size(), static_cast<size_t>(count));
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_;
  ClientDeps deps_;
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::map<int, absl::StatusOr<RecordMetadata>> outcomes_;
};

TEST_F(ProducerTest, EachRecordLearnsItsOffset) {
  cluster_.AddTopic("t", 2);
  Start();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Send(i, i % 2).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(100); }, kSecond));
  for (int p = 0; p < 2; ++p) {
    for (const auto& stored : cluster_.Read("t", p)) {
      const auto& outcome = outcomes_.at(std::stoi(stored.value));
      EXPECT_EQ(outcome->offset, stored.offset);
      EXPECT_EQ(outcome->partition, PartitionIndex(p));
    }
  }
  EXPECT_EQ(producer_->buffered_bytes(), 0);
  EXPECT_EQ(producer_->counters().batches_retried, 0);
}

// The producer learns of it with its metadata, and nothing has to be said.
TEST_F(ProducerTest, APartitionThatIsAddedIsWrittenToOnceItIsKnown) {
  cluster_.AddTopic("t", 1);
  client_.metadata_age_max_ms = 2'000;
  Start();
  ASSERT_TRUE(Send(0, std::nullopt, "key").ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  v1::CreatePartitionsRequest more;
  more.add_topics()->mutable_topic()->set_name("t");
  more.mutable_topics(0)->set_total_count(8);
  cluster_.Grow(more);
  world_.RunFor(3 * kSecond);
  ASSERT_TRUE(Send(1, 7).ok());
  for (int i = 2; i < 50; ++i) {
    ASSERT_TRUE(Send(i, std::nullopt, "key" + std::to_string(i)).ok());
  }
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(50); }, kSecond));
  EXPECT_EQ(outcomes_.at(1)->partition, PartitionIndex(7));
  for (int i = 2; i < 50; ++i) {
    EXPECT_EQ(outcomes_.at(i)->partition,
              PartitionForKey("key" + std::to_string(i), 8));
  }
}

TEST_F(ProducerTest, KeysGoWhereKafkaPutsThem) {
  cluster_.AddTopic("t", 7);
  Start();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(Send(i, std::nullopt, "key" + std::to_string(i)).ok());
  }
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(50); }, kSecond));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(outcomes_.at(i)->partition,
              PartitionForKey("key" + std::to_string(i), 7));
  }
}

TEST_F(ProducerTest, KeylessRecordsStickToAPartitionForABatch) {
  cluster_.AddTopic("t", 4);
  ProducerOptions options;
  options.batch_bytes = 2000;
  Start(options);
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(Send(i).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(2000); }, kSecond));
  int changes = 0;
  std::set<int> used;
  for (int i = 1; i < 2000; ++i) {
    changes += outcomes_.at(i)->partition != outcomes_.at(i - 1)->partition;
    used.insert(outcomes_.at(i)->partition.value());
  }
  EXPECT_EQ(used.size(), 4u);
  EXPECT_LT(changes, 200);  // not a record here, a record there
}

TEST_F(ProducerTest, LingerGathersAndOneRequestCarriesAllPartitionsOfALeader) {
  cluster_.AddTopic("t", 9);  // three each
  Start();
  ASSERT_TRUE(Send(0, 0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  cluster_.calls.clear();
  for (int i = 1; i < 901; ++i) ASSERT_TRUE(Send(i, i % 9).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(901); }, kSecond));
  EXPECT_EQ(cluster_.calls["Produce"], 3);
  EXPECT_EQ(cluster_.max_partitions_per_request, 3);
}

TEST_F(ProducerTest, FullBatchesThatPiledUpTravelTogether) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options;
  options.enable_idempotence = false;
  options.batch_bytes = 1000;
  Start(options);
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(Send(i).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(5000); }, kSecond));
  EXPECT_GT(cluster_.max_payload_batches, 10);
  EXPECT_EQ(cluster_.max_in_flight, 1);
  ExpectOrderedAndComplete(1, 5000);
}

TEST_F(ProducerTest, HintOfNotLeaderIsFollowedWithoutAMetadataRoundTrip) {
  cluster_.AddTopic("t", 1);
  Start();
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  cluster_.FreezeMetadata();
  cluster_.stale_metadata = true;
  cluster_.MoveLeader("t", 0, NodeId(2));
  const int64_t before_us = world_.MonoMicros();
  ASSERT_TRUE(Send(1).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(2); }, kSecond));
  EXPECT_LT(world_.MonoMicros() - before_us, 15'000);
}

TEST_F(ProducerTest, StaleMetadataNeverOverridesANewerHint) {
  cluster_.AddTopic("t", 1);
  Start();
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  cluster_.FreezeMetadata();
  cluster_.stale_metadata = true;
  cluster_.MoveLeader("t", 0, NodeId(2));
  ASSERT_TRUE(Send(1).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(2); }, kSecond));
  metadata_->Refresh();
  world_.RunFor(kSecond);
  const auto leader = metadata_->LeaderOf({"t", PartitionIndex(0)});
  EXPECT_EQ(leader->leader_id, NodeId(2));
}

TEST_F(ProducerTest, DeadLeaderIsLeftSoonAfterTheElection) {
  cluster_.AddTopic("t", 3);
  Start();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Send(i, i).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(3); }, kSecond));
  cluster_.Kill(NodeId(2));
  ASSERT_TRUE(Send(3, 1).ok());
  world_.RunFor(400'000);
  EXPECT_FALSE(outcomes_.contains(3));
  const int64_t elected_us = world_.MonoMicros();
  cluster_.ElectAfterDeathOf(NodeId(2));
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(4); }, kSecond));
  EXPECT_LT(world_.MonoMicros() - elected_us, 120'000);
}

TEST_F(ProducerTest, HungLeaderIsLeftWhenAnotherLeads) {
  cluster_.AddTopic("t", 1);
  Start();
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  cluster_.fate = [](NodeId broker, const std::string&) {
    return broker == NodeId(1) ? FakeCluster::Fate::kHang
                               : FakeCluster::Fate::kDeliver;
  };
  ASSERT_TRUE(Send(1).ok());
  world_.RunFor(3 * kSecond);
  EXPECT_FALSE(outcomes_.contains(1));
  cluster_.MoveLeader("t", 0, NodeId(3));
  // Long before the request's own 30 s; a refresh may hang on broker 1 too.
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(2); }, 6 * kSecond));
  EXPECT_EQ(producer_->counters().batches_retried, 1);
}

// The client starts at another broker with each seed.
class FourBrokersTest : public ProducerTest,
                        public testing::WithParamInterface<int> {
 protected:
  FourBrokersTest() : ProducerTest(4) {}
};

TEST_P(FourBrokersTest, TheLivingAreAskedWhereverTheHungOnesStandBetweenThem) {
  cluster_.AddTopic("t", 1);
  Start({}, static_cast<uint64_t>(GetParam()));
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  cluster_.fate = [](NodeId broker, const std::string&) {
    return broker == NodeId(1) || broker == NodeId(3)
               ? FakeCluster::Fate::kHang
               : FakeCluster::Fate::kDeliver;
  };
  cluster_.MoveLeader("t", 0, NodeId(4));
  ASSERT_TRUE(Send(1).ok());
  // A question hangs on each of the two before one of the others is asked.
  EXPECT_TRUE(world_.RunUntil([&] { return AllAcked(2); },
                              2 * MetadataCache::kRefreshTimeoutUs +
                                  2 * kSecond));
}

INSTANTIATE_TEST_SUITE_P(Seeds, FourBrokersTest, testing::Range(1, 9));

TEST_F(ProducerTest, LostAnswerIsSentAgainAndCounted) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options;
  options.enable_idempotence = false;
  Start(options);
  int lost = 0;
  cluster_.fate = [&](NodeId, const std::string& method) {
    return method == "Produce" && lost++ == 0 ? FakeCluster::Fate::kLoseAnswer
                                              : FakeCluster::Fate::kDeliver;
  };
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  EXPECT_EQ(cluster_.Read("t", 0).size(), 2u);  // at least once
  EXPECT_EQ(producer_->counters().records_retried, 1);
}

TEST_F(ProducerTest, TopicCreatedAMomentLaterIsUsable) {
  Start();
  ASSERT_TRUE(Send(0).ok());
  world_.RunFor(2 * kSecond);
  EXPECT_TRUE(outcomes_.empty());
  cluster_.AddTopic("t", 1);
  EXPECT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
}

TEST_F(ProducerTest, UnknownTopicFailsAfterMaxBlockWithTheBrokersWord) {
  ProducerOptions options;
  options.max_block_ms = 3000;
  Start(options);
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(
      world_.RunUntil([&] { return outcomes_.contains(0); }, 4 * kSecond));
  EXPECT_EQ(CodeAt(0), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(producer_->buffered_bytes(), 0);
  const int asked = cluster_.calls["GetMetadata"];
  world_.RunFor(10 * kSecond);
  EXPECT_LE(cluster_.calls["GetMetadata"], asked + 1) << "still asking";
}

TEST_F(ProducerTest, NoSuchPartitionIsAnErrorOfTheCaller) {
  cluster_.AddTopic("t", 2);
  Start();
  ASSERT_TRUE(Send(0, 2).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return outcomes_.contains(0); }, kSecond));
  EXPECT_EQ(CodeAt(0), ErrorCode::kInvalidRequest);
}

TEST_F(ProducerTest, FullBufferRefusesAndFreesWithAcknowledgements) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options;
  options.buffer_memory = 1000;
  Start(options);
  int sent = 0;
  while (Send(sent).ok()) ++sent;
  EXPECT_GT(sent, 5);
  EXPECT_LE(producer_->buffered_bytes(), 1000);
  EXPECT_EQ(CodeOf(Send(sent)), ErrorCode::kBufferExhausted);
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(sent); }, kSecond));
  EXPECT_TRUE(Send(sent).ok());
}

TEST_F(ProducerTest, DeliveryTimeoutNamesTheLastError) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options;
  options.delivery_timeout_ms = 2000;
  Start(options);
  cluster_.produce_errors.assign(1000, ErrorCode::kNotEnoughReplicas);
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(
      world_.RunUntil([&] { return outcomes_.contains(0); }, 3 * kSecond));
  EXPECT_EQ(CodeAt(0), ErrorCode::kDeliveryTimedOut);
  EXPECT_NE(outcomes_.at(0).status().ToString().find("NOT_ENOUGH_REPLICAS"),
            std::string::npos);
  // 20 to 200 ms apart: neither a storm nor asleep.
  EXPECT_GT(cluster_.calls["Produce"], 8);
  EXPECT_LT(cluster_.calls["Produce"], 40);
}

TEST_F(ProducerTest, DeliveryTimeoutHoldsWhileTheLeaderHangs) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options;
  options.delivery_timeout_ms = 5000;
  Start(options);
  cluster_.fate = [](NodeId, const std::string& method) {
    return method == "Produce" ? FakeCluster::Fate::kHang
                               : FakeCluster::Fate::kDeliver;
  };
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(
      world_.RunUntil([&] { return outcomes_.contains(0); }, 6 * kSecond));
  EXPECT_EQ(CodeAt(0), ErrorCode::kDeliveryTimedOut);
}

TEST_F(ProducerTest, FatalErrorFailsTheBatchAndNotItsNeighbours) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options;
  options.enable_idempotence = false;
  options.batch_bytes = 100;  // a few records each
  Start(options);
  // The first payload of several batches is refused, then its first batch.
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  cluster_.produce_errors = {ErrorCode::kInvalidRecord,
                             ErrorCode::kInvalidRecord};
  for (int i = 1; i < 20; ++i) ASSERT_TRUE(Send(i).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return outcomes_.size() == 20; }, kSecond));
  EXPECT_EQ(CodeAt(1), ErrorCode::kInvalidRecord);
  EXPECT_TRUE(outcomes_.at(19).ok());
  int failed = 0;
  for (const auto& [number, outcome] : outcomes_) failed += !outcome.ok();
  EXPECT_LT(failed, 6);
}

TEST_F(ProducerTest, FlushSkipsTheLingerAndTellsWhenAllIsSettled) {
  cluster_.AddTopic("t", 3);
  ProducerOptions options;
  options.linger_ms = 60'000;
  Start(options);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(Send(i, i % 3).ok());
  bool flushed = false;
  producer_->Flush([&] {
    flushed = true;
    EXPECT_TRUE(AllAcked(30));
  });
  EXPECT_TRUE(world_.RunUntil([&] { return flushed; }, kSecond));
  ASSERT_TRUE(Send(30, 0).ok());
  world_.RunFor(kSecond);
  EXPECT_FALSE(outcomes_.contains(30)) << "lingers again";
}

TEST_F(ProducerTest, ClosingTellsWhatWasNeverSentFromWhatMayBeStored) {
  cluster_.AddTopic("t", 2);
  Start();
  ASSERT_TRUE(Send(0, 0).ok());
  world_.RunFor(kSecond);
  cluster_.fate = [](NodeId, const std::string&) {
    return FakeCluster::Fate::kHang;
  };
  ASSERT_TRUE(Send(1, 0).ok());
  world_.RunFor(100'000);  // in flight
  ASSERT_TRUE(Send(2, 0).ok());
  producer_.reset();
  EXPECT_EQ(CodeAt(1), ErrorCode::kOutcomeUnknown);
  EXPECT_EQ(CodeAt(2), ErrorCode::kShuttingDown);
}

TEST_F(ProducerTest, AcksTravelAsAsked) {
  cluster_.AddTopic("t", 1);
  ProducerOptions options;
  options.acks = 1;
  Start(options);
  ASSERT_TRUE(Send(0).ok());
  ASSERT_TRUE(world_.RunUntil([&] { return AllAcked(1); }, kSecond));
  EXPECT_EQ(cluster_.produce_acks, std::vector<int>{1});
}

// Loss, moves, deaths, errors at random; whatever happens, order and
// completeness hold and nothing is sent twice at a time. Idempotent producers:
// idempotence_test.cc.
TEST_F(ProducerTest, OrderAndCompletenessSurviveRandomFaults) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    producer_.reset();
    metadata_.reset();
    outcomes_.clear();
    cluster_.fate = nullptr;
    cluster_.AddTopic("t", 5);
    ProducerOptions options;
    options.enable_idempotence = false;
    options.batch_bytes = 200;
    options.codec = seed % 2 == 0 ? Codec::kLz4 : Codec::kNone;
    Start(options, seed);
    Random random(seed);
    bool faults = true;
    cluster_.hints = seed % 3 != 0;
    cluster_.fate = [&](NodeId, const std::string&) {
      if (!faults || !random.OneIn(6)) return FakeCluster::Fate::kDeliver;
      return random.OneIn(2) ? FakeCluster::Fate::kLoseAnswer
                             : FakeCluster::Fate::kLoseRequest;
    };
    constexpr int kRecords = 600;
    for (int i = 0; i < kRecords; ++i) {
      ASSERT_TRUE(Send(i, static_cast<int>(random.Below(5))).ok());
      if (random.OneIn(3)) world_.RunFor(random.Between(0, 4'000));
      if (random.OneIn(40)) {
        cluster_.MoveLeader("t", static_cast<int>(random.Below(5)),
                            NodeId(random.Between(1, 3)));
      }
      if (random.OneIn(80)) {
        cluster_.produce_errors.push_back(ErrorCode::kNotEnoughReplicas);
      }
    }
    faults = false;
    ASSERT_TRUE(
        world_.RunUntil([&] { return AllAcked(kRecords); }, 60 * kSecond));
    ExpectOrderedAndComplete(5, kRecords);
    EXPECT_EQ(producer_->buffered_bytes(), 0);
  }
  // Two only where a deposed leader still holds the older one.
  EXPECT_LE(cluster_.max_in_flight, 2);
}

}  // namespace
}  // namespace sluice
