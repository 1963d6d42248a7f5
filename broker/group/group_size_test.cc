// A group has a limit of members, of ids that wait, and of what its record holds.
#include <gtest/gtest.h>

#include <optional>
#include <string>

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

// ---- One record has to hold it ----

JoinSpec Saying(size_t bytes) {
  return {.protocols = {{"range", std::string(bytes, 'm')}}};
}

TEST(GroupSizeTest, WhoWouldNotFitInTheRecordIsRefusedAndTheGroupGoesOn) {
  GroupTester group({.members_bytes_max = 10'000});
  const auto ids = group.MakeStable(2, Saying(4'000));
  const size_t written = group.writes().size();
  const auto refused = group.JoinAnswer(group.Join(Saying(4'000)));
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->code, ErrorCode::kMessageTooLarge);
  EXPECT_NE(refused->why.find("the most is 10000"), std::string::npos)
      << refused->why;
  EXPECT_EQ(group.core().state(), GroupState::kStable);
  EXPECT_EQ(group.core().pending_member_count(), 0u);
  EXPECT_EQ(group.writes().size(), written);
  EXPECT_EQ(group.HeartbeatCode(group.Heartbeat(ids[0], Generation(1))),
            ErrorCode::kNone);
  // Who says less is let in.
  EXPECT_EQ(group.JoinAnswer(group.Join(Saying(1'000)))->code,
            ErrorCode::kMemberIdRequired);
}

// What it said before does not count beside what it says now.
TEST(GroupSizeTest, AMemberMaySayAsMuchAgain) {
  GroupTester group({.members_bytes_max = 10'000});
  const auto ids = group.MakeStable(2, Saying(4'000));
  auto other = Again(ids[1], Saying(4'500));
  const RequestId join = group.Join(other);
  EXPECT_EQ(group.JoinAnswer(join), std::nullopt);
  EXPECT_EQ(group.core().state(), GroupState::kPreparing);
}

TEST(GroupSizeTest, AMemberThatGrowsTooLargeGoesAndTheOthersGoOn) {
  GroupTester group({.members_bytes_max = 10'000});
  const auto ids = group.MakeStable(2, Saying(4'000));
  EXPECT_EQ(group.JoinAnswer(group.Join(Again(ids[1], Saying(9'000))))->code,
            ErrorCode::kMessageTooLarge);
  EXPECT_EQ(group.core().member_count(), 1u);
  const RequestId join = group.Join(Again(ids[0], Saying(4'000)));
  ASSERT_TRUE(group.JoinAnswer(join).has_value());
  EXPECT_EQ(group.JoinAnswer(join)->code, ErrorCode::kNone);
  EXPECT_EQ(group.JoinAnswer(join)->generation, Generation(2));
}

TEST(GroupSizeTest, AssignmentsThatWouldNotFitAreRefusedToTheLeaderAlone) {
  GroupTester group({.assignments_bytes_max = 1'000});
  const MemberId a = group.Admit({});
  const MemberId b = group.Admit({});
  group.Advance(6 * kSecondUs);
  const RequestId waits = group.Sync(b, Generation(1));
  const std::string large(600, 'x');
  const auto refused =
      group.SyncAnswer(group.Sync(a, Generation(1), {{a, large}, {b, large}}));
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->code, ErrorCode::kMessageTooLarge);
  EXPECT_NE(refused->why.find("1200 bytes"), std::string::npos)
      << refused->why;
  EXPECT_EQ(group.core().state(), GroupState::kCompleting);
  EXPECT_EQ(group.SyncAnswer(waits), std::nullopt);
  // It may think better of it; what is for nobody of the group does not count.
  const auto taken = group.SyncAnswer(
      group.Sync(a, Generation(1),
                 {{a, "x"}, {b, large}, {MemberId("gone"), large}}));
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->code, ErrorCode::kNone);
  EXPECT_EQ(group.SyncAnswer(waits)->assignment, large);
}

// A leader that only ever says the same is awaited as long as one that is silent.
TEST(GroupSizeTest, AnotherLeadsWhenTheLeaderCannotAssign) {
  GroupTester group({.assignments_bytes_max = 1'000});
  const MemberId a = group.Admit({});
  const MemberId b = group.Admit({});
  group.Advance(6 * kSecondUs);
  group.Sync(a, Generation(1), {{a, std::string(2'000, 'x')}});
  group.Leave({{a, {}, "it cannot assign", {}}});
  const RequestId join = group.Join(Again(b));
  EXPECT_EQ(group.JoinAnswer(join)->leader, b);
}

}  // namespace
}  // namespace sluice::group
