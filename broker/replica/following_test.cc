// A core that follows: asks, takes what comes, cuts what its leader does not
// confirm.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "broker/replica/core_testing.h"

namespace sluice::replica {
namespace {

class FollowingTest : public CoreTest {};

// ---- Following ----

TEST_F(FollowingTest, AFollowerAsksFromWhereItsLogEnds) {
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(2), *history});
  MetadataChanged m = Metadata();
  m.leader = kB;

  const auto adds = All<SendAdd>(Do(m));

  ASSERT_EQ(adds.size(), 1u);
  EXPECT_EQ(adds[0].leader, kB);
  EXPECT_EQ(adds[0].leader_epoch, LeaderEpoch(1));
  EXPECT_EQ(adds[0].fetch_offset, Offset(4));
  EXPECT_EQ(adds[0].last_fetched_epoch, LeaderEpoch(0));
}

TEST_F(FollowingTest, AnUnansweredQuestionIsRepeatedMoreAndMoreSlowly) {
  Follow();
  int repeated = 0;
  for (int i = 0; i < 100; ++i) {
    if (Has<SendAdd>(Wait(100'000))) ++repeated;
  }
  EXPECT_GE(repeated, 6);
  EXPECT_LE(repeated, 10);  // of 10 s: 0.2 0.4 0.8 1.6 1.6 ...

  EXPECT_TRUE(Has<SendAdd>(Do(LinkOpened{kB})));
  EXPECT_TRUE(Has<SendAdd>(Wait(ReplicaCore::kAskAgainMinUs)));
  EXPECT_FALSE(Has<SendAdd>(Do(LinkOpened{kC})));
}

// Out of the ISR it is owed data, or its place there.
class SilentLeaderTest : public FollowingTest {
 protected:
  MetadataChanged Isr(const std::vector<NodeId>& isr) {
    MetadataChanged m = Metadata();
    m.leader = kB;
    m.isr = isr;
    m.partition_epoch = PartitionEpoch(++partition_epoch_);
    return m;
  }
  // How many questions 100 lag times bring, each accepted and nothing more.
  int AsksWhileAccepted() {
    int asked = 0;
    for (int i = 0; i < 1000; ++i) {
      for (const SendAdd& add : All<SendAdd>(Wait(kLagUs / 10))) {
        EXPECT_TRUE(add.leader_silent);
        ++asked;
        Do(AddAccepted{LeaderEpoch(1), core_->leo()});
        Do(HighWatermarkReceived{LeaderEpoch(1), Offset(0)});
      }
    }
    return asked;
  }
  int partition_epoch_ = 1;
};

TEST_F(SilentLeaderTest, ALeaderThatAcceptsAndSendsNothingIsAskedAnew) {
  Do(Isr({kB, kC}));
  Do(AddAccepted{LeaderEpoch(1), Offset(0)});
  EXPECT_FALSE(Has<SendAdd>(Wait(kLagUs - 1)));
  const auto adds = All<SendAdd>(Wait(1));
  ASSERT_EQ(adds.size(), 1u);
  EXPECT_TRUE(adds[0].leader_silent);
  EXPECT_EQ(adds[0].fetch_offset, Offset(0));
  EXPECT_EQ(core_->state(), State::kAsking);
}

TEST_F(SilentLeaderTest, ItIsAskedMoreAndMoreSlowly) {
  Do(Isr({kB, kC}));
  Do(AddAccepted{LeaderEpoch(1), Offset(0)});
  const int asked = AsksWhileAccepted();
  EXPECT_GE(asked, 14);  // after 1 2 4 8 8 8 ... lag times
  EXPECT_LE(asked, 15);
}

TEST_F(SilentLeaderTest, WhoHearsSomethingWaits) {
  Do(Isr({kB, kC}));
  Do(AddAccepted{LeaderEpoch(1), Offset(0)});
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(Has<SendAdd>(Wait(kLagUs / 2)));
    Do(HighWatermarkReceived{LeaderEpoch(1), Offset(0)});
  }
  Wait(kLagUs);
  Do(AddAccepted{LeaderEpoch(1), Offset(0)});
  ASSERT_TRUE(Has<SendAdd>(Wait(2 * kLagUs)));
  Do(AddAccepted{LeaderEpoch(1), Offset(0)});
  // Data, and the patience is that of the beginning.
  ASSERT_TRUE(Has<AppendData>(Do(DataReceived{LeaderEpoch(1), Offset(0)})));
  Do(Appended{Offset(3), {{LeaderEpoch(1), Offset(0)}}, now_us_});
  EXPECT_FALSE(Has<SendAdd>(Wait(kLagUs - 1)));
  EXPECT_TRUE(Has<SendAdd>(Wait(1)));
}

TEST_F(SilentLeaderTest, AMemberOfTheIsrIsIdleAndAsksNothing) {
  Do(Isr({kA, kB, kC}));
  Do(AddAccepted{LeaderEpoch(1), Offset(0)});
  EXPECT_EQ(AsksWhileAccepted(), 0);
  // Taken out, it waits as long as any other.
  Do(Isr({kB, kC}));
  EXPECT_FALSE(Has<SendAdd>(Wait(kLagUs / 2)));
  EXPECT_TRUE(Has<SendAdd>(Wait(kLagUs)));
}

TEST_F(FollowingTest, AnAcceptanceIsAcknowledgedWithWhatTheDiskHolds) {
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(2), *history});
  Follow();
  EXPECT_TRUE(Do(AddAccepted{LeaderEpoch(0), Offset(4)}).empty());  // RP11
  EXPECT_TRUE(Do(AddAccepted{LeaderEpoch(1), Offset(3)}).empty());

  const auto acks = All<SendAck>(Do(AddAccepted{LeaderEpoch(1), Offset(4)}));

  EXPECT_EQ(core_->state(), State::kFollowing);
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].appended, Offset(4));
  EXPECT_EQ(acks[0].durable, Offset(4));
}

