// A core that leads: who is in sync, and who is asked for it.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "broker/replica/core_testing.h"

namespace sluice::replica {
namespace {

class IsrTest : public CoreTest {
 protected:
  // A leads {A, B}, C is out; 4 records are committed.
  void LeadWithout(NodeId out) {
    MetadataChanged m = Metadata();
    m.isr = {kA, kB};
    ASSERT_EQ(out, kC);
    Lead(m);
    Add(kB, 0);
    Append(4);
    Flush(4);
    Ack(kB, 4, 4);
    ASSERT_EQ(hw(), 4);
  }

  MetadataChanged Committed(std::vector<NodeId> isr, int partition_epoch) {
    MetadataChanged m = Metadata();
    m.isr = std::move(isr);
    m.partition_epoch = PartitionEpoch(partition_epoch);
    return m;
  }
};

TEST_F(IsrTest, AFollowerJoinsWhenItsDiskHasWhatIsCommitted) {  // RP14
  LeadWithout(kC);
  Add(kC, 0);
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 3)));

  const auto proposed = All<ProposeIsr>(Ack(kC, 4, 4));

  ASSERT_EQ(proposed.size(), 1u);
  EXPECT_EQ(proposed[0].leader_epoch, LeaderEpoch(1));
  EXPECT_EQ(proposed[0].partition_epoch, PartitionEpoch(1));
  const std::map<NodeId, BrokerEpoch> all = {
      {kA, EpochOf(kA)}, {kB, EpochOf(kB)}, {kC, EpochOf(kC)}};
  EXPECT_EQ(proposed[0].isr, all);
}

TEST_F(IsrTest, AFencedOrStoppingReplicaDoesNotJoin) {  // RP14
  LeadWithout(kC);
  MetadataChanged m = Committed({kA, kB}, 1);
  m.standing[kC].active = false;
  Do(m);
  Add(kC, 4, 1);
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 4)));
  m.standing[kC].active = true;

  EXPECT_TRUE(Has<ProposeIsr>(Do(m)));
}

TEST_F(IsrTest, BelowTheEpochsStartNobodyJoins) {  // RP5, RP14
  const auto history = EpochHistory::From({{LeaderEpoch(0), Offset(0)}});
  Restart({Offset(0), Offset(4), Offset(0), *history});
  MetadataChanged m = Metadata();
  m.isr = {kA, kB};
  Lead(m);
  Add(kC, 3, 0);

  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 3, 3)));  // HW is 0, LESO 4
  EXPECT_TRUE(Has<ProposeIsr>(Ack(kC, 4, 4)));
}

TEST_F(IsrTest, AReplicaWhoseStreamEndedDoesNotJoin) {
  LeadWithout(kC);
  Add(kC, 4, 1);
  Do(FollowerGone{kC});

  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 4)));
  EXPECT_FALSE(Has<ProposeIsr>(Wait(100'000)));
}

// In one broker epoch: its files were damaged and set aside, and it is filled
// again from nothing.
TEST_F(IsrTest, WhatALogHadThatWasReplacedDoesNotCount) {  // RP4, ST2
  LeadWithout(kC);
  Add(kC, 0);
  Ack(kC, 4, 4);
  Do(FollowerGone{kC});  // it has failed, and says so
  Do(Committed({kA, kB}, 2));

  EXPECT_FALSE(Has<ProposeIsr>(Add(kC, 0)));
  EXPECT_FALSE(Has<ProposeIsr>(Wait(ReplicaCore::kProposeAgainUs)));
  EXPECT_EQ(core_->follower_states().at(kC).appended, Offset(0));
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 3)));
  EXPECT_TRUE(Has<ProposeIsr>(Ack(kC, 4, 4)));
}

TEST_F(IsrTest, WhoAsksAgainFromItsEndKeepsWhatItReported) {
  LeadWithout(kC);
  Add(kC, 0);
  Ack(kC, 4, 3);
  Add(kC, 4, 1);
  EXPECT_EQ(core_->follower_states().at(kC).durable, Offset(3));
}

