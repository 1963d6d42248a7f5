// Idempotent producers at a partition: what is stored, what is known again, on
// whichever replica leads (IP1-IP4, F67).
#include <limits>

#include "broker/idempotent_producer_testing.h"
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using End = SimCluster::End;

const std::map<std::string, std::string> kTwoInSync = {
    {"min.insync.replicas", "2"}};

class Producers : public ShardFixture {
 protected:
  static constexpr int64_t kId = 4711;

  MutableBuffer Numbered(int32_t sequence, int16_t epoch = 0,
                         int64_t id = kId) {
    return MakeBatch({.value = StrCat("v", epoch, "-", sequence),
                      .timestamp_ms = world().WallMillis(),
                      .producer_id = id,
                      .producer_epoch = epoch,
                      .base_sequence = sequence});
  }
  AppendOutcome Produce(int32_t sequence, int16_t epoch = 0,
                        int64_t id = kId) {
    return Finish(Append(leader(), Numbered(sequence, epoch, id)));
  }
  void Store(int count) {
    for (int i = 0; i < count; ++i) {
      const AppendOutcome outcome = Produce(next_++);
      ASSERT_TRUE(outcome.error.ok()) << outcome.error.message;
      EXPECT_FALSE(outcome.duplicate);
    }
  }
  void ExpectStoredAt(const AppendOutcome& outcome, int64_t offset) {
    EXPECT_TRUE(outcome.error.ok()) << outcome.error.message;
    EXPECT_TRUE(outcome.duplicate);
    EXPECT_EQ(outcome.base_offset, Offset(offset));
    EXPECT_EQ(outcome.record_count, 1);
    EXPECT_EQ(outcome.durability, "disk");
  }
  void CutOffFollowers() {
    cluster->network().Cut(NodeId(1), NodeId(2));
    cluster->network().Cut(NodeId(1), NodeId(3));
  }

  int32_t next_ = 0;
};

TEST_F(Producers, ARetryIsAnsweredWithItsPlaceAndNothingIsAppended) {
  Open(3, kTwoInSync);
  Store(7);
  for (int sequence = 2; sequence < 7; ++sequence) {
    ExpectStoredAt(Produce(sequence), sequence);
  }
  EXPECT_EQ(Produce(1).error.code, ErrorCode::kDuplicateSequence);
  EXPECT_EQ(partition(1).leo(), Offset(7));
  EXPECT_EQ(cluster->broker(1)->Counters().duplicates_answered, 5);
}

TEST_F(Producers, WhatDoesNotFollowIsRefusedByNameAndNothingIsAppended) {
  Open(1);
  EXPECT_EQ(Produce(1).error.code, ErrorCode::kUnknownProducerId);
  Store(2);
  EXPECT_EQ(Produce(3).error.code, ErrorCode::kOutOfOrderSequence);
  EXPECT_EQ(Produce(5, /*epoch=*/1).error.code,
            ErrorCode::kOutOfOrderSequence);
  EXPECT_TRUE(Produce(0, /*epoch=*/1).error.ok());
  EXPECT_EQ(Produce(2, /*epoch=*/0).error.code,
            ErrorCode::kInvalidProducerEpoch);
  EXPECT_EQ(partition(1).leo(), Offset(3));
}

// IP2 after a fail-over: the followers know what their leader knew.
TEST_F(Producers, ANewLeaderKnowsARetryAgain) {
  Open(3, kTwoInSync);
  Store(6);
  cluster->Stop(1, End::kKill);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  ASSERT_NE(leader(), 1);
  ExpectStoredAt(Produce(5), 5);
  ExpectStoredAt(Produce(1), 1);
  Store(1);
  EXPECT_EQ(Read(leader(), 0).high_watermark, Offset(7));
}

TEST_F(Producers, APowerCutOfAllForgetsNobody) {
  Open(3, kTwoInSync);
  Store(6);
  for (int id = 1; id <= 3; ++id) cluster->Stop(id, End::kPowerLossOfAll);
  cluster->StartAll();
  ASSERT_TRUE(cluster->RunUntilHealthy(tp)) << cluster->Describe(tp);
  ExpectStoredAt(Produce(5), 5);
  Store(1);
}

// A retry comes while its batch is stored and not committed: nobody is told
// of a record that may still be lost.
TEST_F(Producers, RP21ARetryWaitsForWhatTheFirstAttemptWaitedFor) {
  Open(3, kTwoInSync);
  Store(1);
  CutOffFollowers();
  const auto first = Append(1, Numbered(1), api::Acks::kAll, kSecondUs / 2);
  EXPECT_EQ(Finish(first).error.code, ErrorCode::kRequestTimedOut);
  const auto again = Append(1, Numbered(1), api::Acks::kAll, 60 * kSecondUs);
  const auto at_leader =
      Append(1, Numbered(1), api::Acks::kLeader, 60 * kSecondUs);
  ExpectStoredAt(Finish(at_leader), 1);
  world().RunFor(kSecondUs);
  EXPECT_FALSE(again->outcome.has_value());
  cluster->network().Heal();
  ExpectStoredAt(Finish(again), 1);
  EXPECT_EQ(partition(1).high_watermark(), Offset(2));
}

