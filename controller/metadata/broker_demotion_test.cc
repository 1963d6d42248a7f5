// What a demotion does to partitions, and what a demoted broker may still do.
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "controller/metadata/health.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

const NodeId n1(1), n2(2), n3(3);

class BrokerDemotionTest : public testing::Test {
 protected:
  void SetUp() override { cluster_.StartAll(3); }

  BrokerControl Control() {
    return BrokerControl(cluster_.image(), cluster_.configs());
  }
  // How many records it took.
  int Demote(int id) {
    const auto batch = Control().Demote(NodeId(id), cluster_.EpochOf(id));
    cluster_.Apply(batch);
    return batch.records_size();
  }
  void Clear(int id) {
    cluster_.Apply(Control().ClearDemotion(NodeId(id), cluster_.EpochOf(id)));
  }
  ErrorCode CodeOfProposal(const TopicPartition& tp,
                           const std::vector<int32_t>& isr) {
    const auto answer = cluster_.Alter(cluster_.Proposal(tp, isr));
    EXPECT_TRUE(answer.ok()) << answer.status();
    return CodeFromNumber(answer->results(0).error().code());
  }

  TestCluster cluster_;
};

TEST_F(BrokerDemotionTest, ItsLeadershipsMoveAndItLeavesIsrsInOneBatch) {
  const auto led = cluster_.CreateOn("a", {1, 2, 3}, {}, 3);
  const auto followed = cluster_.CreateOn("b", {2, 1, 3});
  const auto elsewhere = cluster_.CreateOn("c", {2, 3});
  EXPECT_EQ(Demote(1), 1 + 3 + 1);
  EXPECT_TRUE(cluster_.image().IsDemoted(n1));
  EXPECT_TRUE(cluster_.image().IsActive(n1));
  for (const auto& tp : {led, followed}) {
    EXPECT_EQ(cluster_.At(tp).leader, n2);
    EXPECT_EQ(cluster_.At(tp).isr, (std::vector<NodeId>{n2, n3}));
    EXPECT_TRUE(cluster_.At(tp).elr.empty());
  }
  EXPECT_EQ(cluster_.At(led).leader_epoch, LeaderEpoch(1));
  EXPECT_EQ(cluster_.At(followed).leader_epoch, LeaderEpoch(0));
  EXPECT_EQ(cluster_.At(elsewhere).partition_epoch, PartitionEpoch(0));
  EXPECT_EQ(Demote(1), 0);  // nothing is left to do
}

TEST_F(BrokerDemotionTest, BelowMinIsrItStaysInSyncButDoesNotLead) {
  const auto tp =
      cluster_.CreateOn("a", {1, 2, 3}, {{kMinInsyncReplicas, "3"}});
  Demote(1);
  EXPECT_EQ(cluster_.At(tp).leader, n2);
  EXPECT_EQ(cluster_.At(tp).isr.size(), 3u);
}

TEST_F(BrokerDemotionTest, WhatNobodyElseCanLeadStaysAndMovesLater) {
  const auto alone = cluster_.CreateOn("a", {1});
  const auto pair = cluster_.CreateOn("b", {1, 2}, {{kMinInsyncReplicas, "2"}});
  cluster_.SetIsr(pair, {1});
  EXPECT_EQ(Demote(1), 1);  // the broker's own record
  EXPECT_EQ(cluster_.At(alone).leader, n1);
  EXPECT_EQ(cluster_.At(pair).leader, n1);
  cluster_.SetIsr(pair, {1, 2});
  EXPECT_EQ(cluster_.At(pair).leader, n1);  // whoever joins leads with the next
  EXPECT_EQ(Demote(1), 1);
  EXPECT_EQ(cluster_.At(pair).leader, n2);
  EXPECT_EQ(cluster_.At(pair).isr, (std::vector<NodeId>{n1, n2}));
  EXPECT_EQ(cluster_.At(alone).leader, n1);
}

TEST_F(BrokerDemotionTest, ElectionsTakeTheOthersFirst) {
  const auto tp =
      cluster_.CreateOn("a", {2, 1, 3}, {{kMinInsyncReplicas, "3"}});
  Demote(1);
  cluster_.Fence(2);
  EXPECT_EQ(cluster_.At(tp).leader, n3);  // 1 comes first and is demoted
  cluster_.Fence(3);
  EXPECT_EQ(cluster_.At(tp).leader, n1);  // nobody else is left
}

