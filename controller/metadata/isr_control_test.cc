#include "controller/metadata/isr_control.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using internal::v1::AlterPartitionsRequest;

class IsrControlTest : public testing::Test {
 protected:
  IsrControlTest() {
    cluster_.StartAll(4);
    tp_ = cluster_.CreateOn("t", {1, 2, 3});
    // Epochs that can be missed by one to either side.
    cluster_.SetIsr(tp_, {1, 2});
    cluster_.Fence(1);
    cluster_.Unfence(1);
  }
  TestCluster cluster_;
  TopicPartition tp_;
};

// kafka-semantics.md 2.4, correctness.md 5.3: every check, by name, with the
// partition as it is and without effect.
TEST_F(IsrControlTest, EachCheckHasItsNameAndNoEffect) {
  ASSERT_EQ(cluster_.At(tp_).leader, NodeId(2));
  const auto change = [](AlterPartitionsRequest& r) {
    return r.mutable_partitions(0);
  };
  const int partition_epoch = cluster_.At(tp_).partition_epoch.value();
  const int leader_epoch = cluster_.At(tp_).leader_epoch.value();
  const struct {
    const char* what;
    std::vector<int32_t> isr;
    std::function<void(AlterPartitionsRequest&)> spoil;
    ErrorCode code;
  } rows[] = {
      {"topic", {2},
       [&](auto& r) { change(r)->set_topic_id(Uuid(8, 8).ToBytes()); },
       ErrorCode::kUnknownTopicId},
      {"partition", {2}, [&](auto& r) { change(r)->set_partition(1); },
       ErrorCode::kUnknownTopicOrPartition},
      {"leader epoch ahead", {2},
       [&](auto& r) { change(r)->set_leader_epoch(leader_epoch + 1); },
       ErrorCode::kNotController},
      {"partition epoch ahead", {2},
       [&](auto& r) { change(r)->set_partition_epoch(partition_epoch + 1); },
       ErrorCode::kNotController},
      {"leader epoch behind", {2},
       [&](auto& r) { change(r)->set_leader_epoch(leader_epoch - 1); },
       ErrorCode::kFencedLeaderEpoch},
      {"not the leader", {1, 2},
       [&](auto& r) {
         r.set_broker_id(1);
         r.set_broker_epoch(cluster_.EpochOf(1).value());
       },
       ErrorCode::kInvalidRequest},
      {"F11 partition epoch behind", {2},
       [&](auto& r) { change(r)->set_partition_epoch(partition_epoch - 1); },
       ErrorCode::kInvalidUpdateVersion},
      {"stranger", {2, 4}, [](auto&) {}, ErrorCode::kInvalidRequest},
      {"twice", {2, 3, 3}, [](auto&) {}, ErrorCode::kInvalidRequest},
      {"without leader", {1, 3}, [](auto&) {}, ErrorCode::kInvalidRequest},
      {"empty", {}, [](auto&) {}, ErrorCode::kInvalidRequest},
      {"F7 old epoch of a member", {2, 3},
       [&](auto& r) {
         change(r)->mutable_new_isr(1)->set_broker_epoch(1);
       },
       ErrorCode::kIneligibleReplica},
  };
  const uint64_t before = MetaHash(cluster_.image());
  for (const auto& row : rows) {
    auto request = cluster_.Proposal(tp_, row.isr);
    row.spoil(request);
    const auto response = cluster_.Alter(request);
    ASSERT_TRUE(response.ok()) << row.what << response.status();
    const auto& result = response->results(0);
    EXPECT_EQ(NameOf(CodeFromNumber(result.error().code())), NameOf(row.code))
        << row.what << ": " << result.error().message();
    EXPECT_EQ(MetaHash(cluster_.image()), before) << row.what;
    if (row.code != ErrorCode::kUnknownTopicId &&
        row.code != ErrorCode::kUnknownTopicOrPartition) {
      EXPECT_EQ(result.leader_id(), 2) << row.what;
      EXPECT_EQ(result.partition_epoch(), partition_epoch) << row.what;
    }
  }
}