TEST_F(Producers, ARetryWithoutAcksIsAnsweredAtOnce) {
  Open(1);
  Store(1);
  const AppendOutcome outcome =
      Finish(Append(1, Numbered(0), api::Acks::kNone));
  EXPECT_TRUE(outcome.duplicate);
  EXPECT_EQ(outcome.base_offset, kNoOffset);
}

// IP4: the suffix of a deposed leader goes, and what it said of producers.
TEST_F(Producers, ACutReplicaKnowsWhatItsLeaderKnows) {
  Open(3, kTwoInSync);
  Store(6);
  CutOffFollowers();
  for (int sequence = 6; sequence < 10; ++sequence) {
    Finish(Append(1, Numbered(sequence), api::Acks::kLeader));
  }
  ASSERT_EQ(partition(1).leo(), Offset(10));
  cluster->metadata().Fence(1);
  cluster->Publish();
  ASSERT_TRUE(cluster->RunUntilLed(tp));
  ASSERT_NE(leader(), 1);
  next_ = 6;
  Store(1);  // at the new leader: the same sequence, another record
  cluster->network().Heal();
  cluster->metadata().Unfence(1);
  cluster->Publish();
  ASSERT_TRUE(cluster->RunUntilHealthy(tp)) << cluster->Describe(tp);
  EXPECT_EQ(partition(1).leo(), Offset(7));
  EXPECT_EQ(partition(1).log().producers(), partition(2).log().producers());
  EXPECT_EQ(ProducersAgainstLog(partition(1).log()), "");
}

TEST_F(Producers, TypedAndRawCompressedBatchesAreJudgedAlike) {
  Open(1);
  const auto batch = [&](Codec codec) {
    return MakeBatch({.records = 3, .codec = codec, .value = "same",
                      .timestamp_ms = world().WallMillis(),
                      .producer_id = kId, .producer_epoch = 0,
                      .base_sequence = 0});
  };
  EXPECT_TRUE(Finish(Append(1, batch(Codec::kLz4))).error.ok());
  const AppendOutcome again = Finish(Append(1, batch(Codec::kNone)));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.record_count, 3);
  EXPECT_EQ(partition(1).leo(), Offset(3));
}

// ---- Correctness.md 5.3, Produce ----

TEST_F(Producers, TwoProducersInOnePayloadAreRefused) {
  Open(1);
  const MutableBuffer one = Numbered(0);
  for (const MutableBuffer& other :
       {Numbered(0, 0, kId + 1), Numbered(1, 1), Batch("v")}) {
    const auto call = Append(
        1, Concatenate({{one.data(), one.size()},
                        {other.data(), other.size()}}));
    EXPECT_EQ(Finish(call).error.code, ErrorCode::kInvalidRecord);
  }
  EXPECT_EQ(partition(1).leo(), Offset(0));
}

TEST_F(Producers, HalfAnIdentityInABatchIsRefused) {
  Open(1);
  struct Identity {
    int64_t id;
    int16_t epoch;
    int32_t sequence;
  };
  for (const Identity& bad : {Identity{7, -1, 0}, Identity{7, 0, -1},
                              Identity{-2, 0, 0}}) {
    const auto call = Append(1, Numbered(bad.sequence, bad.epoch, bad.id));
    EXPECT_EQ(Finish(call).error.code, ErrorCode::kInvalidRecord);
  }
  EXPECT_TRUE(partition(1).log().producers().empty());
}

TEST_F(Producers, ALastSequenceIsFollowedByZero) {
  Open(1);
  ASSERT_TRUE(Produce(0).error.ok());
  // One batch cannot hold so many: what the log says is taken as it is.
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(Produce(kLast).error.code, ErrorCode::kOutOfOrderSequence);
}

// ---- Who goes ----

TEST_F(Producers, WhoIsSilentForLongIsForgotten) {
  SimCluster::Options options;
  options.node_defaults = {{"producer.id.expiration.ms", "600000"}};
  Open(1, {}, options);
  Store(1);
  ASSERT_TRUE(Produce(0, 0, kId + 1).error.ok());
  world().RunFor(300 * kSecondUs);
  Store(1);
  world().RunFor(400 * kSecondUs);
  const ProducerTable& known = partition(1).log().producers();
  EXPECT_NE(known.Find(ProducerId(kId)), nullptr);
  EXPECT_EQ(known.Find(ProducerId(kId + 1)), nullptr);
  world().RunFor(400 * kSecondUs);
  EXPECT_TRUE(known.empty());
  EXPECT_EQ(Produce(2).error.code, ErrorCode::kUnknownProducerId);
}

// ---- All at once ----

TEST(ProducersRandom, EachRecordIsStoredOnceInItsOrderWhateverHappens) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(StrCat("seed ", seed));
    RunIdempotentProducers(seed);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace sluice
