// DeleteRecords on the partitions of a simulated cluster (RP23).
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::map<std::string, std::string> kTwoInSync = {
    {"min.insync.replicas", "2"}};

class PartitionTrimTest : public ShardFixture {
 protected:
  struct Trimmed {
    std::optional<TrimOutcome> outcome;
  };

  std::shared_ptr<Trimmed> Begin(int id, int64_t before,
                                 int64_t timeout_us = 20 * kSecondUs,
                                 bool validate_only = false) {
    auto call = std::make_shared<Trimmed>();
    TrimRequest request;
    request.tp = tp;
    request.before = Offset(before);
    request.deadline_us = world().MonoMicros() + timeout_us;
    request.validate_only = validate_only;
    cluster->AtShard(id, tp, [call, request](Shard& at) {
      at.Trim(request, [call](TrimOutcome outcome) {
        EXPECT_FALSE(call->outcome.has_value());
        call->outcome = std::move(outcome);
      });
    });
    return call;
  }
  TrimOutcome End(const std::shared_ptr<Trimmed>& call) {
    EXPECT_TRUE(world().RunUntil([&] { return call->outcome.has_value(); },
                                 30 * kSecondUs));
    return call->outcome.value_or(TrimOutcome());
  }
  TrimOutcome Trim(int id, int64_t before) { return End(Begin(id, before)); }

  bool RunUntilItBegins(int id, int64_t start) {
    return world().RunUntil(
        [&] { return partition(id).log_start() == Offset(start); }, kSecondUs);
  }

  void AppendMany(int id, int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(
          AppendNow(id, api::Acks::kAll, std::to_string(i)).error.ok());
    }
  }
};