TEST_F(BrokerDemotionTest, NewTopicsAndPreferredElectionsPassItBy) {
  Demote(1);
  const auto tp = cluster_.CreateOn("a", {1, 2, 3});
  EXPECT_EQ(cluster_.At(tp).leader, n2);
  const auto alone = cluster_.CreateOn("b", {1});
  EXPECT_EQ(cluster_.At(alone).leader, n1);
  v1::ElectLeadersRequest request;
  request.set_kind(v1::ElectLeadersRequest::KIND_PREFERRED);
  request.add_topics()->mutable_topic()->set_name("a");
  auto answer = cluster_.Elect(request);
  EXPECT_EQ(CodeFromNumber(answer.results(0).error().code()),
            ErrorCode::kPreferredLeaderNotAvailable);
  EXPECT_NE(answer.results(0).error().message().find("demoted"),
            std::string::npos);
  EXPECT_EQ(cluster_.At(tp).leader, n2);
  Clear(1);
  answer = cluster_.Elect(request);
  EXPECT_FALSE(answer.results(0).has_error());
  EXPECT_EQ(cluster_.At(tp).leader, n1);
}

TEST_F(BrokerDemotionTest, ItJoinsOnlyWhereThereAreTooFewWithoutIt) {
  const auto tp = cluster_.CreateOn("a", {2, 1, 3});
  Demote(1);
  ASSERT_EQ(cluster_.At(tp).isr, (std::vector<NodeId>{n2, n3}));
  EXPECT_EQ(CodeOfProposal(tp, {2, 1, 3}), ErrorCode::kIneligibleReplica);
  EXPECT_EQ(cluster_.At(tp).isr, (std::vector<NodeId>{n2, n3}));
  cluster_.Fence(3);
  EXPECT_EQ(CodeOfProposal(tp, {2, 1}), ErrorCode::kNone);
  EXPECT_EQ(cluster_.At(tp).isr, (std::vector<NodeId>{n2, n1}));
  Clear(1);
  cluster_.Start(3);
  EXPECT_EQ(CodeOfProposal(tp, {2, 1, 3}), ErrorCode::kNone);
}

TEST_F(BrokerDemotionTest, ADemotionOutlivesARestartAndIsTold) {
  Demote(1);
  cluster_.Start(1);
  EXPECT_TRUE(cluster_.image().IsDemoted(n1));
  auto issues = HealthIssuesOf(cluster_.image(), cluster_.configs());
  ASSERT_EQ(issues.size(), 1u);
  EXPECT_EQ(issues[0].kind(), v1::HealthIssue::KIND_BROKER_DEMOTED);
  EXPECT_EQ(issues[0].broker_id(), 1);
  Clear(1);
  EXPECT_FALSE(cluster_.image().IsDemoted(n1));
  EXPECT_TRUE(HealthIssuesOf(cluster_.image(), cluster_.configs()).empty());
}

TEST_F(BrokerDemotionTest, AnotherIncarnationOrAFencedBrokerIsLeftAlone) {
  EXPECT_TRUE(Control().Demote(n1, BrokerEpoch(777)).records().empty());
  EXPECT_TRUE(
      Control().ClearDemotion(n1, cluster_.EpochOf(1)).records().empty());
  cluster_.Fence(1);
  EXPECT_TRUE(
      Control().Demote(n1, cluster_.EpochOf(1)).records().empty());
}

// MD1: whoever replays the log has the same state.
TEST_F(BrokerDemotionTest, ReplayGivesTheSameState) {
  cluster_.CreateOn("a", {1, 2, 3}, {}, 4);
  Demote(1);
  cluster_.Start(1);
  Demote(1);
  Clear(1);
  Demote(2);
  auto image = MetadataImage::Empty();
  for (const auto& entry : cluster_.log()) {
    auto applied = ApplyBatch(*image, entry.batch, entry.offset, entry.term);
    ASSERT_TRUE(applied.ok()) << applied.status();
    image = applied->image;
  }
  EXPECT_EQ(MetaHash(*image), MetaHash(cluster_.image()));
  EXPECT_TRUE(image->IsDemoted(n2));
}

}  // namespace
}  // namespace sluice
