// A core that leads: its epoch, what is committed, what followers are told.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "broker/replica/core_testing.h"

namespace sluice::replica {
namespace {

class ReplicaCoreTest : public CoreTest {};

// ---- Beginning to lead ----

TEST_F(ReplicaCoreTest, TheEpochsStartIsDurableBeforeAnyAppendOrAnswer) {
  const auto first = Do(Metadata());
  ASSERT_EQ(All<PersistEpochStart>(first).size(), 1u);
  EXPECT_EQ(All<PersistEpochStart>(first)[0].epoch, LeaderEpoch(1));
  EXPECT_EQ(core_->state(), State::kStarting);
  EXPECT_EQ(CodeOf(core_->CheckProduce(false)), ErrorCode::kLeaderNotAvailable);
  EXPECT_TRUE(Add(kB, 0).empty());

  const auto begun = Do(EpochStartPersisted{LeaderEpoch(1), now_us_});  // RP10

  EXPECT_TRUE(Has<BecameLeader>(begun));
  ASSERT_EQ(All<AcceptFollower>(begun).size(), 1u);
  EXPECT_EQ(All<AcceptFollower>(begun)[0].broker, kB);
  EXPECT_TRUE(core_->CheckProduce(true).ok());
}

TEST_F(ReplicaCoreTest, AHeldAddIsCheckedAgainWhenItIsAnswered) {
  Do(Metadata());
  Add(kB, 0);
  MetadataChanged m = Metadata();
  m.standing[kB].epoch = BrokerEpoch(99);
  Do(m);

  const auto begun = Do(EpochStartPersisted{LeaderEpoch(1), now_us_});

  EXPECT_FALSE(Has<AcceptFollower>(begun));
  EXPECT_EQ(Refusal(begun), ErrorCode::kStaleBrokerEpoch);
}

TEST_F(ReplicaCoreTest, AnEpochStartOfAnotherEpochBeginsNothing) {
  Do(Metadata());
  MetadataChanged m = Metadata();
  m.leader_epoch = LeaderEpoch(2);
  Do(m);

  EXPECT_TRUE(Do(EpochStartPersisted{LeaderEpoch(1), now_us_}).empty());

  EXPECT_EQ(core_->state(), State::kStarting);
  EXPECT_TRUE(
      Has<BecameLeader>(Do(EpochStartPersisted{LeaderEpoch(2), now_us_})));
}

// RP16: (epoch, offset) must never name two records.
TEST_F(ReplicaCoreTest, AnEpochThatTheLogHasBegunIsNotLedAgain) {
  const auto history = EpochHistory::From({{LeaderEpoch(1), Offset(0)}});
  Restart({Offset(0), Offset(3), Offset(3), *history});

  EXPECT_TRUE(Do(Metadata()).empty());

  EXPECT_FALSE(core_->leads());
  EXPECT_EQ(CodeOf(core_->CheckProduce(true)), ErrorCode::kNotLeader);
  MetadataChanged m = Metadata();
  m.leader_epoch = LeaderEpoch(2);
  EXPECT_TRUE(Has<PersistEpochStart>(Do(m)));
}

TEST_F(ReplicaCoreTest, MetadataOlderThanTheLogIsNotFollowed) {
  const auto history = EpochHistory::From({{LeaderEpoch(4), Offset(0)}});
  Restart({Offset(0), Offset(3), Offset(3), *history});

  Follow(LeaderEpoch(3));

  EXPECT_EQ(core_->state(), State::kWaiting);
}

TEST_F(ReplicaCoreTest, OlderMetadataChangesNothing) {  // MD2
  MetadataChanged m = Metadata();
  m.leader_epoch = LeaderEpoch(5);
  m.partition_epoch = PartitionEpoch(7);
  Lead(m);
  MetadataChanged older = Metadata();
  older.leader = kB;
  EXPECT_TRUE(Do(older).empty());
  older = m;
  older.partition_epoch = PartitionEpoch(6);
  older.isr = {kA};
  EXPECT_TRUE(Do(older).empty());

  EXPECT_TRUE(core_->leads());
  EXPECT_EQ(core_->maximal_isr().size(), 3u);
}

TEST_F(ReplicaCoreTest, TwoLeadersOfOneEpochStopTheReplica) {
  Lead(Metadata());
  MetadataChanged m = Metadata();
  m.leader = kB;

  EXPECT_TRUE(Has<Failed>(Do(m)));

  EXPECT_EQ(core_->state(), State::kFailed);
  EXPECT_EQ(CodeOf(core_->CheckProduce(false)), ErrorCode::kReplicaFailed);
  EXPECT_FALSE(core_->leads());
  EXPECT_TRUE(Do(Tick{now_us_}).empty());
}

TEST_F(ReplicaCoreTest, ANewEpochVoidsWhatWasReportedInTheOld) {  // RP11, F12
  Lead(Metadata());
  Add(kB, 0);
  Ack(kB, 0, 0);
  MetadataChanged m = Metadata();
  m.leader_epoch = LeaderEpoch(2);

  const auto actions = Do(m);

  ASSERT_EQ(All<DropFollower>(actions).size(), 1u);
  EXPECT_FALSE(Has<LostLeadership>(actions));
  for (const FollowerStatus& f : core_->Followers()) {
    EXPECT_EQ(f.appended, kNoOffset);
    EXPECT_EQ(f.durable, kNoOffset);
  }
}

TEST_F(ReplicaCoreTest, ALostLeadershipIsToldAndTheNewLeaderAsked) {
  Lead(Metadata());
  MetadataChanged m = Metadata();
  m.leader = kC;
  m.leader_epoch = LeaderEpoch(2);

  const auto actions = Do(m);

  EXPECT_TRUE(Has<LostLeadership>(actions));
  ASSERT_EQ(All<SendAdd>(actions).size(), 1u);
  EXPECT_EQ(All<SendAdd>(actions)[0].leader, kC);
  // Its own epoch, though nothing was appended in it (F4).
  EXPECT_EQ(All<SendAdd>(actions)[0].last_fetched_epoch, LeaderEpoch(1));
}

TEST_F(ReplicaCoreTest, WithoutALeaderItWaits) {
  Lead(Metadata());
  MetadataChanged m = Metadata();
  m.leader = kNoNode;
  m.leader_epoch = LeaderEpoch(2);

  EXPECT_TRUE(Has<LostLeadership>(Do(m)));

  EXPECT_EQ(core_->state(), State::kWaiting);
}

// ---- What is committed ----

TEST_F(ReplicaCoreTest, ASingleReplicaCommitsWhatItsDiskHolds) {
  MetadataChanged m = Metadata();
  m.replicas = m.isr = {kA};
  m.min_isr = 1;
  Lead(m);
  Append(3);
  EXPECT_EQ(hw(), 0);
  EXPECT_EQ(core_->position(), Offset(0));

  Flush(2);

  EXPECT_EQ(hw(), 2);
  EXPECT_EQ(core_->position(), Offset(2));
}

TEST_F(ReplicaCoreTest, InMemoryModeWhatIsAppendedCounts) {
  MetadataChanged m = Metadata();
  m.replicas = m.isr = {kA, kB};
  m.durable = false;
  Lead(m);
  Add(kB, 0);
  Append(3);
  EXPECT_EQ(core_->position(), Offset(3));
  EXPECT_EQ(hw(), 0);

  Ack(kB, 2, 0);

  EXPECT_EQ(hw(), 2);
}

TEST_F(ReplicaCoreTest, TheLowestDurablePositionIsCommitted) {  // RP4, ST5
  Lead(Metadata());
  Add(kB, 0);
  Add(kC, 0);
  Append(5);
  Flush(5);
  Ack(kB, 5, 4);
  EXPECT_EQ(hw(), 0);

  const auto actions = Ack(kC, 5, 2);

  EXPECT_EQ(hw(), 2);
  ASSERT_EQ(All<HighWatermarkMoved>(actions).size(), 1u);
  EXPECT_EQ(All<HighWatermarkMoved>(actions)[0].high_watermark, Offset(2));
  Ack(kC, 5, 5);
  EXPECT_EQ(hw(), 4);
}

TEST_F(ReplicaCoreTest, TheLeadersOwnDiskCountsToo) {
  Lead(Metadata());
  Add(kB, 0);
  Add(kC, 0);
  Append(5);
  Ack(kB, 5, 5);
  Ack(kC, 5, 5);
  EXPECT_EQ(hw(), 0);

  Flush(5);

  EXPECT_EQ(hw(), 5);
}

TEST_F(ReplicaCoreTest, AnAddSaysNothingOfTheDisk) {  // ST5
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(0), *history});
  Lead(Metadata());