TEST_F(IsrTest, AFencedLeaderProposesNothing) {
  LeadWithout(kC);
  MetadataChanged m = Committed({kA, kB}, 1);
  m.standing[kA].active = false;
  Do(m);
  Add(kC, 4, 1);
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 4)));
}

TEST_F(IsrTest, AProposedMemberCounts) {  // RP3, F9
  LeadWithout(kC);
  Add(kC, 0);
  Ack(kC, 4, 4);
  Append(5);
  Flush(5);

  Ack(kB, 5, 5);

  EXPECT_EQ(hw(), 4);
  EXPECT_EQ(core_->maximal_isr().size(), 3u);
  Ack(kC, 5, 5);
  EXPECT_EQ(hw(), 5);
}

TEST_F(IsrTest, OnlyAnExplicitNoReverts) {  // RP15
  LeadWithout(kC);
  Add(kC, 0);
  Ack(kC, 4, 4);
  Append(5);
  Flush(5);
  Ack(kB, 5, 5);
  using Outcome = IsrAnswer::Outcome;
  const auto answer = [&](Outcome outcome, int partition_epoch) {
    return Do(IsrAnswer{outcome, LeaderEpoch(1),
                        PartitionEpoch(partition_epoch)});
  };
  for (const Outcome outcome : {Outcome::kUnknown, Outcome::kStale}) {
    answer(outcome, 1);
    EXPECT_FALSE(core_->isr_is_settled());
    EXPECT_EQ(hw(), 4);
  }
  // The metadata has to say so.
  Do(IsrAnswer{Outcome::kApplied, LeaderEpoch(1), PartitionEpoch(1),
               PartitionEpoch(2)});
  EXPECT_FALSE(core_->isr_is_settled());
  answer(Outcome::kNotApplied, 0);  // of another question
  EXPECT_FALSE(core_->isr_is_settled());

  answer(Outcome::kNotApplied, 1);

  EXPECT_TRUE(core_->isr_is_settled());
  EXPECT_EQ(hw(), 5);
}

// RP15: metadata and answer come in either order. When the metadata is first,
// the next question may be under way before "applied" to the last one comes;
// taken for an answer to the next one, it would let the HW pass a replica that
// the controller is about to make a member. Found by random schedules of whole
// clusters (test/sim, CombinedSeed1).
TEST_F(IsrTest, AnAnswerToTheLastQuestionDoesNotSettleTheNext) {
  LeadWithout(kC);
  Add(kC, 0);
  Ack(kC, 4, 4);  // asked at partition epoch 1: with C
  // Applied; B left in the same moment and may join again at once.
  const auto second = All<ProposeIsr>(Do(Committed({kA, kC}, 2)));
  ASSERT_EQ(second.size(), 1u);
  ASSERT_EQ(second[0].partition_epoch, PartitionEpoch(2));

  Do(IsrAnswer{IsrAnswer::Outcome::kApplied, LeaderEpoch(1), PartitionEpoch(1),
               PartitionEpoch(2)});

  EXPECT_FALSE(core_->isr_is_settled());
  Append(5);
  Flush(5);
  Ack(kC, 5, 5);
  EXPECT_EQ(hw(), 4) << "B counts until the controller has said no";
}

TEST_F(IsrTest, AnUnknownOutcomeIsAskedAgainInTheSameWords) {  // RP15, F11
  LeadWithout(kC);
  Add(kC, 0);
  const auto first = All<ProposeIsr>(Ack(kC, 4, 4));
  Append(5);  // C does not come along: another question would be smaller
  Flush(5);
  Do(IsrAnswer{IsrAnswer::Outcome::kUnknown, LeaderEpoch(1),
               PartitionEpoch(1)});
  EXPECT_FALSE(Has<ProposeIsr>(Wait(ReplicaCore::kProposeAgainUs / 2)));

  const auto second = All<ProposeIsr>(Wait(ReplicaCore::kProposeAgainUs));

  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].isr, first[0].isr);
  EXPECT_EQ(second[0].partition_epoch, first[0].partition_epoch);
  // One is under way again.
  EXPECT_FALSE(Has<ProposeIsr>(Wait(2 * ReplicaCore::kProposeAgainUs)));
}