TEST_F(FollowingTest, OnlyWhatComesNextIsAppended) {
  FollowAccepted();
  ASSERT_TRUE(Has<AppendData>(Do(DataReceived{LeaderEpoch(1), Offset(0)})));
  const auto acks = All<SendAck>(
      Do(Appended{Offset(3), {{LeaderEpoch(1), Offset(0)}}, now_us_}));
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].appended, Offset(3));
  EXPECT_EQ(acks[0].durable, Offset(0));
  EXPECT_EQ(All<SendAck>(Do(Flushed{Offset(3), now_us_}))[0].durable,
            Offset(3));

  EXPECT_TRUE(Do(DataReceived{LeaderEpoch(1), Offset(0)}).empty());  // again
  EXPECT_TRUE(Do(DataReceived{LeaderEpoch(0), Offset(3)}).empty());  // RP11
  const auto gap = Do(DataReceived{LeaderEpoch(1), Offset(5)});
  EXPECT_FALSE(Has<AppendData>(gap));
  EXPECT_TRUE(Has<SendAdd>(gap));
  EXPECT_EQ(core_->state(), State::kAsking);
  EXPECT_TRUE(Do(DataReceived{LeaderEpoch(1), Offset(3)}).empty());
}

TEST_F(FollowingTest, TheLeadersHighWatermarkIsAdoptedUpToTheOwnEnd) {
  FollowAccepted();
  Do(DataReceived{LeaderEpoch(1), Offset(0)});
  Do(Appended{Offset(3), {{LeaderEpoch(1), Offset(0)}}, now_us_});
  Do(HighWatermarkReceived{LeaderEpoch(1), Offset(5)});
  EXPECT_EQ(hw(), 3);  // RP7
  Do(HighWatermarkReceived{LeaderEpoch(0), Offset(9)});
  Do(HighWatermarkReceived{LeaderEpoch(1), Offset(1)});
  EXPECT_EQ(hw(), 3);  // RP5
  Do(DataReceived{LeaderEpoch(1), Offset(3)});

  Do(Appended{Offset(7), {}, now_us_});

  EXPECT_EQ(hw(), 5);  // as it was told
}

TEST_F(FollowingTest, WhatEndsAnAcceptanceIsAskedAboutLater) {
  for (const ErrorCode code :
       {ErrorCode::kNotLeader, ErrorCode::kStaleBrokerEpoch,
        ErrorCode::kCorruptMessage, ErrorCode::kStorageFull}) {
    Restart({Offset(0), Offset(0), Offset(0), {}});
    FollowAccepted();
    EXPECT_TRUE(Do(AddError{LeaderEpoch(0), code}).empty());  // RP11
    EXPECT_EQ(core_->state(), State::kFollowing);

    EXPECT_TRUE(Do(AddError{LeaderEpoch(1), code}).empty());

    EXPECT_EQ(core_->state(), State::kAsking) << NameOf(code);
    EXPECT_FALSE(Has<SendAdd>(Wait(ReplicaCore::kAskAgainMinUs / 2)));
    EXPECT_TRUE(Has<SendAdd>(Wait(ReplicaCore::kAskAgainMinUs)));
  }
}

