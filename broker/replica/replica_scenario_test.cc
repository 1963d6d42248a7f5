// The scenarios of correctness.md 3.1 that one partition can play, by number.
// README.md has, for each, the line whose removal turns it red.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/replica/replica_testing.h"

namespace sluice::replica {
namespace {

using testing::Test;

class ReplicaScenarioTest : public Test {
 protected:
  void Begin(const GroupOptions& options) {
    group_ = std::make_unique<ReplicaGroup>(options);
    group_->KeepActions();
    group_->Settle();
    // Followers that have an open link and were accepted.
    group_->Run(300'000);
  }

  void TearDown() override {
    EXPECT_EQ(group_->checker().violation().value_or(""), "");
  }

  ReplicaGroup& group() { return *group_; }
  ReplicaCore& core(int n) { return group_->core(n); }
  ModelController& controller() { return group_->controller(); }

  // The controller moves leadership; only `n` of all replicas has heard of it.
  void Lead(int n) {
    controller().Prefer(NodeId(n));
    group_->Apply(n, controller().version());
  }

  // From now on nothing travels between them.
  void Cut(int a, int b) {
    group_->BreakLink(a, b);
    group_->BreakLink(b, a);
    group_->node(a).wants_link = kNoNode;
    group_->node(b).wants_link = kNoNode;
  }

  int64_t IdAt(int n, int64_t offset) {
    return group_->node(n).log.At(Offset(offset)).id;
  }
  int64_t Leo(int n) { return group_->node(n).log.leo().value(); }
  int64_t Hw(int n) { return core(n).high_watermark().value(); }

  std::vector<NodeId> Isr() { return controller().now().isr; }
  bool InIsr(int n) {
    const auto isr = Isr();
    return std::find(isr.begin(), isr.end(), NodeId(n)) != isr.end();
  }

  void ExpectSameLogs(int a, int b) {
    ASSERT_EQ(Leo(a), Leo(b));
    for (int64_t o = 0; o < Leo(a); ++o) {
      EXPECT_EQ(IdAt(a, o), IdAt(b, o)) << "offset " << o;
    }
  }

  // A broker that is down comes back and is unfenced.
  void ComeBack(int n) {
    group_->Restart(n);
    group_->Settle();
    controller().Unfence(NodeId(n));
    group_->Settle();
  }

  template <class A>
  std::vector<A> Done(int n) {
    std::vector<A> result;
    for (const Action& action : group_->node(n).done) {
      if (const A* a = std::get_if<A>(&action)) result.push_back(*a);
    }
    return result;
  }

  std::unique_ptr<ReplicaGroup> group_;
};

// KIP-101, first scenario: m2 is on both and acknowledged, the follower has
// not heard so; it restarts, the leader dies, it is elected.
TEST_F(ReplicaScenarioTest, F1ARestartedFollowerKeepsWhatWasCommittedAboveItsHw) {
  Begin({.replicas = 2, .min_isr = 2});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  ASSERT_TRUE(group().Produce(1));
  const int64_t m2 = IdAt(1, 1);
  group().Deliver(1, 2);
  group().Deliver(2, 1);
  while (Hw(1) < 2) ASSERT_TRUE(group().Deliver(2, 1));
  ASSERT_EQ(Hw(2), 1);
  group().SaveMarks(2);

  group().PowerCut(2);
  group().Restart(2);

  EXPECT_EQ(Leo(2), 2);
  EXPECT_EQ(Hw(2), 1);
  EXPECT_FALSE(InIsr(2));
  group().PowerCut(1);
  controller().Fence(NodeId(1));
  group().Settle();
  controller().Unfence(NodeId(2));
  group().Settle();
  EXPECT_TRUE(core(2).leads());
  EXPECT_EQ(IdAt(2, 1), m2);
  ComeBack(1);
  group().Run(300'000);
  ExpectSameLogs(1, 2);
  EXPECT_EQ(Isr().size(), 2u);
  EXPECT_EQ(Hw(2), 2);
}

// The same with a follower that did lose m2: until it has it again it is
// nobody's successor.
TEST_F(ReplicaScenarioTest, F1ALossyFollowerIsNotInSyncBeforeItHoldsWhatIsCommitted) {
  Begin({.replicas = 2, .min_isr = 1, .durable = false});
  group().node(2).hold_disk = true;
  ASSERT_TRUE(group().Produce(1));
  ASSERT_TRUE(group().Produce(1));
  const int64_t m2 = IdAt(1, 1);
  group().Settle();
  ASSERT_EQ(Hw(1), 2);
  group().PowerCut(2);

  group().Restart(2);
  group().ApplyAll();
  controller().Unfence(NodeId(2));
  group().ApplyAll();
  ASSERT_EQ(Leo(2), 0);
  group().OpenLink(2, 1);
  // Its Add and the acceptance; no record yet.
  ASSERT_TRUE(group().Deliver(2, 1));
  while (!group().questions().empty()) group().Decide(0);
  EXPECT_FALSE(InIsr(2));
  group().Kill(1);
  controller().Fence(NodeId(1));
  group().Settle();

  EXPECT_FALSE(core(2).leads());
  ComeBack(1);
  group().Run(300'000);
  EXPECT_TRUE(core(1).leads());
  EXPECT_EQ(IdAt(1, 1), m2);
  ExpectSameLogs(1, 2);
}

// KIP-101, second scenario, without a loss: the ex-leader's unreplicated record
// and the new leader's lie at one offset, both logs end there.
TEST_F(ReplicaScenarioTest, F2EqualEndsWithDifferentRecordsAreFound) {
  Begin({.replicas = 2, .min_isr = 1});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  Cut(1, 2);
  ASSERT_TRUE(group().Produce(1));  // m2, nowhere else
  group().Kill(1);
  controller().Fence(NodeId(1));
  group().Settle();
  ASSERT_TRUE(group().Produce(2));  // m3 at the same offset
  const int64_t m3 = IdAt(2, 1);
  ASSERT_EQ(Leo(2), 2);
  group().Restart(1);
  ASSERT_EQ(Leo(1), 2);
  ASSERT_NE(IdAt(1, 1), m3);

  group().Settle();

  EXPECT_EQ(IdAt(1, 1), m3);
  ExpectSameLogs(1, 2);
}

// As in the book: memory mode, min ISR 1, the power of both goes; the one that
// lost m2 is made leader by order. Never two histories.
TEST_F(ReplicaScenarioTest, F2AnUncleanElectionLeavesOneHistory) {
  Begin({.replicas = 2, .min_isr = 1, .durable = false});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  group().node(2).hold_disk = true;
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  ASSERT_EQ(Hw(1), 2);
  group().SaveMarks(1);
  group().PowerCut(2);
  group().PowerCut(1);
  group().node(2).hold_disk = false;
  group().Restart(2);
  group().Settle();
  controller().Unfence(NodeId(2));
  group().Settle();
  ASSERT_FALSE(core(2).leads());
  group().ElectUnclean(2);
  group().Settle();
  ASSERT_TRUE(group().Produce(2));
  ASSERT_EQ(Leo(2), 2);
  const int64_t m3 = IdAt(2, 1);

  group().Restart(1);
  ASSERT_EQ(Hw(1), 2);
  group().Settle();

  EXPECT_EQ(IdAt(1, 1), m3);
  ExpectSameLogs(1, 2);
}

// KIP-279: quick changes of leaders that do not hear of each other. One round
// finds where the last epoch ends, not where the histories part.
TEST_F(ReplicaScenarioTest, F4EpochsAreComparedUntilTheyAgree) {
  Begin({.replicas = 2, .min_isr = 1});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  Cut(1, 2);
  ASSERT_TRUE(group().Produce(1, 2));  // epoch 0, unreplicated
  Lead(2);
  ASSERT_TRUE(group().Produce(2));  // epoch 1 at offset 1
  Lead(1);
  ASSERT_TRUE(group().Produce(1));  // epoch 2 at offset 3
  Lead(2);
  ASSERT_TRUE(group().Produce(2));  // epoch 3 at offset 2
  Lead(1);
  ASSERT_EQ(Leo(1), 4);
  ASSERT_EQ(Leo(2), 3);
  const int64_t kept = IdAt(1, 3);
  group().node(2).done.clear();

  group().Settle();

  const auto cuts = Done<TruncateTo>(2);
  ASSERT_EQ(cuts.size(), 2u);
  EXPECT_EQ(cuts[0].target, Offset(2));  // epoch 3 is unknown to 1
  EXPECT_EQ(cuts[1].target, Offset(1));  // so is epoch 1
  EXPECT_EQ(IdAt(2, 3), kept);
  ExpectSameLogs(1, 2);
}

// Also KIP-279: an epoch in which nothing was appended has an entry, and it
// outlives the process.
TEST_F(ReplicaScenarioTest, F4AnEpochWithoutRecordsIsRemembered) {
  Begin({.replicas = 2, .min_isr = 1});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  Lead(2);
  ASSERT_EQ(core(2).epochs().last_epoch(), LeaderEpoch(1));

  group().PowerCut(2);
  group().Restart(2);

  EXPECT_EQ(core(2).epochs().last_epoch(), LeaderEpoch(1));
  EXPECT_EQ(core(2).epochs().EndOf(LeaderEpoch(0), core(2).leo()),
            (EpochEnd{LeaderEpoch(0), Offset(1)}));
}

// F5 (KIP-320, first try): what a follower reported in an older epoch moves no
// high watermark in the next.
TEST_F(ReplicaScenarioTest, F5AnAckOfAnOlderEpochMovesNothing) {
  Begin({.replicas = 2, .min_isr = 1});
  group().node(2).hold_disk = true;
  ASSERT_TRUE(group().Produce(1));
  ASSERT_TRUE(group().Deliver(1, 2));
  group().CompleteDisk(2);  // the Ack of offset 1 is under way
  controller().RemoveAndAddAgain(NodeId(1));  // any new epoch of leader 1
  controller().Prefer(NodeId(2));
  controller().Prefer(NodeId(1));
  group().Apply(1, controller().version());
  const int64_t before = Hw(1);

  while (group().Deliver(2, 1)) {
  }

  EXPECT_EQ(Hw(1), before);
}

// F7, F8: an AlterPartition and an Ack of an incarnation that is over.
TEST_F(ReplicaScenarioTest, F7AnAdditionOfAnOlderIncarnationIsRefusedAndReverted) {
  Begin({.replicas = 3, .min_isr = 2});
  controller().Fence(NodeId(3));
  group().Settle();
  controller().Unfence(NodeId(3));
  group().ApplyAll();
  group().Run(0);
  // In sync by its log, the leader asks for it; then it reboots empty.
  group().BreakLink(3, 1);
  group().Run(300'000);
  controller().Fence(NodeId(3));
  group().Settle();
  controller().Unfence(NodeId(3));
  group().ApplyAll();
  group().OpenLink(3, 1);
  for (int i = 0; i < 10 && group().questions().empty(); ++i) {
    group().Pass(100'000);
    for (int n : {1, 2, 3}) group().Tick(n);
    while (group().Deliver(3, 1) || group().Deliver(1, 3)) {
    }
  }
  ASSERT_EQ(group().questions().size(), 1u);
  ASSERT_EQ(core(1).maximal_isr().size(), 3u);
  group().Kill(3);
  group().Wipe(3);
  group().Restart(3);

  group().Decide(0);

  EXPECT_FALSE(InIsr(3));
  group().ApplyAll();
  EXPECT_EQ(core(1).maximal_isr().size(), 2u);
}

// The leader asked to add C and goes on with A and B; the controller has
// applied it and elects C.
TEST_F(ReplicaScenarioTest, F9TheHighWatermarkWaitsForAProposedMember) {
  Begin({.replicas = 3, .min_isr = 1});
  controller().Fence(NodeId(3));
  group().Settle();
  ASSERT_FALSE(InIsr(3));
  controller().Unfence(NodeId(3));
  group().ApplyAll();
  group().Pass(ReplicaCore::kProposeAgainUs);
  group().Tick(1);
  ASSERT_EQ(group().questions().size(), 1u);  // +3
  ASSERT_FALSE(InIsr(3));

  ASSERT_TRUE(group().Produce(1));
  while (group().Deliver(1, 2) || group().Deliver(2, 1)) {
  }

  EXPECT_EQ(Hw(1), 0);
  group().Decide(0);  // applied; the answer and the metadata are late
  controller().Prefer(NodeId(3));
  group().Apply(3, controller().version());
  EXPECT_TRUE(core(3).leads());
  group().Run(300'000);
  ExpectSameLogs(1, 3);
}

// The leader asked to remove C; the request is lost. C stays a member, and is
// elected.
TEST_F(ReplicaScenarioTest, F10ARemovedMemberCountsUntilTheRemovalIsCommitted) {
  Begin({.replicas = 3, .min_isr = 1, .lag_time_max_us = 1'000'000});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  Cut(3, 1);
  ASSERT_TRUE(group().Produce(1));
  while (group().Deliver(1, 2) || group().Deliver(2, 1)) {
  }
  group().Pass(1'500'000);
  group().Tick(1);
  ASSERT_EQ(group().questions().size(), 1u);  // -3
  ASSERT_EQ(group().questions()[0].proposal.isr.size(), 2u);

  group().GiveUp(0, /*lost=*/true);

  EXPECT_EQ(Hw(1), 1);  // not 2: 3 may be elected
  EXPECT_FALSE(core(1).isr_is_settled());
  controller().Prefer(NodeId(3));
  group().Apply(3, controller().version());
  EXPECT_TRUE(core(3).leads());
  EXPECT_EQ(Hw(3), 1);
}

// F11: applied, the answer lost, asked again: once, and the metadata settles.
TEST_F(ReplicaScenarioTest, F11AQuestionAskedTwiceChangesTheIsrOnce) {
  Begin({.replicas = 3, .min_isr = 1});
  Cut(3, 1);
  ASSERT_TRUE(group().Produce(1));
  while (group().Deliver(1, 2) || group().Deliver(2, 1)) {
  }
  group().Pass(1'500'000);
  group().Tick(1);
  ASSERT_EQ(group().questions().size(), 1u);
  group().GiveUp(0, /*lost=*/false);  // it still comes
  group().Pass(ReplicaCore::kProposeAgainUs);
  group().Tick(1);
  ASSERT_EQ(group().questions().size(), 2u);
  EXPECT_EQ(group().questions()[0].proposal.isr,
            group().questions()[1].proposal.isr);
  const auto epoch = controller().now().partition_epoch;

  group().Decide(0);
  group().Decide(0);

  EXPECT_EQ(controller().now().partition_epoch, epoch + 1);
  EXPECT_EQ(Hw(1), 0);
  group().ApplyAll();
  EXPECT_EQ(Hw(1), 1);
  EXPECT_TRUE(core(1).isr_is_settled());
}

// C is removed and added again within what the leader sees as one change; its
// data is gone. What it once reported must not let it in.
TEST_F(ReplicaScenarioTest, F12WhatAReplicaReportedBeforeItsRemovalIsVoid) {
  Begin({.replicas = 3, .min_isr = 1});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  ASSERT_EQ(Hw(1), 1);
  controller().RemoveAndAddAgain(NodeId(3));
  group().DeleteReplica(3);
  ASSERT_EQ(Leo(3), 0);

  group().Apply(1, controller().version());
  group().Pass(300'000);
  group().Tick(1);

  for (const ReplicaGroup::Question& question : group().questions()) {
    EXPECT_EQ(question.proposal.isr.count(NodeId(3)), 0u);
  }
  for (const FollowerStatus& status : core(1).Followers()) {
    EXPECT_EQ(status.appended, kNoOffset) << status.broker;
  }
  group().Run(500'000);
  EXPECT_TRUE(InIsr(3));
  ExpectSameLogs(1, 3);
}

// KIP-966: from three in sync to the last one, which then dies for good.
TEST_F(ReplicaScenarioTest, F13TheLastReplicaStandingCommitsNothingAlone) {
  Begin({.replicas = 3, .min_isr = 2, .durable = false});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  controller().Fence(NodeId(2));
  controller().Fence(NodeId(3));
  group().ApplyAll();

  EXPECT_EQ(core(1).CheckProduce(/*acks_all=*/true).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_FALSE(group().Produce(1));
  ASSERT_TRUE(group().Produce(1, 1, /*acks_all=*/false));
  EXPECT_EQ(Hw(1), 1);
  group().PowerCut(1);
  controller().Fence(NodeId(1));
  controller().Unfence(NodeId(2));  // or 3: whoever was in the ELR
  controller().Unfence(NodeId(3));
  group().Settle();

  ASSERT_NE(group().leader(), 0);
  EXPECT_EQ(Leo(group().leader()), 1);
}

// F23: a new leader whose HW is behind says so instead of a smaller truth.
TEST_F(ReplicaScenarioTest, F23ANewLeaderKnowsWhatItDoesNotKnow) {
  Begin({.replicas = 3, .min_isr = 2});
  ASSERT_TRUE(group().Produce(1));
  while (group().Deliver(1, 2) || group().Deliver(1, 3)) {
  }
  group().Deliver(2, 1);
  group().Deliver(2, 1);
  group().Deliver(3, 1);
  group().Deliver(3, 1);
  ASSERT_EQ(Hw(1), 1);
  ASSERT_EQ(Hw(2), 0);
  group().PowerCut(1);
  controller().Fence(NodeId(1));
  group().Apply(2, controller().version());
  ASSERT_TRUE(core(2).leads());

  EXPECT_FALSE(core(2).hw_is_truth());

  group().Settle();
  EXPECT_TRUE(core(2).hw_is_truth());
  EXPECT_EQ(Hw(2), 1);
}

// KAFKA-14704: an ex-leader with a suffix of its own hears of a larger high
// watermark before its suffix is cut.
TEST_F(ReplicaScenarioTest, F24NoHighWatermarkIsAdoptedBeforeTheDivergenceIsSettled) {
  Begin({.replicas = 3, .min_isr = 2});
  Cut(1, 2);
  Cut(1, 3);
  ASSERT_TRUE(group().Produce(1, 3));  // the suffix
  controller().Prefer(NodeId(2));
  group().Apply(2, controller().version());
  group().Apply(3, controller().version());
  group().OpenLink(3, 2);
  while (group().Deliver(3, 2) || group().Deliver(2, 3)) {
  }
  ASSERT_TRUE(group().Produce(2, 2));
  while (group().Deliver(3, 2) || group().Deliver(2, 3)) {
  }
  controller().Fence(NodeId(1));
  group().Apply(2, controller().version());
  group().Apply(1, controller().version());
  ASSERT_EQ(Hw(2), 2);
  ASSERT_EQ(Leo(1), 3);

  group().Step(1, HighWatermarkReceived{core(2).leader_epoch(), Offset(2)});

  EXPECT_EQ(Hw(1), 0);
  group().Settle();
  EXPECT_EQ(Hw(1), 2);
  ExpectSameLogs(1, 2);
}

// KAFKA-15510: a follower that has been caught up for long fetches nothing but
// empty answers; then the leader changes, to one with another history.
TEST_F(ReplicaScenarioTest, F25TheLastFetchedEpochSurvivesEmptyAnswers) {
  Begin({.replicas = 3, .min_isr = 1});
  ASSERT_TRUE(group().Produce(1));
  group().Settle();
  Cut(1, 2);
  ASSERT_TRUE(group().Produce(1));  // to 3 only
  while (group().Deliver(1, 3) || group().Deliver(3, 1)) {
  }
  ASSERT_EQ(Leo(3), 2);
  for (int i = 0; i < 20; ++i) {
    group().Step(3, HighWatermarkReceived{LeaderEpoch(0), Offset(1)});
    group().Pass(100'000);
    group().Tick(3);
  }
  Lead(2);
  ASSERT_TRUE(group().Produce(2));  // another record at offset 1
  group().node(3).done.clear();

  group().Apply(3, controller().version());

  const auto adds = Done<SendAdd>(3);
  ASSERT_FALSE(adds.empty());
  EXPECT_EQ(adds[0].last_fetched_epoch, LeaderEpoch(0));
  group().Settle();
  ExpectSameLogs(2, 3);
}

// F27 b: the leader dies after it moved the HW and before anybody heard.
TEST_F(ReplicaScenarioTest, F27WhatWasCommittedIsVisibleAtTheNextLeader) {
  Begin({.replicas = 3, .min_isr = 2});
  ASSERT_TRUE(group().Produce(1));
  const int64_t id = IdAt(1, 0);
  while (group().Deliver(1, 2) || group().Deliver(1, 3)) {
  }
  while (Hw(1) < 1) {
    group().Deliver(2, 1);
    group().Deliver(3, 1);
  }
  group().PowerCut(1);
  controller().Fence(NodeId(1));
  group().Settle();

  const int leader = group().leader();
  ASSERT_NE(leader, 0);
  EXPECT_EQ(Hw(leader), 1);
  EXPECT_EQ(IdAt(leader, 0), id);
}

// F28: five leaders in a row, some without a record.
TEST_F(ReplicaScenarioTest, F28EpochHistoriesAgreeAfterManyShortReigns) {
  Begin({.replicas = 3, .min_isr = 1});
  for (int reign = 0; reign < 5; ++reign) {
    const int n = 1 + reign % 3;
    for (int m : {1, 2, 3}) {
      if (m != n) Cut(n, m);
    }
    Lead(n);
    if (reign % 2 == 0) {
      ASSERT_TRUE(group().Produce(n, 1 + reign, false));
    }
  }

  group().Run(500'000);

  const int leader = group().leader();
  ASSERT_NE(leader, 0);
  ASSERT_TRUE(group().Produce(leader));
  group().Run(500'000);
  for (int n : {1, 2, 3}) {
    ExpectSameLogs(leader, n);
    for (int64_t o = 0; o < Leo(n); ++o) {
      EXPECT_EQ(core(n).epochs().EpochAt(Offset(o)),
                group().node(n).log.At(Offset(o)).epoch);
    }
  }
}

// F34: the log start follows the leader's, never past the HW, and what was
// deleted does not come back with another leader.
TEST_F(ReplicaScenarioTest, F34TheLogStartReachesFollowersBelowTheirHighWatermark) {
  Begin({.replicas = 3, .min_isr = 2});
  ASSERT_TRUE(group().Produce(1, 1));
  ASSERT_TRUE(group().Produce(1, 1));
  group().Run(200'000);
  group().MoveLogStart(1, Offset(2));
  ASSERT_TRUE(group().Produce(1, 1));
  group().Settle();

  for (int n : {1, 2, 3}) EXPECT_EQ(core(n).log_start(), Offset(2)) << n;
}

}  // namespace
}  // namespace sluice::replica