  Add(kB, 4, 0);
  Add(kC, 4, 0);

  EXPECT_EQ(hw(), 0);
  Ack(kB, 4, 4);
  Ack(kC, 4, 4);
  EXPECT_EQ(hw(), 4);
}

TEST_F(ReplicaCoreTest, BelowMinIsrNothingIsCommitted) {  // RP4, RP21
  MetadataChanged m = Metadata();
  m.isr = {kA};
  Lead(m);
  EXPECT_TRUE(core_->under_min_isr());
  EXPECT_EQ(CodeOf(core_->CheckProduce(true)), ErrorCode::kNotEnoughReplicas);
  EXPECT_TRUE(core_->CheckProduce(false).ok());
  Append(3);

  Flush(3);

  EXPECT_EQ(hw(), 0);
}

TEST_F(ReplicaCoreTest, AMinIsrThatIsRaisedFreezesAndLoweredResumes) {  // F31
  Lead(Metadata());
  Add(kB, 0);
  Add(kC, 0);
  MetadataChanged m = Metadata();
  m.min_isr = 4;
  Do(m);
  Append(2);
  Flush(2);
  Ack(kB, 2, 2);
  Ack(kC, 2, 2);
  EXPECT_EQ(hw(), 0);
  EXPECT_EQ(CodeOf(core_->CheckProduce(true)), ErrorCode::kNotEnoughReplicas);
  m.min_isr = 2;

  Do(m);

  EXPECT_EQ(hw(), 2);
}

