#include "client/cluster_health.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "client/fake_cluster_testing.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class ClusterHealthTest : public testing::Test {
 protected:
  ClusterHealthTest() {
    client_.bootstrap = {FakeCluster::EndpointOf(NodeId(1))};
    metadata_ = std::make_unique<MetadataCache>(deps_, client_);
    admin_ = std::make_unique<Admin>(deps_, client_, metadata_.get());
  }

  absl::StatusOr<v1::DescribeClusterResponse> Ask(int64_t timeout_us) {
    std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
    ClusterHealth::Start(
        deps_, admin_.get(), metadata_.get(), timeout_us,
        [&answer](absl::StatusOr<v1::DescribeClusterResponse> got) {
          EXPECT_FALSE(answer.has_value()) << "answered twice";
          answer = std::move(got);
        });
    EXPECT_TRUE(world_.RunUntil([&] { return answer.has_value(); },
                                timeout_us + kSecond));
    return answer.has_value() ? *std::move(answer)
                              : absl::UnknownError("never answered");
  }
  void TellFull(int at, const std::vector<int>& brokers) {
    auto& told = cluster_.issues_told[NodeId(at)];
    told.clear();
    for (const int broker : brokers) {
      told.emplace_back().set_kind(v1::HealthIssue::KIND_DISK_FULL);
      told.back().set_broker_id(broker);
    }
  }
  void TellFailed(int at, const std::string& topic) {
    auto& issue = cluster_.issues_told[NodeId(at)].emplace_back();
    issue.set_kind(v1::HealthIssue::KIND_REPLICA_FAILED);
    issue.set_broker_id(at);
    issue.set_topic(topic);
  }
  static std::vector<int> FullDisksOf(
      const absl::StatusOr<v1::DescribeClusterResponse>& answer) {
    std::vector<int> brokers;
    EXPECT_TRUE(answer.ok()) << answer.status();
    if (!answer.ok()) return brokers;
    for (const v1::HealthIssue& issue : answer->issues()) {
      EXPECT_EQ(issue.kind(), v1::HealthIssue::KIND_DISK_FULL);
      brokers.push_back(issue.broker_id());
    }
    return brokers;
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 4};
  ClientDeps deps_{executor_.get(), &world_, &cluster_, 1};
  ClientOptions client_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Admin> admin_;
};

TEST_F(ClusterHealthTest, WhatOnlyTheOthersKnowIsAskedOfThem) {
  EXPECT_EQ(FullDisksOf(Ask(5 * kSecond)), std::vector<int>{});
  TellFull(4, {4});
  TellFull(2, {2, 2});
  EXPECT_EQ(FullDisksOf(Ask(5 * kSecond)), (std::vector<int>{2, 2, 4}));
  cluster_.issues_told.clear();
  TellFull(1, {1});
  EXPECT_EQ(FullDisksOf(Ask(5 * kSecond)), std::vector<int>{1})
      << "who answered first is not asked twice";
}

TEST_F(ClusterHealthTest, ABrokerSpeaksForItselfOnlyAndNotForEver) {
  TellFull(2, {3, 1});
  EXPECT_EQ(FullDisksOf(Ask(5 * kSecond)), std::vector<int>{});
  TellFull(2, std::vector<int>(1000, 2));
  EXPECT_EQ(FullDisksOf(Ask(5 * kSecond)), std::vector<int>(16, 2));
}

TEST_F(ClusterHealthTest, AViewThatCannotBeOpenedIsKnownToItsBrokerAlone) {
  TellFailed(1, "t");  // by the metadata, which all have
  TellFailed(3, "t");
  TellFailed(3, "");
  const auto answer = Ask(5 * kSecond);
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(answer->issues_size(), 2) << "what all know is told once";
  EXPECT_EQ(answer->issues(0).broker_id(), 3);
  EXPECT_EQ(answer->issues(0).topic(), "");
  EXPECT_EQ(answer->issues(1).broker_id(), 1);
}

TEST_F(ClusterHealthTest, WhoIsFencedIsNotAskedAndWhoHangsIsNotWaitedForLong) {
  TellFull(2, {2});
  TellFull(3, {3});
  cluster_.fenced = {NodeId(2)};
  EXPECT_EQ(FullDisksOf(Ask(5 * kSecond)), std::vector<int>{3});
  cluster_.fate = [](NodeId broker, const std::string&) {
    return broker == NodeId(4) ? FakeCluster::Fate::kHang
                               : FakeCluster::Fate::kDeliver;
  };
  const int64_t began_us = world_.MonoMicros();
  EXPECT_EQ(FullDisksOf(Ask(30 * kSecond)), std::vector<int>{3});
  EXPECT_LE(world_.MonoMicros() - began_us,
            ClusterHealth::kBrokerTimeoutUs + kSecond);
}

TEST_F(ClusterHealthTest, WhereNobodyAnswersTheFirstFailureIsTheAnswer) {
  for (int id = 1; id <= 4; ++id) cluster_.Kill(NodeId(id));
  const auto answer = Ask(2 * kSecond);
  EXPECT_FALSE(answer.ok());
}

}  // namespace
}  // namespace sluice