TEST_F(FollowingTest, AClosedLinkEndsTheAcceptance) {
  FollowAccepted();
  Do(LinkClosed{kC});
  EXPECT_EQ(core_->state(), State::kFollowing);
  Do(LinkClosed{kB});
  EXPECT_EQ(core_->state(), State::kAsking);
}

TEST_F(FollowingTest, TheLeadersLogStartIsTakenOver) {  // RP6, F34
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(1), *history});
  Follow();

  const auto accepted =
      Do(AddAccepted{LeaderEpoch(1), Offset(4), /*log_start=*/Offset(2)});

  ASSERT_EQ(All<AdvanceLogStart>(accepted).size(), 1u);
  EXPECT_EQ(core_->log_start(), Offset(2));
  EXPECT_EQ(hw(), 2);  // what is deleted was committed
}

TEST_F(FollowingTest, TheRegisteredLogStartIsTakenOverAsFarAsTheLogGoes) {  // F34
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(1), *history});
  MetadataChanged m = Metadata();
  m.leader = kB;
  m.log_start = Offset(2);
  Do(m);
  // What lies there need not be what the leader has.
  EXPECT_EQ(core_->log_start(), Offset(0));
  Do(AddAccepted{LeaderEpoch(1), Offset(4)});
  EXPECT_EQ(core_->log_start(), Offset(2));
  EXPECT_EQ(hw(), 2);  // what is deleted was committed

  m.partition_epoch = m.partition_epoch.Next();
  m.log_start = Offset(6);
  EXPECT_EQ(All<AdvanceLogStart>(Do(m)).size(), 1u);
  EXPECT_EQ(core_->log_start(), Offset(4));
  Append(5);
  EXPECT_EQ(core_->log_start(), Offset(5));
  Append(9);
  EXPECT_EQ(core_->log_start(), Offset(6));
  EXPECT_EQ(hw(), 6);
}

// ---- Cutting ----

class CutTest : public CoreTest {
 protected:
  // Epochs 0: [0, 3), 2: [3, 5), 4: [5, 8); HW 3; follows B in epoch 6.
  void Begin(int64_t hw = 3, int32_t last_unclean = -1) {
    const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)},
                                             {LeaderEpoch(2), Offset(3)},
                                             {LeaderEpoch(4), Offset(5)}});
    Restart({Offset(0), Offset(8), Offset(hw), *history});
    MetadataChanged m = Metadata();
    m.leader = kB;
    m.leader_epoch = LeaderEpoch(6);
    m.last_unclean_leader_epoch = LeaderEpoch(last_unclean);
    Do(m);
  }

  std::vector<Action> Diverge(int32_t epoch, int64_t end) {
    return Do(Diverging{LeaderEpoch(6), LeaderEpoch(epoch), Offset(end),
                        core_->leo()});
  }

  int64_t Target(const std::vector<Action>& actions) {
    const auto cuts = All<TruncateTo>(actions);
    return cuts.empty() ? -1 : cuts[0].target.value();
  }
};

TEST_F(CutTest, TheTargetIsWhereBothHistoriesOfTheEpochEnd) {  // RP12
  Begin();
  EXPECT_EQ(Target(Diverge(4, 7)), 7);  // the same epoch, shorter there
  Begin();
  EXPECT_EQ(Target(Diverge(3, 4)), 4);  // 2 is the largest here: ends at 5
  Begin();
  EXPECT_EQ(Target(Diverge(3, 9)), 5);
  Begin();
  EXPECT_EQ(Target(Diverge(0, 9)), 3);
}

TEST_F(CutTest, AfterACutItAsksAgain) {  // F4
  Begin();
  Diverge(3, 9);
  EXPECT_EQ(core_->state(), State::kCutting);

  const auto adds = All<SendAdd>(Do(TruncateDone{Offset(5)}));

  ASSERT_EQ(adds.size(), 1u);
  EXPECT_EQ(adds[0].fetch_offset, Offset(5));
  EXPECT_EQ(adds[0].last_fetched_epoch, LeaderEpoch(2));
}

TEST_F(CutTest, ACutMayEndAtABatchBelowItsTarget) {
  Begin();
  Diverge(4, 7);

  Do(TruncateDone{Offset(6)});

  EXPECT_EQ(core_->leo(), Offset(6));
  EXPECT_EQ(core_->durable_leo(), Offset(6));
}

// Files of another log, put where this one's were: the histories seem to agree,
// the batches do not.
TEST_F(CutTest, ACutThatEndsBelowTheHighWatermarkStopsTheReplica) {  // RP13
  Begin(/*hw=*/4);
  EXPECT_EQ(Target(Diverge(3, 9)), 5);

  const auto actions = Do(TruncateDone{Offset(3)});

  ASSERT_EQ(All<Failed>(actions).size(), 1u);
  EXPECT_EQ(core_->state(), State::kFailed);
}

