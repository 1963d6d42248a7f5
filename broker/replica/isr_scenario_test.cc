// Scenarios of correctness.md 3.1 about who counts and who is in sync, by
// number. README.md has, for each, the line whose removal turns it red.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/replica/scenario_testing.h"

namespace sluice::replica {
namespace {

class IsrScenarioTest : public ScenarioTest {};

// F5 (KIP-320, first try): 3 acknowledged to 1 what it then cut for 2; 1 leads
// again, the old Ack comes late. It must not count for the record that 3 has
// not got.
TEST_F(IsrScenarioTest, F5AnAckOfAnOlderEpochMovesNothing) {
  Begin({.replicas = 3, .min_isr = 1});
  Cut(1, 2);
  ASSERT_TRUE(group().Produce(1));
  ASSERT_TRUE(group().Deliver(1, 3));
  ASSERT_EQ(Leo(3), 1);
  group().BreakLink(3, 1);  // its Acks are somewhere in the network
  ASSERT_FALSE(group().late_frames().empty());
  Lead(2);
  group().Apply(3, controller().version());
  group().OpenLink(3, 2);
  while (group().Deliver(3, 2) || group().Deliver(2, 3)) {
  }
  ASSERT_EQ(Leo(3), 0);
  Lead(1);
  group().Apply(2, controller().version());
  group().OpenLink(2, 1);
  while (group().Deliver(2, 1) || group().Deliver(1, 2)) {
  }
  ASSERT_EQ(Leo(2), 1);
  group().Apply(3, controller().version());
  group().OpenLink(3, 1);
  ASSERT_TRUE(group().Deliver(3, 1));  // accepted from 0

  while (!group().late_frames().empty()) group().DeliverLate(0);

  EXPECT_EQ(Hw(1), 0);
  group().Settle();
  EXPECT_EQ(Hw(1), 1);
}

// F8: the same with an incarnation that lost its memory, within one epoch.
TEST_F(IsrScenarioTest, F8AnAckOfAnOlderIncarnationMovesNothing) {
  Begin({.replicas = 3, .min_isr = 1, .durable = false});
  group().node(3).hold_disk = true;
  ASSERT_TRUE(group().Produce(1));
  ASSERT_TRUE(group().Deliver(1, 3));
  ASSERT_EQ(Leo(3), 1);
  group().PowerCut(3);
  group().Restart(3);
  ASSERT_EQ(Leo(3), 0);
  group().ApplyAll();
  group().OpenLink(3, 1);
  ASSERT_TRUE(group().Deliver(3, 1));  // accepted from 0

  while (!group().late_frames().empty()) group().DeliverLate(0);

  for (const FollowerStatus& f : core(1).Followers()) {
    if (f.broker == NodeId(3)) {
      EXPECT_EQ(f.appended, Offset(0));
    }
  }
}

// F7: an AlterPartition that names an incarnation that is over.
TEST_F(IsrScenarioTest, F7AnAdditionOfAnOlderIncarnationIsRefusedAndReverted) {
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
TEST_F(IsrScenarioTest, F9TheHighWatermarkWaitsForAProposedMember) {
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
TEST_F(IsrScenarioTest, F10ARemovedMemberCountsUntilTheRemovalIsCommitted) {
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
TEST_F(IsrScenarioTest, F11AQuestionAskedTwiceChangesTheIsrOnce) {
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
TEST_F(IsrScenarioTest, F12WhatAReplicaReportedBeforeItsRemovalIsVoid) {
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
TEST_F(IsrScenarioTest, F13TheLastReplicaStandingCommitsNothingAlone) {
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
TEST_F(IsrScenarioTest, F23ANewLeaderKnowsWhatItDoesNotKnow) {
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

}  // namespace
}  // namespace sluice::replica
