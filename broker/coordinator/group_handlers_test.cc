// The way of each call: to the shard here, to the broker that leads, once; and
// what is told when nobody can be asked.
#include "broker/coordinator/group_handlers.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "broker/coordinator/group_handlers_testing.h"
#include "common/base/error.h"

namespace sluice::coordinator {
namespace {

TEST_F(GroupHandlersTest, TheTopicIsMadeOnFirstUse) {
  const auto found = Find({"a", "b", ""});
  EXPECT_EQ(ensured_, 1);
  ASSERT_EQ(found.results_size(), 3);
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(found.results(i).has_error()) << found.DebugString();
    EXPECT_GT(found.results(i).node_id(), 0);
    EXPECT_EQ(found.results(i).endpoint().host(),
              "b" + std::to_string(found.results(i).node_id()));
    EXPECT_LT(found.results(i).partition(), 16);
  }
  EXPECT_EQ(found.results(2).error().code(), v1::ERROR_CODE_INVALID_GROUP_ID);
  Find({"c"});
  EXPECT_EQ(ensured_, 1);
}

TEST_F(GroupHandlersTest, ATopicThatCannotBeMadeIsRetriable) {
  ensure_fails_ = true;
  const auto found = Find({"a"});
  EXPECT_EQ(found.results(0).error().code(),
            v1::ERROR_CODE_COORDINATOR_NOT_AVAILABLE);
  v1::JoinGroupRequest join;
  join.set_group_id("a");
  EXPECT_EQ((Ask<v1::JoinGroupRequest, v1::JoinGroupResponse>(
                 &GroupHandlers::JoinGroup, join)
                 .code()),
            ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(ensured_, 2);
}

// A mistyped or hostile question makes no topic of sixteen partitions.
TEST_F(GroupHandlersTest, OnlyWhoIsAboutToBeCoordinatedMakesTheTopic) {
  EXPECT_EQ(Find({""}).results(0).error().code(),
            v1::ERROR_CODE_INVALID_GROUP_ID);
  EXPECT_EQ(Heartbeat("a"), ErrorCode::kCoordinatorNotAvailable);
  v1::FetchOffsetsRequest fetch;
  fetch.add_groups()->set_group_id("a");
  const auto fetched = Ask<v1::FetchOffsetsRequest, v1::FetchOffsetsResponse>(
      &GroupHandlers::FetchOffsets, fetch);
  ASSERT_EQ(fetched.get().groups_size(), 1);
  EXPECT_EQ(fetched.get().groups(0).error().code(),
            v1::ERROR_CODE_COORDINATOR_NOT_AVAILABLE);
  v1::DescribeGroupsRequest describe;
  describe.add_group_ids("a");
  describe.add_group_ids("");
  const auto described =
      Ask<v1::DescribeGroupsRequest, v1::DescribeGroupsResponse>(
          &GroupHandlers::DescribeGroups, describe);
  ASSERT_EQ(described.get().groups_size(), 2);
  EXPECT_EQ(described.get().groups(0).error().code(),
            v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
  EXPECT_EQ(described.get().groups(1).error().code(),
            v1::ERROR_CODE_INVALID_GROUP_ID);
  v1::DeleteGroupsRequest gone;
  gone.add_group_ids("a");
  const auto deleted = Ask<v1::DeleteGroupsRequest, v1::DeleteGroupsResponse>(
      &GroupHandlers::DeleteGroups, gone);
  EXPECT_EQ(deleted.get().results(0).error().code(),
            v1::ERROR_CODE_GROUP_ID_NOT_FOUND);
  v1::DeleteOffsetsRequest offsets;
  offsets.set_group_id("a");
  offsets.add_topics()->mutable_topic()->set_name("t");
  EXPECT_EQ((Ask<v1::DeleteOffsetsRequest, v1::DeleteOffsetsResponse>(
                 &GroupHandlers::DeleteOffsets, offsets)
                 .code()),
            ErrorCode::kGroupIdNotFound);
  EXPECT_EQ(ensured_, 0);
  v1::CommitOffsetsRequest commit;
  commit.set_group_id(std::string(250, 'g'));
  commit.add_offsets()->mutable_topic()->set_name("t");
  Ask<v1::CommitOffsetsRequest, v1::CommitOffsetsResponse>(
      &GroupHandlers::CommitOffsets, commit);
  EXPECT_EQ(ensured_, 0);
  peer_->on_CommitOffsets = [](const v1::CommitOffsetsRequest&) {
    return v1::CommitOffsetsResponse();
  };
  commit.set_group_id("g");
  Ask<v1::CommitOffsetsRequest, v1::CommitOffsetsResponse>(
      &GroupHandlers::CommitOffsets, commit);
  EXPECT_EQ(ensured_, 1);
}

// A broker that has just started knows nothing, and makes nothing.
TEST_F(GroupHandlersTest, WithoutMetadataTheAnswerIsRetriable) {
  broker_.image.Store(MetadataImage::Empty());
  EXPECT_EQ(Heartbeat("a"), ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(Find({"a"}).results(0).error().code(),
            v1::ERROR_CODE_COORDINATOR_NOT_AVAILABLE);
  absl::Status status;
  handlers_->ListGroups(context_, {}, [&](auto response) {
    status = response.status();
  });
  broker_.world.RunFor(10'000);
  EXPECT_EQ(CodeOf(status), ErrorCode::kBrokerNotAvailable);
  EXPECT_EQ(ensured_, 0);
}

TEST_F(GroupHandlersTest, WhatIsLedHereIsAnsweredHere) {
  MakeTopic();
  const std::string group = GroupLedBy(1);
  EXPECT_EQ(Heartbeat(group), ErrorCode::kCoordinatorLoadInProgress);
  Host(group);
  EXPECT_EQ(Heartbeat(group), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(peer_->calls, 0);
}

TEST_F(GroupHandlersTest, WhatIsLedElsewhereIsHandedOn) {
  MakeTopic();
  const std::string group = GroupLedBy(2);
  peer_->on_JoinGroup = [](const v1::JoinGroupRequest& request) {
    // The member's host is what its own broker saw.
    EXPECT_EQ(request.client_host(), "10.1.1.1:5");
    EXPECT_EQ(request.client_id(), "tester");
    v1::JoinGroupResponse response;
    response.set_generation_id(5);
    return response;
  };
  context_.deadline_us = broker_.world.MonoMicros() + 60'000'000;
  v1::JoinGroupRequest request;
  request.set_group_id(group);
  request.set_client_host("forged");
  const auto joined = Ask<v1::JoinGroupRequest, v1::JoinGroupResponse>(
      &GroupHandlers::JoinGroup, request);
  EXPECT_EQ(joined.get().generation_id(), 5);
  // Its own time is not cut: a join may wait for long.
  EXPECT_GT(peer_->last_timeout_us, 50'000'000);
  ASSERT_EQ(connected_.size(), 1u);
  EXPECT_EQ(connected_[0].host, "b2");
}

TEST_F(GroupHandlersTest, WhatWasHandedOnOnceIsNotHandedOnAgain) {
  MakeTopic();
  context_.listener = kInternalListener;
  const std::string group = GroupLedBy(2);
  const auto answer = Ask<v1::HeartbeatRequest, v1::HeartbeatResponse>(
      &GroupHandlers::Heartbeat, HeartbeatOf(group));
  EXPECT_EQ(answer.code(), ErrorCode::kNotCoordinator);
  EXPECT_EQ(answer.get().coordinator().node_id(), 2);
  EXPECT_EQ(peer_->calls, 0);
}

// Who has no name is not called by that of the broker that handed it on.
TEST_F(GroupHandlersTest, AHandedOnMemberKeepsItsOwnName) {
  MakeTopic();
  const std::string group = GroupLedBy(1);
  Host(group);
  context_.listener = kInternalListener;
  context_.client_id = "broker-2";
  v1::JoinGroupRequest request;
  request.set_group_id(group);
  request.set_session_timeout_ms(10'000);
  request.set_protocol_type("consumer");
  request.add_protocols()->set_name("range");
  const auto joined = Ask<v1::JoinGroupRequest, v1::JoinGroupResponse>(
      &GroupHandlers::JoinGroup, request);
  EXPECT_EQ(joined.code(), ErrorCode::kMemberIdRequired);
  EXPECT_EQ(joined.get().member_id().find("broker-2"), std::string::npos);
}

TEST_F(GroupHandlersTest, WhoDoesNotAnswerIsNotAvailable) {
  MakeTopic();
  peer_->on_Heartbeat = [](const v1::HeartbeatRequest&) {
    return absl::UnavailableError("connection refused");
  };
  EXPECT_EQ(Heartbeat(GroupLedBy(2)), ErrorCode::kCoordinatorNotAvailable);
}

TEST_F(GroupHandlersTest, ManyGroupsAreAskedWhereTheyAre) {
  MakeTopic();
  const std::string here = GroupLedBy(1);
  const std::string there = GroupLedBy(2);
  Host(here);
  peer_->on_FetchOffsets = [&](const v1::FetchOffsetsRequest& request) {
    EXPECT_EQ(request.groups_size(), 1);
    EXPECT_TRUE(request.require_stable());
    v1::FetchOffsetsResponse response;
    auto* group = response.add_groups();
    group->set_group_id(there);
    group->add_offsets()->set_offset(9);
    return response;
  };
  v1::FetchOffsetsRequest request;
  request.set_require_stable(true);
  request.add_groups()->set_group_id(there);
  request.add_groups()->set_group_id(here);
  request.add_groups()->set_group_id("");
  const auto fetched = Ask<v1::FetchOffsetsRequest, v1::FetchOffsetsResponse>(
      &GroupHandlers::FetchOffsets, request);
  ASSERT_EQ(fetched.get().groups_size(), 3);
  EXPECT_EQ(fetched.get().groups(0).offsets(0).offset(), 9);
  EXPECT_EQ(fetched.get().groups(1).group_id(), here);
  EXPECT_FALSE(fetched.get().groups(1).has_error());
  EXPECT_EQ(fetched.get().groups(2).error().code(),
            v1::ERROR_CODE_INVALID_GROUP_ID);
}

TEST_F(GroupHandlersTest, OnesOwnViewIsNotAskedElsewhere) {
  MakeTopic();
  const std::string group = GroupLedBy(2);
  v1::FetchOffsetsRequest request;
  request.set_own_view(true);
  request.add_groups()->set_group_id(group);
  const auto fetch = [&] {
    return Ask<v1::FetchOffsetsRequest, v1::FetchOffsetsResponse>(
               &GroupHandlers::FetchOffsets, request)
        .get()
        .groups(0);
  };
  EXPECT_EQ(CodeFromNumber(static_cast<int32_t>(fetch().error().code())),
            ErrorCode::kCoordinatorLoadInProgress);  // not hosted yet
  Host(group);
  replicas_.back()->leads = false;
  EXPECT_FALSE(fetch().has_error()) << fetch().DebugString();
  EXPECT_EQ(peer_->calls, 0);
}

TEST_F(GroupHandlersTest, TheListIsOfAllCoordinators) {
  MakeTopic();
  const std::string here = GroupLedBy(1);
  Host(here);
  v1::CommitOffsetsRequest commit;
  commit.set_group_id(here);
  auto* put = commit.add_offsets();
  put->mutable_topic()->set_name("a");
  put->set_offset(1);
  Ask<v1::CommitOffsetsRequest, v1::CommitOffsetsResponse>(
      &GroupHandlers::CommitOffsets, commit);
  peer_->on_ListGroups = [](const v1::ListGroupsRequest&) {
    v1::ListGroupsResponse response;
    for (const char* name : {"a-first", "z-last"}) {
      response.add_groups()->set_group_id(name);
    }
    return response;
  };
  v1::ListGroupsRequest request;
  request.set_page_size(2);
  const auto first = Ask<v1::ListGroupsRequest, v1::ListGroupsResponse>(
      &GroupHandlers::ListGroups, request);
  ASSERT_EQ(first.get().groups_size(), 2);
  EXPECT_EQ(first.get().groups(0).group_id(), "a-first");
  EXPECT_EQ(first.get().groups(1).group_id(), here);
  EXPECT_EQ(first.get().next_page_token(), here);
  // Partitions that this broker leads and does not host yet are named.
  EXPECT_GT(first.get().errors_size(), 0);
}

TEST_F(GroupHandlersTest, CallsOfTheWrongSizeAreRefusedWhole) {
  v1::CommitOffsetsRequest none;
  none.set_group_id("g");
  Answered<v1::CommitOffsetsResponse> answer;
  absl::Status status;
  handlers_->CommitOffsets(context_, none, [&](auto response) {
    status = response.status();
  });
  broker_.world.RunFor(10'000);
  EXPECT_EQ(CodeOf(status), ErrorCode::kInvalidRequest);
  status = absl::OkStatus();
  handlers_->FindCoordinator(context_, {}, [&](auto response) {
    status = response.status();
  });
  broker_.world.RunFor(10'000);
  EXPECT_EQ(CodeOf(status), ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice::coordinator