TEST_F(CutTest, WhileCuttingNothingElseHappens) {
  Begin();
  Diverge(3, 9);
  EXPECT_TRUE(Do(AddAccepted{LeaderEpoch(6), Offset(8)}).empty());
  EXPECT_TRUE(Do(DataReceived{LeaderEpoch(6), Offset(8)}).empty());
  EXPECT_TRUE(Do(HighWatermarkReceived{LeaderEpoch(6), Offset(8)}).empty());
  EXPECT_TRUE(Diverge(0, 9).empty());
  EXPECT_TRUE(Do(LinkOpened{kB}).empty());
  EXPECT_TRUE(Do(Flushed{Offset(5), now_us_}).empty());
  EXPECT_TRUE(Wait(10 * kLagUs).empty());
  EXPECT_EQ(hw(), 3);
}

TEST_F(CutTest, ALeaderElectedWhileCuttingBeginsWhenItIsDone) {
  Begin();
  Diverge(3, 9);
  MetadataChanged m = Metadata();
  m.leader_epoch = LeaderEpoch(7);
  EXPECT_FALSE(Has<PersistEpochStart>(Do(m)));
  EXPECT_EQ(CodeOf(core_->CheckProduce(false)), ErrorCode::kLeaderNotAvailable);

  EXPECT_TRUE(Has<PersistEpochStart>(Do(TruncateDone{Offset(5)})));

  Do(EpochStartPersisted{LeaderEpoch(7), now_us_});
  EXPECT_EQ(core_->epochs().EndOf(LeaderEpoch(2), core_->leo()),
            (EpochEnd{LeaderEpoch(2), Offset(5)}));
}

TEST_F(CutTest, ANewLeaderIsAskedWhenTheCutIsDone) {
  Begin();
  Diverge(3, 9);
  MetadataChanged m = Metadata();
  m.leader = kC;
  m.leader_epoch = LeaderEpoch(7);
  EXPECT_FALSE(Has<SendAdd>(Do(m)));

  const auto adds = All<SendAdd>(Do(TruncateDone{Offset(5)}));

  ASSERT_EQ(adds.size(), 1u);
  EXPECT_EQ(adds[0].leader, kC);
}

TEST_F(CutTest, ACutBelowTheHighWatermarkStopsTheReplica) {  // RP13
  Begin(/*hw=*/4);

  const auto actions = Diverge(0, 9);

  EXPECT_FALSE(Has<TruncateTo>(actions));
  ASSERT_EQ(All<Failed>(actions).size(), 1u);
  EXPECT_NE(All<Failed>(actions)[0].why.find("high watermark 4"),
            std::string::npos);
  EXPECT_EQ(core_->state(), State::kFailed);
}

TEST_F(CutTest, OnlyANewerUncleanElectionAllowsIt) {  // RP13, F32
  Begin(/*hw=*/4, /*last_unclean=*/4);
  EXPECT_TRUE(Has<Failed>(Diverge(0, 9)));

  Begin(/*hw=*/4, /*last_unclean=*/5);
  EXPECT_EQ(Target(Diverge(0, 9)), 3);
  EXPECT_EQ(hw(), 3);
}

TEST_F(CutTest, AnAnswerToAnEarlierAddCutsNothing) {
  Begin();
  EXPECT_TRUE(Do(Diverging{LeaderEpoch(6), LeaderEpoch(0), Offset(3), Offset(7)})
                  .empty());
  EXPECT_TRUE(Do(Diverging{LeaderEpoch(5), LeaderEpoch(0), Offset(3), Offset(8)})
                  .empty());  // RP11
  EXPECT_TRUE(Diverge(-1, 3).empty());
  EXPECT_TRUE(Diverge(0, -1).empty());
  Do(AddAccepted{LeaderEpoch(6), Offset(8)});
  EXPECT_TRUE(Diverge(0, 3).empty());
}

TEST_F(CutTest, EpochsThatTheLeaderDoesNotKnowGoEvenWithoutARecord) {
  const auto history = EpochHistory::From(
      {{LeaderEpoch(0), Offset(0)}, {LeaderEpoch(2), Offset(3)}});
  Restart({Offset(0), Offset(3), Offset(3), *history});
  MetadataChanged m = Metadata();
  m.leader = kB;
  m.leader_epoch = LeaderEpoch(6);
  Do(m);

  EXPECT_EQ(Target(Diverge(0, 5)), 3);

  Do(TruncateDone{Offset(3)});
  EXPECT_EQ(core_->epochs().last_epoch(), LeaderEpoch(0));
  EXPECT_TRUE(Diverge(0, 5).empty());  // nothing is left to cut
}

