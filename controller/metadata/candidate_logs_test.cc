// Elections of the best log, from what brokers tell (design/replication.md 4).
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "controller/metadata/partition_change.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using Log = TestCluster::Log;

// A partition in memory mode whose brokers have all lost their power: nobody
// is known to hold everything.
class CandidateLogsTest : public testing::Test {
 protected:
  void CutPower(std::map<std::string, std::string> configs = {}) {
    cluster_.StartAll(3);
    configs.emplace("durability", "memory");
    tp_ = cluster_.CreateOn("t", {1, 2, 3}, std::move(configs));
    for (const int id : {1, 2, 3}) cluster_.Fence(id);
    for (const int id : {1, 2, 3}) cluster_.PowerUp(id);
    EXPECT_TRUE(cluster_.At(tp_).AsksForLogs(false));
    EXPECT_EQ(cluster_.At(tp_).last_full_isr, Nodes({2, 3}));
  }
  const PartitionImage& now() const { return cluster_.At(tp_); }

  TestCluster cluster_;
  TopicPartition tp_;
};

TEST_F(CandidateLogsTest, APowerCutOfEverybodyHealsWithTheBestLog) {
  CutPower();
  const LeaderEpoch epoch = now().leader_epoch;
  cluster_.Tell(1, tp_, {0, 120, 90});
  cluster_.Tell(2, tp_, {0, 100, 95});
  for (const int id : {1, 2, 3}) cluster_.Unfence(id);
  EXPECT_EQ(now().leader, kNoNode);
  cluster_.Tell(3, tp_, {0, 110, 130});
  EXPECT_EQ(now().leader, NodeId(1));
  EXPECT_EQ(now().isr, Nodes({1}));
  EXPECT_EQ(now().leader_epoch, epoch + 1);
  EXPECT_EQ(now().last_unclean_leader_epoch, epoch + 1);
  EXPECT_EQ(now().unclean_loss,
            (UncleanLoss{NodeId(1), Offset(90), Offset(130)}));
  EXPECT_TRUE(now().candidates.empty());
}

// What was acknowledged between two unclean elections is lost with the second.
TEST_F(CandidateLogsTest, AnOlderLogMayLackWhatTheElectionBeforeBegan) {
  CutPower();
  cluster_.Tell(1, tp_, {0, 40, 40});
  for (const int id : {1, 2, 3}) cluster_.Unfence(id);
  cluster_.Tell(2, tp_, {0, 20, 20});
  cluster_.Tell(3, tp_, {0, 30, 30});
  ASSERT_EQ(now().leader, NodeId(1));
  ASSERT_EQ(now().unclean_loss.first, Offset(40));
  for (const int id : {1, 2, 3}) cluster_.Fence(id);
  for (const int id : {2, 3}) cluster_.PowerUp(id);
  cluster_.Unfence(2);
  auto order = v1::ElectLeadersRequest();
  order.set_kind(v1::ElectLeadersRequest::KIND_UNCLEAN);
  auto* named = order.add_topics();
  named->mutable_topic()->set_id(tp_.topic_id.ToBytes());
  named->add_partitions(tp_.partition.value());
  cluster_.Elect(order);
  // It has told of a high watermark beyond where the last history began.
  cluster_.Tell(2, tp_, {0, 60, 60});
  ASSERT_EQ(now().leader, NodeId(2));
  EXPECT_EQ(now().unclean_loss.first, Offset(40));
}

TEST_F(CandidateLogsTest, TheElectionComesWithTheLastUnfencing) {
  CutPower();
  for (const int id : {1, 2, 3}) cluster_.Tell(id, tp_, {0, 100 + id, 0});
  cluster_.Unfence(1);
  cluster_.Unfence(2);
  EXPECT_EQ(now().leader, kNoNode);  // the best one is not alive
  cluster_.Unfence(3);
  EXPECT_EQ(now().leader, NodeId(3));
}

TEST_F(CandidateLogsTest, ABrokerThatRestartsHasToTellAgain) {
  CutPower();
  for (const int id : {2, 3}) cluster_.Tell(id, tp_, {0, 100 + id, 0});
  EXPECT_EQ(now().candidates.size(), 2u);
  cluster_.PowerUp(3);
  ASSERT_EQ(now().candidates.size(), 1u);
  EXPECT_EQ(now().candidates[0].node, NodeId(2));
  cluster_.Unfence(2);
  EXPECT_EQ(now().leader, kNoNode);
  cluster_.Unfence(3);
  EXPECT_EQ(now().leader, kNoNode);
  cluster_.Tell(3, tp_, {0, 50, 0});
  EXPECT_EQ(now().leader, NodeId(2));
}

TEST_F(CandidateLogsTest, WhatWasToldInAnOlderEpochSaysNothing) {
  CutPower();
  const int32_t epoch = now().leader_epoch.value();
  for (const int id : {2, 3}) {
    cluster_.Tell(id, tp_, {.last_epoch = 0, .end = 100,
                            .leader_epoch = epoch - 1});
  }
  EXPECT_TRUE(now().candidates.empty());
  cluster_.Tell(2, tp_, {.last_epoch = 0, .end = 100,
                         .leader_epoch = epoch + 1});
  EXPECT_TRUE(now().candidates.empty());
}

