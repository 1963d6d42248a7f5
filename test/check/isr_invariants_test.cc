// Each rule: a history that breaks it, found under its number, and one that
// looks like it and is legal.
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

class IsrInvariantsTest : public CheckTest {
 protected:
  // 3 is out of the ISR {1, 2}; leader 1 knows.
  void WithoutThree() {
    Change({.isr = Ids{1, 2}});
    At(1, [](ReplicaView& view) {
      view.isr = {NodeId(1), NodeId(2)};
      view.maximal_isr = {NodeId(1), NodeId(2)};
      view.partition_epoch = PartitionEpoch(1);
    });
  }
  void ThreeIsThere() {
    At(3, [](ReplicaView& view) {
      view.state = replica::State::kFollowing;
    });
    Acknowledge(1, 3);
  }
};

// ---- RP3 ----

TEST_F(IsrInvariantsTest, RP3AMemberThatDoesNotCount) {
  At(1, [](ReplicaView& view) { view.maximal_isr.erase(NodeId(3)); });
  ExpectFound(Rule::kRP3);
}

TEST_F(IsrInvariantsTest, RP3ALeaderThatDoesNotKnowYet) {
  Change({.isr = Ids{1, 2}});  // it counts three still
  ExpectNone();
}

TEST_F(IsrInvariantsTest, RP3AZombieCountsWhomItLikes) {
  Change({.leader = 2, .isr = Ids{2, 3}});
  At(1, [](ReplicaView& view) { view.maximal_isr = {NodeId(1)}; });
  ExpectNone();
}

// ---- RP14 ----

TEST_F(IsrInvariantsTest, RP14SomebodyJoinsWhoWasNotAskedFor) {
  WithoutThree();
  Change({.isr = Ids{1, 2, 3}});
  ExpectFound(Rule::kRP14);
}

TEST_F(IsrInvariantsTest, RP14SomebodyJoinsAsAsked) {
  WithoutThree();
  ThreeIsThere();
  Propose(1, {1, 2, 3});
  Change({.isr = Ids{1, 2, 3}});
  ExpectNone();
}

TEST_F(IsrInvariantsTest, RP14WithAnotherIncarnation) {
  WithoutThree();
  ThreeIsThere();
  Propose(1, {1, 2, 3});
  End(3, check::End::kKilled);
  Boot(3, 2);
  Fence(3, true);
  Register(3, 2);
  Fence(3, false);
  Change({.isr = Ids{1, 2, 3}});
  ExpectFound(Rule::kRP14);
}

TEST_F(IsrInvariantsTest, RP14BelowTheHw) {
  WithoutThree();
  Produce(1, {2}, 100);
  ThreeIsThere();  // at 0, the HW is 1
  Propose(1, {1, 2, 3});
  ExpectFound(Rule::kRP14);
}

TEST_F(IsrInvariantsTest, RP14BelowTheEpochsStart) {
  WithoutThree();
  ThreeIsThere();
  At(1, [](ReplicaView& view) { view.epoch_start = Offset(1); });
  Propose(1, {1, 2, 3});
  ExpectFound(Rule::kRP14);
}

TEST_F(IsrInvariantsTest, RP14WithoutAWordInThisEpoch) {
  WithoutThree();
  Change({.leader = 2, .isr = Ids{1, 2}});
  Lead(2, 1);
  // What 3 told epoch 0 is taken for granted in epoch 1 (F12).
  Acknowledge(2, 3);
  Propose(2, {1, 2, 3});
  ExpectFound(Rule::kRP14);
}

// Seed 776: it acknowledged, was asked for, and left, in one event.
TEST_F(IsrInvariantsTest, RP14WhoLeftBehindTheQuestion) {
  WithoutThree();
  ThreeIsThere();
  At(1, [this](ReplicaView& view) {
    replica::Proposal proposal;
    for (const int id : {1, 2, 3}) proposal.isr[NodeId(id)] = EpochOf(id);
    proposal.partition_epoch = view.partition_epoch;
    view.maximal_isr.insert(NodeId(3));
    view.proposal = std::move(proposal);
    view.followers.at(NodeId(3)).accepted = false;
  });
  ExpectNone();
}

TEST_F(IsrInvariantsTest, RP14WhoHadLeftBefore) {
  WithoutThree();
  ThreeIsThere();
  At(1, [](ReplicaView& view) {
    view.followers.at(NodeId(3)).accepted = false;
  });
  Propose(1, {1, 2, 3});
  ExpectFound(Rule::kRP14);
}

// ---- RP15 ----

TEST_F(IsrInvariantsTest, RP15AnotherQuestionBesideTheFirst) {
  WithoutThree();
  ThreeIsThere();
  Propose(1, {1, 2, 3});
  Propose(1, {1, 3});
  ExpectFound(Rule::kRP15);
}

TEST_F(IsrInvariantsTest, RP15AnotherQuestionAfterANo) {
  WithoutThree();
  ThreeIsThere();
  Propose(1, {1, 2, 3});
  At(1, [](ReplicaView& view) {
    view.proposal.reset();
    view.maximal_isr = {NodeId(1), NodeId(2)};
  });
  Propose(1, {1, 2});
  ExpectNone();
}

TEST_F(IsrInvariantsTest, RP15WhatWasTakenBackIsApplied) {
  WithoutThree();
  ThreeIsThere();
  Propose(1, {1, 2, 3});
  At(1, [](ReplicaView& view) {
    view.proposal.reset();
    view.maximal_isr = {NodeId(1), NodeId(2)};
  });
  Change({.isr = Ids{1, 2, 3}});
  ExpectFound(Rule::kRP15);
}

