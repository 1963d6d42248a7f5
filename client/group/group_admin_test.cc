#include "client/group/group_admin.h"

#include <gtest/gtest.h>

#include "client/fake_cluster_testing.h"
#include "client/group/fake_groups_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

constexpr int64_t kSecond = 1'000'000;

class GroupAdminTest : public testing::Test {
 protected:
  GroupAdminTest() {
    deps_ = {executor_.get(), &world_, &cluster_, 1};
    for (int id = 1; id <= 3; ++id) {
      options_.bootstrap.push_back(FakeCluster::EndpointOf(NodeId(id)));
    }
    metadata_ = std::make_unique<MetadataCache>(deps_, options_);
    admin_ = std::make_unique<GroupAdmin>(
        GroupAdmin::Deps{deps_, options_, metadata_.get(), &connections_});
  }

  absl::StatusOr<v1::FetchOffsetsResponse> Fetch(int64_t timeout_us) {
    v1::FetchOffsetsRequest request;
    auto* group = request.add_groups();
    group->set_group_id("g");
    auto* topic = group->add_topics();
    topic->mutable_topic()->set_name("t");
    topic->add_partitions(0);
    std::optional<absl::StatusOr<v1::FetchOffsetsResponse>> answer;
    admin_->FetchOffsets(request, timeout_us,
                         [&](auto got) { answer = std::move(got); });
    EXPECT_TRUE(world_.RunUntil([&] { return answer.has_value(); },
                                timeout_us + kSecond));
    return *std::move(answer);
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeCluster cluster_{&world_, 3};
  FakeGroups groups_{&world_, &cluster_};
  ClientDeps deps_;
  ClientOptions options_;
  GroupConnections connections_{&groups_, executor_.get()};
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<GroupAdmin> admin_;
};

TEST_F(GroupAdminTest, AnAnswerWithoutACoordinatorIsAskedForElsewhere) {
  groups_.committed["g"][{"t", PartitionIndex(0)}].offset = Offset(7);
  groups_.coordinator = NodeId(3);
  groups_.down = {NodeId(1)};
  const auto answer = Fetch(10 * kSecond);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->groups(0).offsets(0).offset(), 7);
}

TEST_F(GroupAdminTest, WhatNobodyCouldAnswerIsGivenAsItIs) {
  groups_.coordinator = NodeId(9);
  const auto answer = Fetch(2 * kSecond);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->groups(0).error().code(),
            v1::ERROR_CODE_NOT_COORDINATOR);
  EXPECT_GT(groups_.calls["FetchOffsets"], 3);
}

TEST_F(GroupAdminTest, BrokersThatAreAllAwayAreNamed) {
  groups_.down = {NodeId(1), NodeId(2), NodeId(3)};
  const auto answer = Fetch(2 * kSecond);
  ASSERT_FALSE(answer.ok());
  EXPECT_NE(answer.status().message().find("b2:9002: connection refused"),
            absl::string_view::npos)
      << answer.status();
}

TEST_F(GroupAdminTest, ARefusalIsNotAskedAgain) {
  std::optional<absl::StatusOr<v1::ListGroupsResponse>> answer;
  admin_->ListGroups({}, 10 * kSecond,
                     [&](auto got) { answer = std::move(got); });
  ASSERT_TRUE(
      world_.RunUntil([&] { return answer.has_value(); }, kSecond));
  EXPECT_EQ(CodeOf(answer->status()), ErrorCode::kUnsupportedVersion);
}

}  // namespace
}  // namespace sluice
