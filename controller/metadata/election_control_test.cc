#include "controller/metadata/election_control.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

using v1::ElectLeadersRequest;

ErrorCode CodeOf(const v1::ElectLeaderResult& result) {
  return CodeFromNumber(static_cast<int32_t>(result.error().code()));
}

ElectLeadersRequest Request(ElectLeadersRequest::Kind kind,
                            const std::string& topic = "",
                            const std::vector<int32_t>& partitions = {}) {
  ElectLeadersRequest request;
  request.set_kind(kind);
  if (topic.empty()) return request;
  auto* named = request.add_topics();
  named->mutable_topic()->set_name(topic);
  for (const int32_t index : partitions) named->add_partitions(index);
  return request;
}

constexpr auto kPreferred = ElectLeadersRequest::KIND_PREFERRED;
constexpr auto kUnclean = ElectLeadersRequest::KIND_UNCLEAN;

TEST(ElectionControlTest, LeadershipsReturnAfterARestart) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto a = cluster.CreateOn("a", {1, 2, 3});
  const auto b = cluster.CreateOn("b", {2, 1, 3});
  cluster.Fence(1);
  cluster.Unfence(1);
  cluster.SetIsr(a, {1, 2, 3});
  cluster.SetIsr(b, {1, 2, 3});
  EXPECT_EQ(cluster.At(a).leader, NodeId(2));
  const size_t entries = cluster.log().size();
  auto response = cluster.Elect(Request(kPreferred));
  EXPECT_EQ(cluster.log().size(), entries + 1);
  ASSERT_EQ(response.results_size(), 1);  // b needs nothing
  EXPECT_FALSE(response.results(0).has_error());
  EXPECT_EQ(response.results(0).topic(), "a");
  EXPECT_EQ(response.results(0).leader_id(), 1);
  EXPECT_EQ(cluster.At(a).leader, NodeId(1));
  EXPECT_EQ(response.results(0).leader_epoch(),
            cluster.At(a).leader_epoch.value());
  // By name each is answered for.
  response = cluster.Elect(Request(kPreferred, "b"));
  ASSERT_EQ(response.results_size(), 1);
  EXPECT_EQ(CodeOf(response.results(0)), ErrorCode::kElectionNotNeeded);
}

TEST(ElectionControlTest, APreferredReplicaOutOfSyncDoesNotLead) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("a", {1, 2, 3});
  cluster.Fence(1);
  auto response = cluster.Elect(Request(kPreferred, "a"));
  EXPECT_EQ(CodeOf(response.results(0)),
            ErrorCode::kPreferredLeaderNotAvailable);
  EXPECT_NE(response.results(0).error().message().find("not alive"),
            std::string::npos);
  cluster.Unfence(1);
  response = cluster.Elect(Request(kPreferred));
  EXPECT_EQ(CodeOf(response.results(0)),
            ErrorCode::kPreferredLeaderNotAvailable);
  EXPECT_EQ(cluster.At(tp).leader, NodeId(2));
}

TEST(ElectionControlTest, F32AnOrderStandsUntilTheLiveReplicasHaveTold) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("a", {1, 2, 3});
  cluster.Fence(3);
  for (const int id : {1, 2}) cluster.Fence(id);
  cluster.Unfence(3);
  EXPECT_EQ(cluster.At(tp).elr, Nodes({1, 2}));
  auto dry = Request(kUnclean, "a", {0});
  dry.set_validate_only(true);
  const uint64_t before = MetaHash(cluster.image());
  EXPECT_FALSE(cluster.Elect(dry).results(0).has_error());
  EXPECT_EQ(MetaHash(cluster.image()), before);
  auto response = cluster.Elect(Request(kUnclean, "a", {0}));
  EXPECT_FALSE(response.results(0).has_error());
  EXPECT_EQ(response.results(0).leader_id(), -1);
  ASSERT_EQ(response.results(0).awaited_size(), 1);
  EXPECT_EQ(response.results(0).awaited(0), 3);
  EXPECT_TRUE(cluster.At(tp).unclean_ordered);
  cluster.Tell(3, tp, {0, 40, 40});
  EXPECT_EQ(cluster.At(tp).leader, NodeId(3));
  EXPECT_EQ(cluster.At(tp).last_unclean_leader_epoch,
            cluster.At(tp).leader_epoch);
  EXPECT_TRUE(cluster.At(tp).elr.empty());
  // Who ordered it asks how it came out, and what it cost.
  response = cluster.Elect(Request(kUnclean, "a", {0}));
  EXPECT_EQ(CodeOf(response.results(0)), ErrorCode::kElectionNotNeeded);
  ASSERT_TRUE(response.results(0).has_loss());
  EXPECT_EQ(response.results(0).loss().leader_id(), 3);
  EXPECT_EQ(response.results(0).loss().first_offset(), 40);
}

