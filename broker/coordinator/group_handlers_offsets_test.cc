// What committed offsets are told of while some are on their way, and while a
// coordinator has not caught up.
#include <gtest/gtest.h>

#include <string>

#include "broker/coordinator/group_handlers_testing.h"
#include "common/base/error.h"

namespace sluice::coordinator {
namespace {

// No offset of a transaction is ever kept (it is refused by name), so that each
// one is decided: who asks for stable ones waits for nobody.
TEST_F(GroupHandlersTest, StableOffsetsAreThoseThatAreCommitted) {
  MakeTopic();
  const std::string group = GroupLedBy(1);
  Host(group);
  EXPECT_EQ(Commit(group, 5).code(), v1::ERROR_CODE_UNSPECIFIED);
  replicas_.back()->commits_at_once = false;
  const auto under_way = AskCommit(group, 7);
  for (const bool stable : {false, true}) {
    const v1::GroupOffsets fetched = Fetch(group, stable);
    ASSERT_EQ(fetched.offsets_size(), 1) << fetched.DebugString();
    EXPECT_FALSE(fetched.offsets(0).has_error());
    EXPECT_EQ(fetched.offsets(0).offset(), 5);
  }
  EXPECT_FALSE(under_way.came());
  replicas_.back()->Commit();
  broker_.world.RunFor(10'000);
  EXPECT_TRUE(under_way.came());
  EXPECT_EQ(Fetch(group, true).offsets(0).offset(), 7);
}

// A new leader whose high watermark has not come as far as its predecessor's may
// have answered: every call is told so, by name, and when to come again (GR6).
TEST_F(GroupHandlersTest, ACoordinatorThatHasNotCaughtUpSaysSoToEveryCall) {
  MakeTopic();
  const std::string group = GroupLedBy(1);
  Host(group);
  EXPECT_EQ(Commit(group, 5).code(), v1::ERROR_CODE_UNSPECIFIED);
  FakeReplica& replica = *replicas_.back();
  replica.leads = false;
  replica.Interrupt();
  replica.Progress();
  replica.commits_at_once = false;
  replica.epoch = LeaderEpoch(2);
  replica.leso = replica.leo();
  replica.hw = Offset(0);
  replica.leads = true;
  replica.Progress();
  const auto loads = [](const v1::Error& error) {
    EXPECT_EQ(error.code(), v1::ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS)
        << error.DebugString();
    EXPECT_GT(error.retry_after_ms(), 0);
    EXPECT_NE(error.message().find("try again"), std::string::npos);
  };
  v1::JoinGroupRequest join;
  join.set_group_id(group);
  loads(Ask<v1::JoinGroupRequest, v1::JoinGroupResponse>(
            &GroupHandlers::JoinGroup, join)
            .get()
            .error());
  v1::SyncGroupRequest sync;
  sync.set_group_id(group);
  loads(Ask<v1::SyncGroupRequest, v1::SyncGroupResponse>(
            &GroupHandlers::SyncGroup, sync)
            .get()
            .error());
  v1::LeaveGroupRequest leave;
  leave.set_group_id(group);
  leave.add_members()->set_member_id("m");
  loads(Ask<v1::LeaveGroupRequest, v1::LeaveGroupResponse>(
            &GroupHandlers::LeaveGroup, leave)
            .get()
            .error());
  loads(Ask<v1::HeartbeatRequest, v1::HeartbeatResponse>(
            &GroupHandlers::Heartbeat, HeartbeatOf(group))
            .get()
            .error());
  loads(Commit(group, 1));
  for (const bool stable : {false, true}) {
    const v1::GroupOffsets fetched = Fetch(group, stable);
    loads(fetched.error());
    EXPECT_EQ(fetched.offsets_size(), 0);
  }
  v1::DescribeGroupsRequest describe;
  describe.add_group_ids(group);
  loads(Ask<v1::DescribeGroupsRequest, v1::DescribeGroupsResponse>(
            &GroupHandlers::DescribeGroups, describe)
            .get()
            .groups(0)
            .error());
  replica.Commit();
  broker_.world.RunFor(10'000);
  EXPECT_EQ(Fetch(group, true).offsets(0).offset(), 5);
}

}  // namespace
}  // namespace sluice::coordinator