TEST_F(IsrControlTest, WholeRequestsAreRefusedForEpochAndDuplicates) {
  auto request = cluster_.Proposal(tp_, {2});
  request.set_broker_epoch(1);
  EXPECT_EQ(CodeOf(cluster_.Alter(request).status()),
            ErrorCode::kStaleBrokerEpoch);
  request.set_broker_id(77);
  EXPECT_EQ(CodeOf(cluster_.Alter(request).status()),
            ErrorCode::kStaleBrokerEpoch);
  request = cluster_.Proposal(tp_, {2});
  *request.add_partitions() = request.partitions(0);
  EXPECT_EQ(CodeOf(cluster_.Alter(request).status()),
            ErrorCode::kInvalidRequest);
}

TEST_F(IsrControlTest, RP14FencedAndStoppingMembersAreIneligible) {
  for (const bool fence : {true, false}) {
    TestCluster cluster;
    cluster.StartAll(3);
    const auto tp = cluster.CreateOn("t", {1, 2, 3});
    cluster.SetIsr(tp, {1, 2});
    if (fence) {
      cluster.Fence(3);
    } else {
      cluster.BeginStop(3);
    }
    const auto response = cluster.Alter(cluster.Proposal(tp, {1, 2, 3}));
    ASSERT_TRUE(response.ok());
    EXPECT_EQ(CodeFromNumber(response->results(0).error().code()),
              ErrorCode::kIneligibleReplica);
    EXPECT_EQ(cluster.At(tp).isr, Nodes({1, 2}));
  }
}

TEST_F(IsrControlTest, F11TheSameProposalAgainIsRefusedAndChangesOnce) {
  const auto request = cluster_.Proposal(tp_, {2, 3});
  auto response = cluster_.Alter(request);
  ASSERT_TRUE(response.ok());
  EXPECT_FALSE(response->results(0).has_error());
  const PartitionEpoch epoch = cluster_.At(tp_).partition_epoch;
  EXPECT_EQ(response->results(0).partition_epoch(), epoch.value());
  EXPECT_EQ(response->results(0).isr_size(), 2);
  response = cluster_.Alter(request);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(CodeFromNumber(response->results(0).error().code()),
            ErrorCode::kInvalidUpdateVersion);
  EXPECT_EQ(cluster_.At(tp_).partition_epoch, epoch);
}

// F12: C leaves and comes back under a new broker epoch within the leader's
// view of one proposal: the old epoch does not admit it.
TEST_F(IsrControlTest, F12AReturnedReplicaNeedsItsNewEpoch) {
  const auto request = cluster_.Proposal(tp_, {2, 3});
  cluster_.Register(TestCluster::Registration(3, 2));
  cluster_.Unfence(3);
  auto response = cluster_.Alter(request);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(CodeFromNumber(response->results(0).error().code()),
            ErrorCode::kIneligibleReplica);
  cluster_.SetIsr(tp_, {2, 3});
  EXPECT_EQ(cluster_.At(tp_).isr, Nodes({2, 3}));
}

TEST_F(IsrControlTest, ManyPartitionsChangeInOneBatch) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("t", {1, 2, 3}, {}, 500);
  AlterPartitionsRequest request = cluster.Proposal(tp, {1, 3});
  for (int p = 1; p < 500; ++p) {
    auto next = cluster.Proposal({tp.topic_id, PartitionIndex(p)}, {1, 3});
    *request.add_partitions() = next.partitions(0);
  }
  const size_t entries = cluster.log().size();
  const auto response = cluster.Alter(request);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->results_size(), 500);
  EXPECT_EQ(cluster.log().size(), entries + 1);
  EXPECT_EQ(cluster.At({tp.topic_id, PartitionIndex(499)}).isr, Nodes({1, 3}));
}

}  // namespace
}  // namespace sluice