TEST_F(PartitionTrimTest, WhatLiesBelowIsGoneOnEveryReplica) {
  Open(3, kTwoInSync);
  AppendMany(1, 5);
  const TrimOutcome outcome = Trim(1, 3);
  EXPECT_TRUE(outcome.error.ok()) << outcome.error.message;
  EXPECT_EQ(outcome.log_start_offset, Offset(3));
  EXPECT_EQ(outcome.high_watermark, Offset(5));
  EXPECT_EQ(cluster->image().FindPartition(tp)->log_start, Offset(3));
  for (int id = 1; id <= 3; ++id) {
    EXPECT_TRUE(RunUntilItBegins(id, 3)) << id;
  }
  const ReadOutcome below = Read(1, 2);
  EXPECT_EQ(below.error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_THAT(below.error.message, HasSubstr("[3, 5]"));
  EXPECT_THAT(Values(Read(1, 3)), ElementsAre("3", "4"));
  EXPECT_EQ(FindOffset(1, api::OffsetPosition::kEarliest).offset, Offset(3));

  // Again, or to less: nothing moves, and it is no error.
  EXPECT_EQ(Trim(1, 3).log_start_offset, Offset(3));
  const TrimOutcome less = Trim(1, 1);
  EXPECT_TRUE(less.error.ok());
  EXPECT_EQ(less.log_start_offset, Offset(3));
}

TEST_F(PartitionTrimTest, MinusOneTakesAllThatIsCommittedAndNoMore) {
  Open(3, kTwoInSync);
  AppendMany(1, 3);
  EXPECT_EQ(Trim(1, -1).log_start_offset, Offset(3));
  EXPECT_EQ(partition(1).leo(), Offset(3));
  AppendMany(1, 1);
  EXPECT_THAT(Values(Read(1, 3)), ElementsAre("0"));
}

TEST_F(PartitionTrimTest, NeverPastTheHighWatermark) {
  Open(3, kTwoInSync);
  AppendMany(1, 2);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  ASSERT_TRUE(AppendNow(1, api::Acks::kLeader, "hidden").error.ok());
  const TrimOutcome past = End(Begin(1, 3, kSecondUs));
  EXPECT_EQ(past.error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_THAT(past.error.message, HasSubstr("[0, 2)"));
  EXPECT_EQ(past.log_start_offset, Offset(0));
  EXPECT_EQ(End(Begin(1, -2)).error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(partition(1).log_start(), Offset(0));
}

TEST_F(PartitionTrimTest, TheBatchThatHoldsTheOffsetStaysWhole) {
  Open(3, kTwoInSync);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(Finish(Append(1, Batch("ten", Codec::kNone, 10))).error.ok());
  }
  EXPECT_EQ(Trim(1, 9).log_start_offset, Offset(0));
  EXPECT_EQ(Trim(1, 10).log_start_offset, Offset(10));
  EXPECT_EQ(End(Begin(1, 15, kSecondUs, true)).log_start_offset, Offset(10));
  EXPECT_EQ(Trim(1, 15).log_start_offset, Offset(10));
  // Who comes late begins there.
  cluster->Stop(3, SimCluster::End::kKill);
  cluster->Wipe(3);
  cluster->Start(3);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_EQ(partition(3).log_start(), Offset(10));
  EXPECT_EQ(partition(3).leo(), Offset(20));
}

TEST_F(PartitionTrimTest, WhatIsOnTheDiskAloneIsTrimmedToo) {
  Open(1);
  AppendMany(1, 4);
  ASSERT_TRUE(cluster->StopClean(1).ok());
  cluster->Start(1);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(Trim(1, 2).log_start_offset, Offset(2));
}

TEST_F(PartitionTrimTest, ValidateOnlySaysWhereItWouldBegin) {
  Open(1);
  AppendMany(1, 3);
  const TrimOutcome outcome = End(Begin(1, 2, kSecondUs, true));
  EXPECT_TRUE(outcome.error.ok());
  EXPECT_EQ(outcome.log_start_offset, Offset(2));
  EXPECT_EQ(partition(1).log_start(), Offset(0));
  EXPECT_EQ(End(Begin(1, 4, kSecondUs, true)).error.code,
            ErrorCode::kOffsetOutOfRange);
}

TEST_F(PartitionTrimTest, WaitsForNoReplica) {
  Open(3, kTwoInSync);
  AppendMany(1, 3);
  cluster->network().Cut(NodeId(1), NodeId(3));
  ASSERT_TRUE(world().RunUntil(
      [&] { return partition(3).core().state() == replica::State::kAsking; },
      10 * kSecondUs));
  const TrimOutcome outcome = Trim(1, 2);
  EXPECT_TRUE(outcome.error.ok()) << outcome.error.message;
  EXPECT_EQ(outcome.log_start_offset, Offset(2));
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kOffsetOutOfRange);
  // Its leader has not said that what is there is what was committed.
  EXPECT_EQ(partition(3).log_start(), Offset(0));
  cluster->network().Heal();
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_TRUE(RunUntilItBegins(3, 2));
}

TEST_F(PartitionTrimTest, NothingMovesBeforeItIsRecorded) {  // F34
  Open(3, kTwoInSync);
  AppendMany(1, 3);
  cluster->HearLogStarts(false);
  const TrimOutcome outcome = End(Begin(1, 2, kSecondUs / 2));
  EXPECT_EQ(outcome.error.code, ErrorCode::kRequestTimedOut);
  EXPECT_THAT(outcome.error.message, HasSubstr("no controller"));
  EXPECT_THAT(outcome.error.message, HasSubstr("may still happen"));
  EXPECT_EQ(outcome.log_start_offset, Offset(0));
  for (int id = 1; id <= 3; ++id) {
    EXPECT_EQ(partition(id).log_start(), Offset(0)) << id;
  }
  EXPECT_THAT(Values(Read(1, 0)), ElementsAre("0", "1", "2"));
  cluster->HearLogStarts(true);
  EXPECT_TRUE(Trim(1, 2).error.ok());
}

TEST_F(PartitionTrimTest, WhoeverLeadsNextShowsWhatWasShown) {  // F34
  Open(3, kTwoInSync);
  AppendMany(1, 3);
  // Nobody but the leader hears of anything.
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  ASSERT_TRUE(Trim(1, 2).error.ok());
  ASSERT_EQ(FindOffset(1, api::OffsetPosition::kEarliest).offset, Offset(2));
  cluster->Stop(1, SimCluster::End::kPowerLossOfAll);
  cluster->network().Heal();
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  ASSERT_NE(leader(), 1);
  EXPECT_EQ(FindOffset(leader(), api::OffsetPosition::kEarliest).offset,
            Offset(2));
  EXPECT_EQ(Read(leader(), 0).error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_THAT(Values(Read(leader(), 2)), ElementsAre("2"));
}

// The only log that is left ends below: what is gone stays so, and what is
// written anew is not at an offset that was read before.
TEST_F(PartitionTrimTest, F34AnUncleanLeaderBeginsWhereTheLogWasTrimmedTo) {
  Open(2, {{"min.insync.replicas", "1"},
           {"unclean.leader.election.enable", "true"}});
  AppendMany(1, 1);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  cluster->Stop(2, SimCluster::End::kKill);
  AppendMany(1, 3);
  ASSERT_EQ(Trim(1, 3).log_start_offset, Offset(3));
  cluster->Stop(1, SimCluster::End::kKill);
  cluster->Start(2);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  ASSERT_EQ(leader(), 2);
  EXPECT_EQ(FindOffset(2, api::OffsetPosition::kEarliest).offset, Offset(3));
  EXPECT_EQ(AppendNow(2, api::Acks::kAll, "anew").base_offset, Offset(3));
  cluster->Start(1);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  for (int id = 1; id <= 2; ++id) {
    EXPECT_EQ(partition(id).log_start(), Offset(3)) << id;
    EXPECT_EQ(partition(id).leo(), Offset(4)) << id;
  }
  EXPECT_THAT(Values(Read(2, 3)), ElementsAre("anew"));
}

// Epoch by epoch: its question is of a leadership that is over.
TEST_F(PartitionTrimTest, ATrimThatIsAskedTooLateChangesNothing) {
  Open(3, kTwoInSync);
  AppendMany(1, 3);
  const auto call = Begin(1, 2);
  world().RunFor(10);
  cluster->metadata().Fence(1);
  cluster->Publish();
  const TrimOutcome outcome = End(call);
  EXPECT_EQ(outcome.error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(cluster->image().FindPartition(tp)->log_start, Offset(0));
}

TEST_F(PartitionTrimTest, AnAnsweredTrimOutlivesItsLeaderAndEveryRestart) {
  Open(3, kTwoInSync);
  AppendMany(1, 4);
  ASSERT_TRUE(Trim(1, 3).error.ok());
  cluster->Stop(1, SimCluster::End::kPowerLossOfAll);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(Read(leader(), 2).error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_THAT(Values(Read(leader(), 3)), ElementsAre("3"));
  cluster->Stop(2, SimCluster::End::kPowerLossOfAll);
  cluster->Stop(3, SimCluster::End::kPowerLossOfAll);
  cluster->StartAll();
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  for (int id = 1; id <= 3; ++id) {
    EXPECT_TRUE(RunUntilItBegins(id, 3)) << id;
  }
  EXPECT_THAT(Values(Read(leader(), 3)), ElementsAre("3"));
}

TEST_F(PartitionTrimTest, WholeSegmentsLeaveTheDisk) {
  Open(1, {{"segment.bytes", "16384"}});
  const std::string big(6'000, 'x');
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(AppendNow(1, api::Acks::kAll, big).error.ok());
  }
  const size_t before = partition(1).log().segment_count();
  const int64_t bytes = partition(1).log().size_bytes();
  ASSERT_GT(before, 2u);
  ASSERT_TRUE(Trim(1, 7).error.ok());
  // Once the mark is on the disk, which nobody waits for.
  EXPECT_TRUE(world().RunUntil(
      [&] { return partition(1).log().segment_count() < before; }, kSecondUs));
  EXPECT_LT(partition(1).log().size_bytes(), bytes);
  EXPECT_EQ(Read(1, 7).next_offset, Offset(8));
}

TEST_F(PartitionTrimTest, ANewLeaderTrimsNothingBeforeItKnowsWhatIsCommitted) {
  Open(3, kTwoInSync);
  AppendMany(1, 2);
  // Nobody reaches the one that is elected next.
  cluster->network().Cut(NodeId(2), NodeId(3));
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->Stop(1, SimCluster::End::kKill);
  ASSERT_TRUE(world().RunUntil([&] { return leader() == 2; }, kSecondUs));
  ASSERT_FALSE(partition(2).core().hw_is_truth());
  EXPECT_EQ(End(Begin(2, 0)).error.code, ErrorCode::kOffsetNotAvailable);
  cluster->network().Heal();
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(Trim(2, -1).log_start_offset, Offset(2));
}

TEST_F(PartitionTrimTest, OnlyTheLeaderTrims) {
  Open(3);
  const TrimOutcome elsewhere = Trim(2, 0);
  EXPECT_EQ(elsewhere.error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(elsewhere.leader->leader_id, NodeId(1));
}

TEST_F(PartitionTrimTest, SoManyMayWaitAndNoMore) {
  Open(3, kTwoInSync);
  AppendMany(1, 1);
  cluster->HearLogStarts(false);
  std::vector<std::shared_ptr<Trimmed>> calls;
  for (size_t i = 0; i <= Partition::kTrimsWaitingMax; ++i) {
    calls.push_back(Begin(1, 1, kSecondUs / 2));
  }
  size_t busy = 0;
  for (const auto& call : calls) {
    const ErrorCode code = End(call).error.code;
    busy += code == ErrorCode::kBusy ? 1 : 0;
    EXPECT_TRUE(code == ErrorCode::kBusy || code == ErrorCode::kRequestTimedOut);
  }
  EXPECT_EQ(busy, 1u);
}

TEST_F(PartitionTrimTest, AReaderAtTheLogStartIsPastComparing) {
  Open(1);
  AppendMany(1, 2);
  const int32_t epoch = partition(1).core().leader_epoch().value();
  ASSERT_TRUE(Trim(1, -1).error.ok());
  EXPECT_TRUE(ReadAfter(1, 2, epoch).error.ok());
  EXPECT_EQ(ReadAfter(1, 1, epoch).error.code, ErrorCode::kOffsetOutOfRange);
}

}  // namespace
}  // namespace sluice