TEST_F(ReplicaCoreTest, AcksOfOtherEpochsIncarnationsOrNonsenseDoNotCount) {
  MetadataChanged m = Metadata();
  m.isr = {kA, kB};
  Lead(m);
  Add(kB, 0);
  Append(3);
  Flush(3);

  Ack(kB, 3, 3, /*epoch=*/0);  // RP11
  Ack(kB, 3, 3, /*epoch=*/2);
  Do(FollowerAck{kB, BrokerEpoch(19), LeaderEpoch(1), Offset(3), Offset(3),
                 now_us_});  // F8
  Ack(kB, 4, 4);  // past the log
  Ack(kB, 1, 2);  // more on disk than in memory
  Ack(NodeId(9), 3, 3);
  EXPECT_EQ(hw(), 0);

  Ack(kB, 3, 3);
  EXPECT_EQ(hw(), 3);
}

TEST_F(ReplicaCoreTest, AnAckBeforeTheAcceptanceDoesNotCount) {  // RP14
  MetadataChanged m = Metadata();
  m.isr = {kA, kB};
  Lead(m);
  Append(1);
  Flush(1);

  Ack(kB, 1, 1);

  EXPECT_EQ(hw(), 0);
}

TEST_F(ReplicaCoreTest, AChangedRegistrationVoidsWhatWasReported) {  // RP4
  Lead(Metadata());
  Add(kB, 0);
  Ack(kB, 0, 0);
  MetadataChanged m = Metadata();
  m.standing[kB].epoch = BrokerEpoch(21);

  const auto actions = Do(m);

  ASSERT_EQ(All<DropFollower>(actions).size(), 1u);
  EXPECT_EQ(All<DropFollower>(actions)[0].broker, kB);
  EXPECT_EQ(core_->Followers()[0].durable, kNoOffset);
}

TEST_F(ReplicaCoreTest, ANewLeadersHighWatermarkIsTruthPastItsEpochsStart) {
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(2), *history});
  MetadataChanged m = Metadata();
  m.isr = {kA, kB};
  Lead(m);
  EXPECT_FALSE(core_->hw_is_truth());  // RP5
  Add(kB, 3, 0);
  Ack(kB, 3, 3);
  EXPECT_EQ(hw(), 3);
  EXPECT_FALSE(core_->hw_is_truth());

  Ack(kB, 4, 4);

  EXPECT_TRUE(core_->hw_is_truth());
}