TEST_F(CandidateLogsTest, NobodyIsAskedWhileSomebodyLeadsOrIsEligible) {
  cluster_.StartAll(3);
  tp_ = cluster_.CreateOn("t", {1, 2, 3});
  cluster_.Tell(2, tp_, {0, 100, 0});
  EXPECT_TRUE(now().candidates.empty());
  for (const int id : {1, 2, 3}) cluster_.Fence(id);
  EXPECT_EQ(now().elr, Nodes({2, 3}));
  cluster_.Unfence(1);
  cluster_.Tell(1, tp_, {0, 100, 0});
  EXPECT_TRUE(now().candidates.empty());
  EXPECT_EQ(now().leader, kNoNode);
}

TEST_F(CandidateLogsTest, WhoIsWaitedForMayDie) {
  CutPower();
  for (const int id : {1, 2, 3}) cluster_.Unfence(id);
  cluster_.Tell(2, tp_, {0, 100, 0});
  cluster_.Tell(3, tp_, {0, 90, 0});
  EXPECT_EQ(now().leader, kNoNode);  // broker 1 is alive and silent
  cluster_.Fence(1);
  EXPECT_EQ(now().leader, NodeId(2));
}

TEST_F(CandidateLogsTest, AFailedLogOfTheLastFullIsrWaitsForAnOperator) {
  CutPower();
  for (const int id : {1, 2, 3}) cluster_.Unfence(id);
  cluster_.Tell(1, tp_, {0, 70, 0});
  cluster_.Tell(2, tp_, {0, 100, 0});
  cluster_.Tell(3, tp_, {.last_epoch = -1, .failed = true});
  EXPECT_EQ(now().leader, kNoNode);
  EXPECT_EQ(now().failed_replicas, Nodes({3}));
  // Its files are set aside: it has told of a log again, if an empty one.
  cluster_.Tell(3, tp_, {});
  EXPECT_EQ(now().leader, NodeId(2));
  EXPECT_TRUE(now().failed_replicas.empty());
}

// A replaced disk tells of an empty log as truly as one that never held more:
// that is no reason to give up what a replica outside the last full ISR has.
TEST_F(CandidateLogsTest, AnEmptiedLogTakesTheWordOfEveryReplica) {
  CutPower();
  cluster_.Fence(1);
  for (const int id : {2, 3}) {
    cluster_.Unfence(id);
    cluster_.Tell(id, tp_, {});
  }
  EXPECT_EQ(now().leader, kNoNode);
  EXPECT_EQ(MissingWitnesses(now()), Nodes({1}));
  cluster_.PowerUp(1);
  cluster_.Tell(1, tp_, {0, 40'000, 39'000});
  cluster_.Unfence(1);
  EXPECT_EQ(now().leader, NodeId(1));
}

TEST_F(CandidateLogsTest, ATopicMayAllowItWhileAnEligibleReplicaIsDown) {
  cluster_.StartAll(3);
  tp_ = cluster_.CreateOn("t", {1, 2, 3},
                          {{"unclean.leader.election.enable", "true"}});
  for (const int id : {1, 2, 3}) cluster_.Fence(id);
  EXPECT_EQ(now().elr, Nodes({2, 3}));
  cluster_.Unfence(1);
  EXPECT_EQ(now().leader, kNoNode);
  cluster_.Tell(1, tp_, {0, 80, 80});
  EXPECT_EQ(now().leader, NodeId(1));
  EXPECT_TRUE(now().elr.empty());
  EXPECT_EQ(now().last_unclean_leader_epoch, now().leader_epoch);
}

TEST_F(CandidateLogsTest, TheLogsThatDecideAreWantedFirst) {
  CutPower();
  const auto wanted = WantedVerdicts(cluster_.image(), NodeId(1));
  ASSERT_EQ(wanted.size(), 1u);
  EXPECT_EQ(wanted[0], tp_);
}

TEST_F(CandidateLogsTest, ItIsReplayedTheSameFromItsRecords) {
  CutPower();
  for (const int id : {1, 2, 3}) cluster_.Unfence(id);
  cluster_.Tell(1, tp_, {0, 120, 90});
  cluster_.Tell(2, tp_, {.last_epoch = -1, .failed = true});
  auto image = MetadataImage::Empty();
  for (const auto& entry : cluster_.log()) {
    auto applied = ApplyBatch(*image, entry.batch, entry.offset, entry.term);
    ASSERT_TRUE(applied.ok()) << applied.status();
    image = applied->image;
  }
  EXPECT_EQ(MetaHash(*image), MetaHash(cluster_.image()));
  EXPECT_EQ(*image->FindPartition(tp_), now());
}

}  // namespace
}  // namespace sluice
