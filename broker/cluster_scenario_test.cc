// The scenarios of correctness.md 3.1 that need disks, streams and a
// controller: what has to survive, by name and number.
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using End = SimCluster::End;

class ClusterScenario : public ShardFixture {
 protected:
  const PartitionImage& state() { return *cluster->image().FindPartition(tp); }
  void CutOff(int id) {
    for (int other = 1; other <= cluster->broker_count(); ++other) {
      if (other != id) cluster->network().Cut(NodeId(id), NodeId(other));
    }
  }
  // Appends one record and runs until the very moment it is acknowledged.
  void Acknowledge(const std::string& value) {
    const AppendOutcome outcome = AppendNow(leader(), api::Acks::kAll, value);
    ASSERT_TRUE(outcome.error.ok()) << outcome.error.message;
  }
  std::vector<std::string> AllValues() {
    EXPECT_TRUE(cluster->RunUntilReadable(tp));
    return Values(Read(leader(), 0));
  }
  void ExpectConverged() {
    ASSERT_TRUE(cluster->RunUntilHealthy(tp)) << cluster->Describe(tp);
    world().RunFor(kSecondUs);
    EXPECT_EQ(SimClient(cluster.get()).CheckReplicas(tp, true), "");
    EXPECT_THAT(cluster->fatal(), IsEmpty());
  }
};

// F1 (KIP-101, first): the textbook's cut at the own high watermark loses m2,
// acknowledged and on both, when the cut replica is elected.
TEST_F(ClusterScenario, F1HwTruncationOnRestartKeepsWhatIsCommitted) {
  Open(2, {{"min.insync.replicas", "1"}});
  Acknowledge("m1");
  Acknowledge("m2");
  // The follower has m2 and does not know yet that it is committed.
  ASSERT_EQ(partition(2).leo(), Offset(2));
  ASSERT_LT(partition(2).high_watermark(), Offset(2));
  cluster->Stop(2, End::kPowerLossOfAll);
  cluster->Start(2);
  ASSERT_TRUE(world().RunUntil(
      [&] { return cluster->broker(2)->Find(tp) != nullptr; }, kSecondUs));
  EXPECT_EQ(partition(2).leo(), Offset(2));
  ASSERT_TRUE(world().RunUntil(
      [&] { return Contains(state().isr, NodeId(2)); }, 10 * kSecondUs));
  EXPECT_EQ(cluster->broker(2)->Counters().truncations, 0);
  cluster->Stop(1, End::kPowerLossOfAll);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(leader(), 2);
  EXPECT_THAT(AllValues(), ElementsAre("m1", "m2"));
  cluster->Start(1);
  ExpectConverged();
  EXPECT_THAT(AllValues(), ElementsAre("m1", "m2"));
}

// F1, the other half: until it has caught up it is not elected at all.
TEST_F(ClusterScenario, F1AReplicaThatRestartedIsOutOfTheIsrUntilItCaughtUp) {
  Open(2, {{"min.insync.replicas", "1"}});
  Acknowledge("m1");
  cluster->Stop(2, End::kPowerLossOfAll);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->Start(2);
  world().RunFor(kSecondUs);
  EXPECT_THAT(state().isr, ElementsAre(NodeId(1)));
  Acknowledge("m2");  // by the leader alone: min ISR is 1
  cluster->Stop(1, End::kPowerLossOfAll);
  world().RunFor(5 * kSecondUs);
  EXPECT_EQ(state().leader, kNoNode);  // broker 2 lacks m2: nobody leads
  cluster->network().Heal();
  cluster->Start(1);
  ExpectConverged();
  EXPECT_THAT(AllValues(), ElementsAre("m1", "m2"));
}

