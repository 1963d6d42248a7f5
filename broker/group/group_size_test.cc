// A group has a limit of members, and of ids that wait.
#include <gtest/gtest.h>

#include "broker/group/group_core.h"
#include "broker/group/group_testing.h"

namespace sluice::group {
namespace {

TEST(GroupSizeTest, AFullGroupTakesNobody) {
  GroupTester group({.members_max = 2});
  group.MakeStable(2);
  EXPECT_EQ(group.JoinAnswer(group.Join({}))->code, ErrorCode::kGroupMaxSizeReached);
  EXPECT_EQ(group.core().state(), GroupState::kStable);
}

TEST(GroupSizeTest, IdsThatWaitAreBoundedToo) {
  GroupTester group({.members_max = 2});
  EXPECT_EQ(group.JoinAnswer(group.Join({}))->code, ErrorCode::kMemberIdRequired);
  EXPECT_EQ(group.JoinAnswer(group.Join({}))->code, ErrorCode::kMemberIdRequired);
  EXPECT_EQ(group.JoinAnswer(group.Join({}))->code, ErrorCode::kGroupMaxSizeReached);
}

TEST(GroupSizeTest, WithALowerLimitTheLastToJoinGo) {
  GroupTester big({.members_max = 3});
  const auto ids = big.MakeStable(3);
  const GroupImage image = *big.writes().back().image;
  Random random(1);
  GroupCore core({"g", {.members_max = 2}, &random}, image, 0);
  EXPECT_EQ(core.state(), GroupState::kPreparing);
  std::vector<ErrorCode> codes;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto actions = core.Step(
        Join{.request = RequestId(static_cast<int64_t>(i)),
             .member = ids[i],
             .session_timeout_us = 10 * kSecondUs,
             .rebalance_timeout_us = 30 * kSecondUs,
             .protocol_type = "consumer",
             .protocols = {{"range", "subscription"}}});
    for (const Action& action : actions) {
      if (const auto* a = std::get_if<AnswerJoin>(&action)) {
        codes.push_back(a->code);
      }
    }
  }
  EXPECT_EQ(codes, (std::vector<ErrorCode>{ErrorCode::kGroupMaxSizeReached}));
  EXPECT_EQ(core.member_count(), 2u);
  EXPECT_EQ(core.state(), GroupState::kCompleting);
}

}  // namespace
}  // namespace sluice::group
