// Who answers when, and what a fail-over keeps (GR2, GR4, GR6).
#include "broker/coordinator/group_coordinator.h"

#include <gtest/gtest.h>

#include "broker/coordinator/coordinator_world_testing.h"

namespace sluice::coordinator {
namespace {

// ---- One record has to hold a group ----

TEST_F(CoordinatorTest, WhoDoesNotFitInAGroupsRecordIsToldSoByName) {
  Serve();
  auto join = JoinOf("g");
  join.mutable_protocols(0)->set_metadata(std::string(1'000'000, 'm'));
  std::vector<Answered<v1::JoinGroupResponse>> members;
  for (int i = 0; i < 5; ++i) members.push_back(Join(join));
  const auto refused = Join(join);
  EXPECT_EQ(refused.code(), ErrorCode::kMessageTooLarge);
  EXPECT_NE(refused.get().error().message().find("the most is 5242880"),
            std::string::npos)
      << refused.get().error().message();
  env_.world.RunFor(4 * config_.group.initial_rebalance_delay_us);
  for (const auto& member : members) {
    EXPECT_EQ(member.code(), ErrorCode::kNone);
  }
  const auto synced =
      Sync("g", members[0].get().leader_id(), 1, std::string(3 << 20, 'a'));
  EXPECT_EQ(synced.code(), ErrorCode::kMessageTooLarge);
  EXPECT_EQ(Sync("g", members[0].get().leader_id(), 1, "mine").code(),
            ErrorCode::kNone);
  EXPECT_EQ(StateOf("g"), v1::GROUP_STATE_STABLE);
}

// ---- GR6 ----

TEST_F(CoordinatorTest, AFollowerSaysWhoTheCoordinatorIs) {
  const auto fetched = Fetch("g");
  EXPECT_EQ(fetched.error().code(), v1::ERROR_CODE_NOT_COORDINATOR);
  EXPECT_EQ(fetched.coordinator().node_id(), 9);
  EXPECT_EQ(fetched.coordinator().endpoint().host(), "nine");
  const auto joined = Join(JoinOf("g"));
  EXPECT_EQ(joined.code(), ErrorCode::kNotCoordinator);
  EXPECT_EQ(joined.get().coordinator().node_id(), 9);
  const auto committed = Commit(CommitOf("g", 0, 5));
  EXPECT_EQ(CodeOfCommit(committed), ErrorCode::kNotCoordinator);
  EXPECT_EQ(committed.get().coordinator().node_id(), 9);
}

TEST_F(CoordinatorTest, ANewLeaderAnswersNothingBeforeItKnowsAll) {
  Serve();
  EXPECT_EQ(CodeOfCommit(Commit(CommitOf("g", 0, 5))), ErrorCode::kNone);
  EXPECT_EQ(Committed("g", 0), 5);
  StopLeading();
  // Its high watermark lags behind what its predecessor acknowledged.
  replica_.commits_at_once = false;
  replica_.hw = replica_.durable = Offset(0);
  replica_.observer = nullptr;
  coordinator_.reset();
  env_.disk.Wipe();
  Start();
  Lead(2);
  EXPECT_EQ(Fetch("g").error().code(),
            v1::ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS);
  EXPECT_EQ(Fetch("g").offsets_size(), 0);
  EXPECT_EQ(CodeOfCommit(Commit(CommitOf("g", 0, 1))),
            ErrorCode::kCoordinatorLoadInProgress);
  EXPECT_EQ(Join(JoinOf("g")).code(), ErrorCode::kCoordinatorLoadInProgress);
  replica_.Commit();
  EXPECT_EQ(Committed("g", 0), 5);
}

TEST_F(CoordinatorTest, AViewThatIsReplacedAnswersNothing) {
  Serve();
  Commit(CommitOf("g", 0, 5));
  env_.disk.SetReadsFail(true);
  const auto fetched = Fetch("g");
  EXPECT_EQ(fetched.error().code(),
            v1::ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS);
  EXPECT_EQ(fetched.offsets_size(), 0);
  EXPECT_EQ(Fetch("g").error().code(),
            v1::ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS);
  env_.Settle();
  replica_.Progress();
  EXPECT_EQ(Committed("g", 0), 5);
}

// Half of a replay would be an older offset.
TEST_F(CoordinatorTest, AViewThatIsHalfReplayedAnswersNothing) {
  Serve();
  Commit(CommitOf("g", 0, 5));
  const Offset half = replica_.leo();
  Commit(CommitOf("g", 0, 6));
  env_.disk.SetReadsFail(true);
  Fetch("g");
  env_.Settle();
  replica_.hw = half;  // as far as it has come
  replica_.Progress();
  EXPECT_EQ(Fetch("g").error().code(),
            v1::ERROR_CODE_COORDINATOR_LOAD_IN_PROGRESS);
  replica_.Commit();
  EXPECT_EQ(Committed("g", 0), 6);
}

// ---- Acknowledged once a read would see it ----

TEST_F(CoordinatorTest, ACommitIsAnsweredWhenTheViewHasIt) {
  Serve();
  replica_.commits_at_once = false;
  const auto answer = Commit(CommitOf("g", 1, 7));
  EXPECT_FALSE(answer.came());
  EXPECT_EQ(Committed("g", 1), -1);
  // Committed by the in-sync replicas, but not read back yet.
  replica_.executor = env_.shard();
  replica_.Commit();
  EXPECT_FALSE(answer.came());
  env_.Settle();
  EXPECT_TRUE(answer.came());
  EXPECT_EQ(CodeOfCommit(answer), ErrorCode::kNone);
  EXPECT_EQ(Committed("g", 1), 7);
  EXPECT_EQ(counters_.commits, 1);
}

TEST_F(CoordinatorTest, ACommitOfALostLeadershipIsRetriable) {
  Serve();
  replica_.commits_at_once = false;
  const auto answer = Commit(CommitOf("g", 1, 7));
  StopLeading();
  ASSERT_TRUE(answer.came());
  EXPECT_EQ(CodeOfCommit(answer), ErrorCode::kNotCoordinator);
}

TEST_F(CoordinatorTest, TooFewReplicasIsRetriable) {
  Serve();
  replica_.refuses = ErrorCode::kNotEnoughReplicas;
  EXPECT_EQ(CodeOfCommit(Commit(CommitOf("g", 1, 7))),
            ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(Committed("g", 1), -1);
}

// ---- Fail-over ----

TEST_F(CoordinatorTest, OffsetsSurviveAFailOver) {
  Serve();
  auto request = CommitOf("g", 0, 5);
  request.mutable_offsets(0)->set_metadata("note");
  request.mutable_offsets(0)->set_leader_epoch(3);
  Commit(request);
  FailOver(2);
  const auto fetched = Fetch("g");
  ASSERT_EQ(fetched.offsets_size(), 1);
  EXPECT_EQ(fetched.offsets(0).offset(), 5);
  EXPECT_EQ(fetched.offsets(0).metadata(), "note");
  EXPECT_EQ(fetched.offsets(0).leader_epoch(), 3);
  EXPECT_EQ(fetched.offsets(0).topic().name(), "orders");
}

// GR4: and no rebalance.
TEST_F(CoordinatorTest, AStableGroupGoesOnAfterAFailOver) {
  Serve();
  const std::string member = MakeStable("g");
  FailOver(2);
  EXPECT_EQ(StateOf("g"), v1::GROUP_STATE_STABLE);
  EXPECT_EQ(Heartbeat("g", member, 1), ErrorCode::kNone);
  EXPECT_EQ(Sync("g", member, 1).get().assignment(), "mine");
  auto request = CommitOf("g", 0, 5);
  request.set_member_id(member);
  request.set_generation_id(1);
  EXPECT_EQ(CodeOfCommit(Commit(request)), ErrorCode::kNone);
  // Another member: the next generation is a new one.
  const auto joined = Join(JoinOf("g"));
  EXPECT_EQ(Heartbeat("g", member, 1), ErrorCode::kRebalanceInProgress);
  const auto rejoined = Join(JoinOf("g", member));
  ASSERT_TRUE(joined.came());
  EXPECT_EQ(joined.get().generation_id(), 2);
}

TEST_F(CoordinatorTest, AGenerationThatIsNotInTheLogIsNotTold) {
  Serve();
  replica_.commits_at_once = false;
  const auto joined = Join(JoinOf("g"));
  env_.world.RunFor(config_.group.initial_rebalance_delay_us);
  EXPECT_FALSE(joined.came());
  EXPECT_EQ(replica_.waiting(), 1u);
  StopLeading();
  ASSERT_TRUE(joined.came());
  EXPECT_EQ(joined.code(), ErrorCode::kNotCoordinator);
  EXPECT_EQ(coordinator_->groups_loaded(), 0u);
  EXPECT_EQ(coordinator_->requests_waiting(), 0u);
}

// Members that died with the coordinator are missed, though nobody asks.
TEST_F(CoordinatorTest, ATakeOverStartsTheSessionsOfGroups) {
  Serve();
  MakeStable("g");
  FailOver(2);
  EXPECT_EQ(coordinator_->groups_loaded(), 1u);
  env_.world.RunFor(11'000'000);
  EXPECT_EQ(StateOf("g"), v1::GROUP_STATE_EMPTY);
  EXPECT_EQ(coordinator_->groups_loaded(), 0u);
}

TEST_F(CoordinatorTest, ARefusedGroupWriteEndsTheGeneration) {
  Serve();
  const auto joined = Join(JoinOf("g"));
  replica_.refuses = ErrorCode::kNotEnoughReplicas;
  env_.world.RunFor(config_.group.initial_rebalance_delay_us);
  ASSERT_TRUE(joined.came());
  EXPECT_EQ(joined.code(), ErrorCode::kCoordinatorNotAvailable);
}

// One that is refused at once is behind one that waits for followers (seed 100
// of test/sim, 2026-11-26).
TEST_F(CoordinatorTest, WritesOfAGroupAreToldInTheirOrder) {
  Serve();
  const auto first = Join(JoinOf("g", "", "i"));
  env_.world.RunFor(config_.group.initial_rebalance_delay_us);
  ASSERT_EQ(first.code(), ErrorCode::kNone);
  Sync("g", first.get().member_id(), 1, "mine");
  replica_.commits_at_once = false;
  const auto second = Join(JoinOf("g", "", "i"));
  EXPECT_EQ(replica_.waiting(), 1u);
  replica_.refuses = ErrorCode::kNotEnoughReplicas;
  const auto third = Join(JoinOf("g", "", "i"));
  EXPECT_EQ(second.code(), ErrorCode::kFencedInstanceId);
  EXPECT_FALSE(third.came());
  replica_.refuses = ErrorCode::kNone;
  replica_.Commit();
  ASSERT_TRUE(third.came());
  EXPECT_EQ(third.code(), ErrorCode::kCoordinatorNotAvailable);
}

TEST(CoordinatorConfigTest, TakesWhatTheNodeIsSetTo) {
  const auto plain = CoordinatorConfigFrom(**ConfigRegistry::Make({}));
  EXPECT_EQ(plain.expiry, offsets::ExpiryRule::kWithTopic);
  EXPECT_EQ(plain.group.initial_rebalance_delay_us, 3'000'000);
  EXPECT_EQ(plain.group.session_timeout_min_us, 6'000'000);
  const auto set = CoordinatorConfigFrom(
      **ConfigRegistry::Make({{"group.initial.rebalance.delay.ms", "0"},
                              {"group.max.size", "7"},
                              {"offsets.retention.minutes", "60"}}));
  EXPECT_EQ(set.group.initial_rebalance_delay_us, 0);
  EXPECT_EQ(set.group.members_max, 7u);
  EXPECT_EQ(set.expiry, offsets::ExpiryRule::kByAge);
  EXPECT_EQ(set.retention_ms, 3'600'000);
  EXPECT_EQ(CodeOf(ConfigRegistry::Make({{"offsets.retention.minutes", "-2"}})
                       .status()),
            ErrorCode::kInvalidConfig);
}

// ---- Room ----

TEST_F(CoordinatorTest, BeyondItsRequestsItIsBusy) {
  replica_.observer = nullptr;
  coordinator_.reset();
  config_.requests_max = 2;
  Start();
  Serve();
  Join(JoinOf("g"));
  Join(JoinOf("h"));
  const auto refused = Join(JoinOf("i"));
  EXPECT_EQ(refused.code(), ErrorCode::kBusy);
  EXPECT_GT(refused.get().error().retry_after_ms(), 0);
  EXPECT_EQ(CodeOfCommit(Commit(CommitOf("i", 0, 1))), ErrorCode::kBusy);
}

TEST_F(CoordinatorTest, BeyondItsGroupsItIsBusy) {
  replica_.observer = nullptr;
  coordinator_.reset();
  config_.groups_max = 1;
  Start();
  Serve();
  Join(JoinOf("g"));
  EXPECT_EQ(Join(JoinOf("h")).code(), ErrorCode::kBusy);
  EXPECT_EQ(Join(JoinOf("g")).came(), false);
}

TEST_F(CoordinatorTest, WhatIsNoJoinIsRefused) {
  Serve();
  auto many = JoinOf("g");
  for (int i = 0; i < kProtocolsPerJoinMax; ++i) {
    many.add_protocols()->set_name("p" + std::to_string(i));
  }
  EXPECT_EQ(Join(many).code(), ErrorCode::kInvalidRequest);
  auto large = JoinOf("g");
  large.mutable_protocols(0)->set_metadata(
      std::string(static_cast<size_t>(kJoinBytesMax), 'x'));
  EXPECT_EQ(Join(large).code(), ErrorCode::kInvalidRequest);
  auto named = JoinOf("g", "", std::string(kMemberTextBytesMax + 1, 'i'));
  EXPECT_EQ(Join(named).code(), ErrorCode::kInvalidRequest);
  auto hasty = JoinOf("g");
  hasty.set_session_timeout_ms(5);
  EXPECT_EQ(Join(hasty).code(), ErrorCode::kInvalidSessionTimeout);
  EXPECT_EQ(Join(JoinOf("g", "nobody")).code(), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(coordinator_->groups_loaded(), 0u);
}

// A member is not called by the name of the broker that handed its call on.
TEST_F(CoordinatorTest, AHandedOnMemberKeepsItsOwnName) {
  Serve();
  const auto name_of = [&](const std::string& listener) {
    api::CallContext context;
    context.client_id = "broker-2";
    context.listener = listener;
    auto request = JoinOf("g-" + listener);
    request.set_member_id_required(true);
    Answered<v1::JoinGroupResponse> answer;
    coordinator_->JoinGroup(context, request, answer.Reply());
    return answer.get().member_id();
  };
  EXPECT_EQ(name_of(kPublicListener).find("broker-2-"), 0u);
  EXPECT_EQ(name_of(kInternalListener).find("broker-2"), std::string::npos);
}

TEST_F(CoordinatorTest, TheEndAnswersWhoeverWaits) {
  Serve();
  const auto joined = Join(JoinOf("g"));
  replica_.commits_at_once = false;
  const auto committed = Commit(CommitOf("h", 0, 1));
  coordinator_->OnClosed();
  EXPECT_EQ(joined.code(), ErrorCode::kNotCoordinator);
  EXPECT_EQ(CodeOfCommit(committed), ErrorCode::kNotCoordinator);
  EXPECT_EQ(Fetch("g").error().code(), v1::ERROR_CODE_NOT_COORDINATOR);
}

}  // namespace
}  // namespace sluice::coordinator