// F2 (KIP-101, second): equal LEO, different bytes, for ever.
TEST_F(ClusterScenario, F2DivergenceAtEqualOffsetsIsFoundAndCut) {
  Open(2, {{"min.insync.replicas", "1"}});
  ASSERT_EQ(leader(), 1);
  Acknowledge("m1");
  world().RunFor(2 * kSecondUs);
  cluster->network().Cut(NodeId(1), NodeId(2));
  ASSERT_TRUE(AppendNow(1, api::Acks::kLeader, "m2").error.ok());
  cluster->Stop(1, End::kPowerLossOfAll);
  cluster->Stop(2, End::kPowerLossOfAll);
  world().RunFor(200'000);  // broker 2 is found dead last: it may lead alone
  cluster->Start(2);
  ASSERT_TRUE(cluster->RunUntilReadable(tp)) << cluster->Describe(tp);
  Acknowledge("m3");
  ASSERT_EQ(partition(2).leo(), Offset(2));
  cluster->network().Heal();
  cluster->Start(1);
  ExpectConverged();
  EXPECT_EQ(cluster->broker(1)->Counters().truncations, 1);
  EXPECT_THAT(AllValues(), ElementsAre("m1", "m3"));
}

// F13 (KIP-966): ISR 3 -> 1 by partitions, then the last leader loses its page
// cache. Its high watermark was frozen; an ELR member holds all of it.
TEST_F(ClusterScenario, F13TheLastReplicaStandingMayLoseItsPageCache) {
  SimCluster::Options options;
  options.node_defaults = {{"replica.lag.time.max.ms", "1000"}};
  Open(3, {{"min.insync.replicas", "2"}, {"durability", "memory"}}, options);
  ASSERT_EQ(leader(), 1);
  Acknowledge("m1");
  CutOff(1);
  ASSERT_TRUE(AppendNow(1, api::Acks::kLeader, "weak").error.ok());
  ASSERT_TRUE(world().RunUntil([&] { return state().isr.size() == 1; },
                               10 * kSecondUs));
  world().RunFor(10'000);  // and the leader knows
  EXPECT_EQ(AppendNow(1).error.code, ErrorCode::kNotEnoughReplicas);
  EXPECT_EQ(partition(1).high_watermark(), Offset(1));
  cluster->Stop(1, End::kPowerLossOfAll);
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_NE(leader(), 1);
  EXPECT_THAT(AllValues(), ElementsAre("m1"));
  Acknowledge("m2");
  cluster->network().Heal();
  cluster->Start(1);
  ExpectConverged();
  EXPECT_THAT(AllValues(), ElementsAre("m1", "m2"));
}

// F27: the leader dies after the high watermark moved, before its followers
// learn of it.
TEST_F(ClusterScenario, F27WhatWasAcknowledgedIsVisibleAtTheNextLeader) {
  Open(3, {{"min.insync.replicas", "2"}});
  for (int round = 0; round < 6; ++round) {
    Acknowledge("m" + std::to_string(round));
    const int was = leader();
    cluster->Stop(was, End::kPowerLossOfAll);
    EXPECT_THAT(AllValues(), SizeIs(static_cast<size_t>(round + 1)));
    cluster->Start(was);
    ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  }
  ExpectConverged();
}

// F28: leaders that die one after the other, some before they append.
TEST_F(ClusterScenario, F28LeadersThatAppendedNothingLeaveNoTrace) {
  Open(3, {{"min.insync.replicas", "2"}});
  Acknowledge("m1");
  for (int round = 0; round < 8; ++round) {
    const int was = leader();
    if (round % 3 == 0) {
      CutOff(was);
      AppendNow(was, api::Acks::kLeader, "dead");  // reaches nobody
    }
    cluster->Stop(was, round % 2 == 0 ? End::kKill : End::kPowerLossPrefix);
    cluster->network().Heal();
    ASSERT_TRUE(cluster->RunUntilLed(tp));
    cluster->Start(was);
    world().RunFor(100'000);
  }
  ExpectConverged();
  Acknowledge("m2");
  EXPECT_THAT(AllValues(), ElementsAre("m1", "m2"));
}

// F47: the name that comes back is another topic.
TEST_F(ClusterScenario, F47ATopicMadeAnewWhileABrokerWasAwayHasNothingOld) {
  Open(3, {{"min.insync.replicas", "2"}});
  Acknowledge("old");
  cluster->Stop(3, End::kKill);
  cluster->DeleteTopic("t");
  tp = cluster->CreateTopic("t", {3, 1, 2}, {{"min.insync.replicas", "2"}});
  cluster->Start(3);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  Acknowledge("new");
  EXPECT_THAT(AllValues(), ElementsAre("new"));
  ExpectConverged();
}

// F14: any number of power losses at once, in disk mode, heals alone.
TEST_F(ClusterScenario, F14AClusterThatLostItsPowerHealsAlone) {
  Open(3, {{"min.insync.replicas", "2"}});
  for (int i = 0; i < 50; ++i) Acknowledge(std::to_string(i));
  for (int id = 1; id <= 3; ++id) cluster->Stop(id, End::kPowerLossOfAll);
  cluster->StartAll();
  ExpectConverged();
  EXPECT_THAT(AllValues(), SizeIs(50));
}

// RP1 in memory mode: min ISR - 1 lossy ends are tolerated.
TEST_F(ClusterScenario, MemoryModeSurvivesThePowerLossOfAnyOneNode) {
  Open(3, {{"min.insync.replicas", "2"}, {"durability", "memory"}});
  size_t count = 0;
  for (int id = 1; id <= 3; ++id) {
    for (int i = 0; i < 5; ++i, ++count) Acknowledge("x");
    cluster->Stop(id, End::kPowerLossOfAll);
    EXPECT_THAT(AllValues(), SizeIs(count));
    cluster->Start(id);
    ExpectConverged();
    EXPECT_THAT(AllValues(), SizeIs(count));
  }
}

TEST_F(ClusterScenario, ARollingRestartInMemoryModeLosesNothing) {
  Open(3, {{"min.insync.replicas", "2"}, {"durability", "memory"}});
  for (int id = 1; id <= 3; ++id) {
    Acknowledge("x");
    const absl::Status closed = cluster->StopClean(id);
    ASSERT_TRUE(closed.ok()) << closed;
    cluster->Start(id);
    EXPECT_TRUE(cluster->broker(id)->directory().previous_run().clean());
    ExpectConverged();
  }
  // All at once, the page caches too: everything was synced on the way out.
  Acknowledge("x");
  for (int id = 1; id <= 3; ++id) {
    ASSERT_TRUE(cluster->StopClean(id).ok());
    cluster->fs(id).CrashLosingAll();
  }
  cluster->StartAll();
  ExpectConverged();
  EXPECT_THAT(AllValues(), SizeIs(4));
}

// Rule T moves thousands of leaders in one batch of epoch starts.
TEST_F(ClusterScenario, AHundredLeadersThatDieTogetherAreReplacedInNoTime) {
  Open(3, {{"min.insync.replicas", "2"}});
  const TopicPartition first =
      cluster->CreateTopic("many", {1, 2, 3}, {}, 100);
  const auto all_led = [&] {
    for (int i = 0; i < 100; ++i) {
      if (cluster->Leader({first.topic_id, PartitionIndex(i)}) == 0) {
        return false;
      }
    }
    return true;
  };
  ASSERT_TRUE(world().RunUntil(all_led, 10 * kSecondUs));
  cluster->Stop(1, End::kKill);
  world().RunFor(60'000);  // the controller has learnt of it
  const int64_t syncs = cluster->fs(2).sync_count();
  // A message to the brokers and one group commit of their marks.
  EXPECT_TRUE(world().RunUntil(all_led, 10'000));
  EXPECT_LE(cluster->fs(2).sync_count() - syncs, 4);
}

}  // namespace
}  // namespace sluice