// ---- RP16, RP17, RP20 ----

// A partition epoch that jumps, a new leader in the old epoch: replay refuses
// such records itself (delta_test).
TEST_F(IsrInvariantsTest, RP16TwoChangesOfAPartitionInOneBatch) {
  Batch batch;
  AddChange(batch, {.isr = Ids{1, 2}});
  AddChange(batch, {.isr = Ids{1, 2, 3}, .partition_epoch = 2});
  Commit(batch);
  ExpectFound(Rule::kRP16);
}

TEST_F(IsrInvariantsTest, RP16ANewLeaderInANewEpoch) {
  Change({.leader = 2, .isr = Ids{1, 2, 3}});
  ExpectNone();
}

TEST_F(IsrInvariantsTest, RP16ALeaderEpochWithoutANewLeader) {
  Change({.isr = Ids{1, 2}, .leader_epoch = 1});
  ExpectFound(Rule::kRP16);
}

TEST_F(IsrInvariantsTest, RP17InIsrAndElr) {
  Change({.isr = Ids{1}, .elr = Ids{1, 2}});
  ExpectFound(Rule::kRP17);
}

TEST_F(IsrInvariantsTest, RP17AnElrThatNobodyNeeds) {
  Change({.isr = Ids{1, 2}, .elr = Ids{3}});
  ExpectFound(Rule::kRP17);
}

TEST_F(IsrInvariantsTest, RP17AnElrBelowMinIsr) {
  Change({.isr = Ids{1}, .elr = Ids{2}, .unverified_elr = Ids{3}});
  ExpectNone();
}

TEST_F(IsrInvariantsTest, RP17InIsrAndDoubted) {
  Change({.isr = Ids{1}, .unverified_elr = Ids{1, 2}});
  ExpectFound(Rule::kRP17);
}

TEST_F(IsrInvariantsTest, RP17InElrAndDoubted) {
  Change({.isr = Ids{1}, .elr = Ids{2}, .unverified_elr = Ids{2}});
  ExpectFound(Rule::kRP17);
}

TEST_F(IsrInvariantsTest, RP17DoubtsThatNobodyNeeds) {
  Change({.isr = Ids{1, 2}, .unverified_elr = Ids{3}});
  ExpectFound(Rule::kRP17);
}

TEST_F(IsrInvariantsTest, RP17NobodyIsLeftAndWhoWasIsForgotten) {
  Change({.leader = -1, .isr = Ids{}, .last_full_isr = Ids{1}});
  ExpectFound(Rule::kRP17);
}

TEST_F(IsrInvariantsTest, RP17NobodyIsLeftAndWhoWasIsKnown) {
  Change({.leader = -1, .isr = Ids{}, .last_full_isr = Ids{1, 2}});
  ExpectNone();
}

// What else RP17 says no history can break: replay refuses it. The check asks
// all the same, should replay ever take it.
TEST_F(IsrInvariantsTest, RP17WhatReplayRefuses) {
  const CandidateLog log{NodeId(2), LeaderEpoch(0), Offset(0), Offset(0),
                         false};
  for (const PartitionChange& change : std::vector<PartitionChange>{
           {.isr = Ids{2, 3}},             // without its leader
           {.isr = Ids{1}, .elr = Ids{4}},  // which is no replica
           {.isr = Ids{1}, .unverified_elr = Ids{4}},
           {.candidates = {{log}}},  // beside a leader
           {.ordered = true}}) {
    Batch batch;
    AddChange(batch, change);
    EXPECT_FALSE(
        ApplyBatch(*cluster_.committed, batch, offset_.Next(), Term(1)).ok());
  }
}

TEST_F(IsrInvariantsTest, RP20ALeaderOutOfTheBlue) {
  WithoutThree();
  Change({.leader = 3, .isr = Ids{1, 2, 3}});
  ExpectFound(Rule::kRP20);
}

TEST_F(IsrInvariantsTest, RP20ALeaderThatIsNotActive) {
  Change({.isr = Ids{1, 3}});
  Fence(2, true);
  Change({.leader = -1, .isr = Ids{}, .elr = Ids{1, 2, 3}});
  Forget();
  Change({.leader = 2, .isr = Ids{2}, .elr = Ids{1, 3}});
  ExpectFound(Rule::kMD4);
  ExpectAmong(Rule::kRP20);
}

TEST_F(IsrInvariantsTest, RP20OutOfTheElrTogetherWithAnother) {
  Change({.leader = -1, .isr = Ids{}, .elr = Ids{2, 3}});
  Change({.leader = 3, .isr = Ids{2, 3}, .elr = Ids{}});
  ExpectFound(Rule::kRP20);
}

TEST_F(IsrInvariantsTest, RP20OneThatWasDoubtedOnceItHasTold) {
  Change({.leader = -1, .isr = Ids{}, .unverified_elr = Ids{2, 3}});
  Change({.leader = 3, .isr = Ids{3}, .unverified_elr = Ids{2}});
  ExpectNone();
}

TEST_F(IsrInvariantsTest, RP20OutOfTheElrWithNobodyElse) {
  Change({.leader = -1, .isr = Ids{}, .elr = Ids{2, 3}});
  Change({.leader = 3, .isr = Ids{3}, .elr = Ids{2}});
  ExpectNone();
}

}  // namespace
}  // namespace sluice::check