TEST_F(IsrTest, NewMetadataSettlesTheQuestion) {
  LeadWithout(kC);
  Add(kC, 0);
  Ack(kC, 4, 4);

  Do(Committed({kA, kB, kC}, 2));

  EXPECT_TRUE(core_->isr_is_settled());
  EXPECT_EQ(core_->maximal_isr().size(), 3u);
}

TEST_F(IsrTest, AfterANoTheNextQuestionWaits) {
  LeadWithout(kC);
  Add(kC, 0);
  Ack(kC, 4, 4);
  Do(IsrAnswer{IsrAnswer::Outcome::kNotApplied, LeaderEpoch(1),
               PartitionEpoch(1)});
  EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, 4, 4)));

  EXPECT_TRUE(Has<ProposeIsr>(Wait(ReplicaCore::kProposeAgainUs)));
}

TEST_F(IsrTest, AFollowerThatHangsLeaves) {
  Lead(Metadata());
  Add(kB, 0);
  Add(kC, 0);
  Append(1);
  Flush(1);
  Ack(kB, 1, 1);
  Ack(kC, 1, 0);  // its fsync hangs
  EXPECT_FALSE(Has<ProposeIsr>(Wait(kLagUs)));

  const auto proposed = All<ProposeIsr>(Wait(2));

  ASSERT_EQ(proposed.size(), 1u);
  EXPECT_EQ(proposed[0].isr.count(kC), 0u);
  EXPECT_EQ(proposed[0].isr.count(kB), 1u);
  EXPECT_EQ(hw(), 0);  // still counts (F10)
  Do(Committed({kA, kB}, 2));
  EXPECT_EQ(hw(), 1);
}

TEST_F(IsrTest, AMemberThatIsNeverHeardOfLeaves) {
  Lead(Metadata());
  Add(kB, 0);
  Append(1);
  Flush(1);
  Ack(kB, 1, 1);
  EXPECT_FALSE(Has<ProposeIsr>(Wait(kLagUs / 2)));

  const auto proposed = All<ProposeIsr>(Wait(kLagUs));

  ASSERT_EQ(proposed.size(), 1u);
  EXPECT_EQ(proposed[0].isr.count(kC), 0u);
}

TEST_F(IsrTest, UnderLoadAFollowerThatIsAlwaysALittleBehindStays) {
  Lead(Metadata());
  Add(kB, 0);
  Add(kC, 0);
  int64_t leo = 0;
  for (int i = 0; i < 100; ++i) {
    Append(leo += 10);
    Flush(leo);
    EXPECT_FALSE(Has<ProposeIsr>(Ack(kB, leo - 5, leo - 5)));
    EXPECT_FALSE(Has<ProposeIsr>(Ack(kC, leo - 5, leo - 5)));
    EXPECT_FALSE(Has<ProposeIsr>(Wait(kLagUs / 10)));
  }
  EXPECT_EQ(hw(), leo - 5);
}

TEST_F(IsrTest, AnIdlePartitionLosesNobody) {
  Lead(Metadata());
  Add(kB, 0);
  Add(kC, 0);
  Ack(kB, 0, 0);
  Ack(kC, 0, 0);
  EXPECT_FALSE(Has<ProposeIsr>(Wait(100 * kLagUs)));
  Append(1);  // and is not late for what was not there
  EXPECT_FALSE(Has<ProposeIsr>(Wait(kLagUs / 2)));
}

TEST_F(IsrTest, FollowersAreListedForOperators) {
  Lead(Metadata());
  Add(kB, 0);
  Append(3);
  now_us_ += 5;
  Ack(kB, 3, 2);

  const auto followers = core_->Followers();

  ASSERT_EQ(followers.size(), 2u);
  EXPECT_EQ(followers[0].broker, kB);
  EXPECT_EQ(followers[0].appended, Offset(3));
  EXPECT_EQ(followers[0].durable, Offset(2));
  EXPECT_EQ(followers[1].appended, kNoOffset);
}

}  // namespace
}  // namespace sluice::replica