TEST_F(CutTest, WhenEveryEpochHereIsNewerAllOfItGoes) {
  const auto history = EpochHistory::From({{LeaderEpoch(4), Offset(0)}});
  Restart({Offset(0), Offset(3), Offset(0), *history});
  MetadataChanged m = Metadata();
  m.leader = kB;
  m.leader_epoch = LeaderEpoch(6);
  Do(m);

  EXPECT_EQ(Target(Diverge(2, 2)), 0);
}

TEST_F(CutTest, BehindTheLeadersLogStartItBeginsAnewThere) {
  Begin();

  const auto actions = Do(AddError{
      LeaderEpoch(6), ErrorCode::kOffsetOutOfRange, Offset(20), Offset(8)});

  ASSERT_EQ(All<ResetTo>(actions).size(), 1u);
  EXPECT_EQ(All<ResetTo>(actions)[0].start, Offset(20));
  EXPECT_EQ(hw(), 20);
  const auto adds = All<SendAdd>(Do(TruncateDone{Offset(20)}));
  ASSERT_EQ(adds.size(), 1u);
  EXPECT_EQ(adds[0].fetch_offset, Offset(20));
  EXPECT_EQ(adds[0].last_fetched_epoch, kNoLeaderEpoch);
}

TEST_F(CutTest, WithNothingInCommonItBeginsAnewUnlessSomethingWasCommitted) {
  const auto nothing_common = [&](int64_t log_start) {
    return Do(AddError{LeaderEpoch(6), ErrorCode::kOffsetOutOfRange,
                       Offset(log_start), core_->leo()});
  };
  Begin(/*hw=*/3);
  EXPECT_TRUE(Has<ResetTo>(nothing_common(3)));
  Begin(/*hw=*/3);
  EXPECT_TRUE(Has<Failed>(nothing_common(2)));  // RP13
  Begin(/*hw=*/3, /*last_unclean=*/5);
  EXPECT_TRUE(Has<ResetTo>(nothing_common(2)));
}

TEST_F(CutTest, AnOutOfRangeOfAnEarlierAddIsIgnored) {
  Begin();
  EXPECT_TRUE(Do(AddError{LeaderEpoch(6), ErrorCode::kOffsetOutOfRange,
                          Offset(0), Offset(7)})
                  .empty());
  EXPECT_TRUE(
      Do(AddError{LeaderEpoch(6), ErrorCode::kOffsetOutOfRange}).empty());
}

// Rule T4, the last resort: records without any epoch.
TEST_F(CutTest, WithoutAnyEpochItCutsToTheHighWatermarkButNeverInTheIsr) {
  const auto ask = [&](std::vector<NodeId> isr, std::vector<NodeId> elr) {
    Restart({Offset(0), Offset(8), Offset(3), {}});
    MetadataChanged m = Metadata();
    m.leader = kB;
    m.leader_epoch = LeaderEpoch(6);
    m.isr = std::move(isr);
    m.elr = std::move(elr);
    Do(m);
    return Target(Do(AddError{LeaderEpoch(6), ErrorCode::kOffsetOutOfRange,
                              Offset(0), Offset(8)}));
  };

  EXPECT_EQ(ask({kB, kC}, {}), 3);
  EXPECT_EQ(ask({kA, kB}, {}), -1);
  EXPECT_EQ(ask({kB}, {kA}), -1);
}

TEST_F(CutTest, ACutThatWasNotOrderedIsAFault) {
  Begin();
  EXPECT_DEATH(Do(TruncateDone{Offset(5)}), "not ordered");
}

TEST_F(FollowingTest, AnAppendThatWasNotAllowedIsAFault) {
  Follow();
  EXPECT_DEATH(Do(Appended{Offset(1), {}, now_us_}), "append in between");
}

TEST_F(FollowingTest, AFlushPastTheLogIsAFault) {
  Lead(Metadata());
  EXPECT_DEATH(Do(Flushed{Offset(1), now_us_}), "flushed to 1");
}

TEST(StateTest, StatesHaveNames) {
  for (const State state :
       {State::kWaiting, State::kStarting, State::kLeading, State::kAsking,
        State::kFollowing, State::kCutting, State::kFailed}) {
    EXPECT_NE(NameOf(state), "?");
  }
}

}  // namespace
}  // namespace sluice::replica