TEST_F(ReplicaCoreTest, FromMemoryToDiskTheHighWatermarkStandsUntilCovered) {
  MetadataChanged m = Metadata();
  m.isr = {kA, kB};
  m.durable = false;
  Lead(m);
  Add(kB, 0);
  Append(5);
  Ack(kB, 5, 1);
  EXPECT_EQ(hw(), 5);
  m.durable = true;

  Do(m);

  EXPECT_EQ(hw(), 5);
  Append(6);
  Flush(6);
  Ack(kB, 6, 3);
  EXPECT_EQ(hw(), 5);
  Ack(kB, 6, 6);
  EXPECT_EQ(hw(), 6);
}

// ---- Answers to Adds ----

TEST_F(ReplicaCoreTest, AddsAreRefusedByName) {
  Lead(Metadata());
  EXPECT_EQ(Refusal(Add(kB, 0, -1, 0)), ErrorCode::kFencedLeaderEpoch);
  EXPECT_EQ(Refusal(Add(kB, 0, -1, 2)), ErrorCode::kUnknownLeaderEpoch);
  EXPECT_EQ(Refusal(Add(NodeId(9), 0)), ErrorCode::kNotAReplica);
  EXPECT_EQ(Refusal(Add(kA, 0)), ErrorCode::kNotAReplica);
  EXPECT_EQ(Refusal(Do(FollowerAdd{kB, BrokerEpoch(19), LeaderEpoch(1),
                                   Offset(0), kNoLeaderEpoch})),
            ErrorCode::kStaleBrokerEpoch);
  EXPECT_EQ(Refusal(Add(kB, -5)), ErrorCode::kInvalidRequest);
  EXPECT_EQ(Refusal(Add(kB, 1)), ErrorCode::kOffsetOutOfRange);
}

TEST_F(ReplicaCoreTest, AFollowerRefusesAdds) {
  Follow();
  EXPECT_EQ(Refusal(Add(kC, 0)), ErrorCode::kNotLeader);
}

TEST_F(ReplicaCoreTest, AnAnswerCarriesTheEpochAndOffsetOfItsQuestion) {
  Lead(Metadata());
  const auto refused = All<RejectFollower>(Add(kB, 7, -1, 0));
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].leader_epoch, LeaderEpoch(0));
  EXPECT_EQ(refused[0].fetch_offset, Offset(7));
}

TEST_F(ReplicaCoreTest, AFollowerThatDivergesIsToldWhereItsEpochEnds) {  // RP12
  const auto history = EpochHistory::From(
      {{LeaderEpoch(0), Offset(0)}, {LeaderEpoch(3), Offset(4)}});
  Restart({Offset(0), Offset(6), Offset(0), *history});
  MetadataChanged m = Metadata();
  m.leader_epoch = LeaderEpoch(5);
  Lead(m);
  const auto end = [&](int64_t offset, int32_t last) {
    const auto answers = All<DivergeFollower>(Add(kB, offset, last, 5));
    return answers.empty() ? EpochEnd() : answers[0].end;
  };

  EXPECT_EQ(end(5, 0), (EpochEnd{LeaderEpoch(0), Offset(4)}));
  EXPECT_EQ(end(4, 0), EpochEnd());  // agrees
  EXPECT_EQ(end(4, 2), (EpochEnd{LeaderEpoch(0), Offset(4)}));
  EXPECT_EQ(end(7, 3), (EpochEnd{LeaderEpoch(3), Offset(6)}));
  EXPECT_EQ(end(6, 4), (EpochEnd{LeaderEpoch(3), Offset(6)}));
  EXPECT_EQ(end(6, 5), EpochEnd());
}

TEST_F(ReplicaCoreTest, AFollowerBehindTheLogStartIsToldWhereItIs) {
  const auto history = EpochHistory::From({{LeaderEpoch(3), Offset(4)}});
  Restart({Offset(4), Offset(6), Offset(5), *history});
  MetadataChanged m = Metadata();
  m.leader_epoch = LeaderEpoch(5);
  Lead(m);

  EXPECT_EQ(Refusal(Add(kB, 3, 3, 5)), ErrorCode::kOffsetOutOfRange);
  // No common epoch: what it has at or above the log start is not ours.
  EXPECT_EQ(Refusal(Add(kB, 4, 2, 5)), ErrorCode::kOffsetOutOfRange);
  EXPECT_TRUE(Has<AcceptFollower>(Add(kB, 4, 3, 5)));
}

}  // namespace
}  // namespace sluice::replica