TEST(ElectionControlTest, KnownLogsElectAtOnceAndTheAnswerNamesTheLoss) {
  TestCluster cluster;
  cluster.StartAll(3);
  const auto tp = cluster.CreateOn("a", {1, 2, 3}, {{"durability", "memory"}});
  for (const int id : {1, 2, 3}) cluster.Fence(id);
  for (const int id : {1, 2, 3}) cluster.PowerUp(id);
  cluster.Unfence(1);
  cluster.Tell(1, tp, {0, 40, 60});
  EXPECT_EQ(cluster.At(tp).leader, kNoNode);
  auto dry = Request(kUnclean, "a");
  dry.set_validate_only(true);
  const auto preview = cluster.Elect(dry);
  EXPECT_EQ(preview.results(0).leader_id(), 1);
  EXPECT_EQ(preview.results(0).loss().first_offset(), 40);
  EXPECT_EQ(preview.results(0).loss().known_end_offset(), 60);
  EXPECT_EQ(cluster.At(tp).leader, kNoNode);
  EXPECT_EQ(cluster.Elect(Request(kUnclean, "a")).results(0).leader_id(), 1);
  EXPECT_EQ(cluster.At(tp).leader, NodeId(1));
}

TEST(ElectionControlTest, NobodyAliveIsNoOrder) {
  TestCluster cluster;
  cluster.StartAll(2);
  const auto tp = cluster.CreateOn("a", {1});
  cluster.Fence(1);
  const auto response = cluster.Elect(Request(kUnclean, "a"));
  EXPECT_EQ(CodeOf(response.results(0)),
            ErrorCode::kEligibleLeadersNotAvailable);
  EXPECT_FALSE(cluster.At(tp).unclean_ordered);
}

TEST(ElectionControlTest, BadRequestsAreNamed) {
  TestCluster cluster;
  cluster.StartAll(1);
  cluster.CreateOn("a", {1});
  const auto code = [&](const ElectLeadersRequest& request) {
    return sluice::CodeOf(ElectionControl(cluster.image(), cluster.configs())
                              .Elect(request)
                              .status());
  };
  EXPECT_EQ(code(Request(ElectLeadersRequest::KIND_UNSPECIFIED, "a")),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(Request(kUnclean)), ErrorCode::kInvalidRequest);
  auto negative = Request(kPreferred);
  negative.set_timeout_ms(-1);
  EXPECT_EQ(code(negative), ErrorCode::kInvalidRequest);
  const auto response = cluster.Elect(Request(kPreferred, "a", {7, 0, 0}));
  EXPECT_EQ(CodeOf(response.results(0)),
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(CodeOf(response.results(1)), ErrorCode::kElectionNotNeeded);
  EXPECT_EQ(CodeOf(response.results(2)), ErrorCode::kInvalidRequest);
  EXPECT_EQ(CodeOf(cluster.Elect(Request(kUnclean, "none")).results(0)),
            ErrorCode::kUnknownTopicOrPartition);
}

}  // namespace
}  // namespace sluice
