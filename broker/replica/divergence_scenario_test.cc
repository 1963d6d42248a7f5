// Scenarios of correctness.md 3.1 in which histories part, by number. README.md
// has, for each, the line whose removal turns it red.
#include <gtest/gtest.h>

#include <algorithm>

#include "broker/replica/scenario_testing.h"

namespace sluice::replica {
namespace {

class DivergenceScenarioTest : public ScenarioTest {};

// KIP-101, first scenario: m2 is on both and acknowledged, the follower has
// not heard so; it restarts, the leader dies, it is elected.
TEST_F(DivergenceScenarioTest, F1ARestartedFollowerKeepsWhatWasCommittedAboveItsHw) {
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
TEST_F(DivergenceScenarioTest, F1ALossyFollowerIsNotInSyncBeforeItHoldsWhatIsCommitted) {
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
TEST_F(DivergenceScenarioTest, F2EqualEndsWithDifferentRecordsAreFound) {
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
TEST_F(DivergenceScenarioTest, F2AnUncleanElectionLeavesOneHistory) {
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
TEST_F(DivergenceScenarioTest, F4EpochsAreComparedUntilTheyAgree) {
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
TEST_F(DivergenceScenarioTest, F4AnEpochWithoutRecordsIsRemembered) {
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

// KAFKA-14704: an ex-leader with a suffix of its own hears of a larger high
// watermark before its suffix is cut.
TEST_F(DivergenceScenarioTest, F24NoHighWatermarkIsAdoptedBeforeTheDivergenceIsSettled) {
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
TEST_F(DivergenceScenarioTest, F25TheLastFetchedEpochSurvivesEmptyAnswers) {
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
TEST_F(DivergenceScenarioTest, F27WhatWasCommittedIsVisibleAtTheNextLeader) {
  Begin({.replicas = 3, .min_isr = 2});
  ASSERT_TRUE(group().Produce(1));
  const int64_t id = IdAt(1, 0);
  while (group().Deliver(1, 2) || group().Deliver(1, 3)) {
  }
  while (group().Deliver(2, 1) || group().Deliver(3, 1)) {
  }
  ASSERT_EQ(Hw(1), 1);
  ASSERT_EQ(Hw(2), 0);
  group().PowerCut(1);
  controller().Fence(NodeId(1));
  group().Settle();

  const int leader = group().leader();
  ASSERT_NE(leader, 0);
  EXPECT_EQ(Hw(leader), 1);
  EXPECT_EQ(IdAt(leader, 0), id);
}

// F28: five leaders in a row, some without a record.
TEST_F(DivergenceScenarioTest, F28EpochHistoriesAgreeAfterManyShortReigns) {
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

// F34: every replica's log starts where the metadata says, never past its HW.
TEST_F(DivergenceScenarioTest, F34TheLogStartReachesFollowersBelowTheirHighWatermark) {
  Begin({.replicas = 3, .min_isr = 2});
  ASSERT_TRUE(group().Produce(1, 1));
  ASSERT_TRUE(group().Produce(1, 1));
  group().Run(200'000);
  group().Trim(1, Offset(2));
  ASSERT_TRUE(group().Produce(1, 1));
  group().Settle();

  for (int n : {1, 2, 3}) {
    EXPECT_EQ(core(n).log_start(), Offset(2)) << n;
    EXPECT_EQ(group().node(n).log.log_start(), Offset(2)) << n;
  }
}

// F34: nobody heard of the trim before its leader was gone.
TEST_F(DivergenceScenarioTest, F34WhoeverIsElectedBeginsAtTheRegisteredLogStart) {
  Begin({.replicas = 3, .min_isr = 2});
  ASSERT_TRUE(group().Produce(1, 1));
  ASSERT_TRUE(group().Produce(1, 1));
  group().Run(200'000);
  group().Trim(1, Offset(1));
  group().Apply(1, group().controller().version());
  ASSERT_EQ(core(1).log_start(), Offset(1));
  ASSERT_EQ(core(2).log_start(), Offset(0));
  group().PowerCut(1);
  group().controller().Fence(NodeId(1));
  group().Settle();

  ASSERT_EQ(group().leader(), 2);
  EXPECT_EQ(core(2).log_start(), Offset(1));
  EXPECT_EQ(core(2).leo(), Offset(2));
  EXPECT_EQ(core(3).log_start(), Offset(1));
}

// F34: an unclean election of a log that ends below what was deleted.
TEST_F(DivergenceScenarioTest, F34AnUncleanLeaderBeginsWhereTheLogWasTrimmedTo) {
  Begin({.replicas = 3, .min_isr = 1});
  group().controller().Fence(NodeId(3));
  group().PowerCut(3);
  group().Settle();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(group().Produce(1, 1));
  group().Run(200'000);
  group().Trim(1, Offset(3));
  group().Settle();
  ASSERT_EQ(core(2).log_start(), Offset(3));
  for (const int n : {1, 2}) {
    group().PowerCut(n);
    group().controller().Fence(NodeId(n));
  }
  group().Restart(3);
  group().Settle();
  group().controller().Unfence(NodeId(3));
  group().ElectUnclean(3);
  group().Settle();

  ASSERT_EQ(group().leader(), 3);
  EXPECT_EQ(core(3).log_start(), Offset(3));
  ASSERT_TRUE(group().Produce(3, 1));
  group().Restart(1);
  group().Settle();
  EXPECT_EQ(core(1).log_start(), Offset(3));
  EXPECT_EQ(core(1).leo(), Offset(4));
  EXPECT_EQ(group().node(1).log.At(Offset(3)), group().node(3).log.At(Offset(3)));
}

}  // namespace
}  // namespace sluice::replica
