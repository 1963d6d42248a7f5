// The classic protocol, event by event.
#include "broker/group/group_core.h"

#include <gtest/gtest.h>

#include "broker/group/group_testing.h"

namespace sluice::group {
namespace {

const ErrorCode kOk = ErrorCode::kNone;

class GroupCoreTest : public testing::Test {
 protected:
  GroupCore& core() { return group_.core(); }

  // Everybody joins again with what it had; the group completes the phase.
  std::map<MemberId, AnswerJoin> AllRejoin(const std::vector<MemberId>& ids,
                                           JoinSpec spec = {}) {
    std::vector<RequestId> requests;
    for (const MemberId& id : ids) {
      spec.member = id.ToString();
      requests.push_back(group_.Join(spec));
    }
    std::map<MemberId, AnswerJoin> answers;
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto answer = group_.JoinAnswer(requests[i]);
      if (answer.has_value()) answers[ids[i]] = *answer;
    }
    return answers;
  }

  GroupTester group_;
};

// ---- The first generation ----

TEST_F(GroupCoreTest, ANewMemberIsGivenAnIdAndComesAgain) {
  const auto answer = group_.JoinAnswer(group_.Join({}));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, ErrorCode::kMemberIdRequired);
  EXPECT_EQ(answer->member.ToString().rfind("client-", 0), 0u);
  EXPECT_EQ(core().state(), GroupState::kEmpty);
  EXPECT_EQ(core().pending_member_count(), 1u);

  group_.Join({.member = answer->member.ToString()});
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  EXPECT_EQ(core().pending_member_count(), 0u);
  EXPECT_TRUE(core().HasMember(answer->member));
}

TEST_F(GroupCoreTest, AnIdThatNobodyUsesIsForgottenAfterASession) {
  const auto answer = group_.JoinAnswer(group_.Join({}));
  group_.Advance(10 * kSecondUs - 1);
  EXPECT_EQ(core().pending_member_count(), 1u);
  group_.Advance(1);
  EXPECT_EQ(core().pending_member_count(), 0u);
  const auto late =
      group_.JoinAnswer(group_.Join({.member = answer->member.ToString()}));
  EXPECT_EQ(late->code, ErrorCode::kUnknownMemberId);
}

TEST_F(GroupCoreTest, AnOldClientIsAdmittedAtOnce) {
  const RequestId join = group_.Join({.member_id_required = false});
  EXPECT_EQ(core().member_count(), 1u);
  group_.Advance(3 * kSecondUs);
  ASSERT_TRUE(group_.JoinAnswer(join).has_value());
  EXPECT_EQ(group_.JoinAnswer(join)->generation, Generation(1));
}

TEST_F(GroupCoreTest, TheFirstRebalanceWaitsWhileMembersKeepComing) {
  RequestId first, second, third;
  group_.Admit({}, &first);
  group_.Advance(2 * kSecondUs);
  group_.Admit({}, &second);
  group_.Advance(2 * kSecondUs);  // 4 s: prolonged at 3 s
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  group_.Admit({}, &third);
  group_.Advance(2 * kSecondUs);  // 6 s: prolonged once more
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  group_.Advance(3 * kSecondUs);  // 9 s
  EXPECT_EQ(core().state(), GroupState::kCompleting);
  for (RequestId join : {first, second, third}) {
    ASSERT_TRUE(group_.JoinAnswer(join).has_value());
    EXPECT_EQ(group_.JoinAnswer(join)->generation, Generation(1));
  }
}

TEST_F(GroupCoreTest, TheFirstRebalanceWaitsAtMostTheRebalanceTimeout) {
  const JoinSpec spec = {.rebalance_timeout_us = 7 * kSecondUs};
  group_.Admit(spec);
  int64_t waited = 0;
  while (core().state() == GroupState::kPreparing) {
    group_.Advance(kSecondUs);
    waited += kSecondUs;
    ASSERT_LE(waited, 7 * kSecondUs);
    if (core().state() == GroupState::kPreparing) group_.Admit(spec);
  }
  EXPECT_EQ(waited, 7 * kSecondUs);
}

TEST_F(GroupCoreTest, OnlyTheLeaderIsToldOfTheMembers) {
  RequestId first, second;
  const MemberId a =
      group_.Admit({.protocols = {{"range", "sub-a"}}}, &first);
  const MemberId b =
      group_.Admit({.protocols = {{"range", "sub-b"}}}, &second);
  group_.Advance(6 * kSecondUs);
  const AnswerJoin leader = *group_.JoinAnswer(first);
  const AnswerJoin follower = *group_.JoinAnswer(second);
  EXPECT_EQ(leader.leader, a);
  EXPECT_EQ(follower.leader, a);
  EXPECT_EQ(leader.protocol_name, "range");
  EXPECT_EQ(leader.protocol_type, "consumer");
  std::map<MemberId, std::string> told;
  for (const JoinedMember& m : leader.members) told[m.id] = m.metadata;
  EXPECT_EQ(told, (std::map<MemberId, std::string>{{a, "sub-a"}, {b, "sub-b"}}));
  EXPECT_TRUE(follower.members.empty());
}

TEST_F(GroupCoreTest, EveryMemberGetsWhatTheLeaderGaveIt) {
  RequestId join;
  const MemberId a = group_.Admit({}, &join);
  const MemberId b = group_.Admit({});
  const MemberId c = group_.Admit({});
  group_.Advance(6 * kSecondUs);
  const Generation g = core().generation();
  const RequestId early = group_.Sync(b, g);
  EXPECT_FALSE(group_.SyncAnswer(early).has_value());
  const RequestId leaders =
      group_.Sync(a, g, {{a, "for a"}, {b, "for b"}, {MemberId("x"), "?"}});
  EXPECT_EQ(core().state(), GroupState::kStable);
  EXPECT_EQ(group_.SyncAnswer(leaders)->assignment, "for a");
  EXPECT_EQ(group_.SyncAnswer(early)->assignment, "for b");
  EXPECT_EQ(group_.SyncAnswer(early)->generation, g);
  // The leader forgot it.
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(c, g))->assignment, "");
}

// ---- Protocols ----

TEST_F(GroupCoreTest, TheProtocolWithMostVotesThatAllSupport) {
  group_.Admit({.protocols = {{"sticky", ""}, {"range", ""}}});
  group_.Admit({.protocols = {{"range", ""}, {"sticky", ""}}});
  group_.Admit({.protocols = {{"mine", ""}, {"range", ""}, {"sticky", ""}}});
  group_.Advance(9 * kSecondUs);
  EXPECT_EQ(core().protocol_name(), "range");
}

TEST_F(GroupCoreTest, WhoSharesNoProtocolIsRefused) {
  group_.Admit({.protocols = {{"range", ""}, {"sticky", ""}}});
  group_.Admit({.protocols = {{"range", ""}}});
  const auto code = [&](JoinSpec spec) {
    return group_.JoinAnswer(group_.Join(spec))->code;
  };
  EXPECT_EQ(code({.protocols = {{"sticky", ""}}}), ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(code({.type = "connect"}), ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(code({.protocols = {}}), ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(code({.protocols = {{"sticky", ""}, {"range", ""}}}),
            ErrorCode::kMemberIdRequired);
}

TEST_F(GroupCoreTest, AnEmptyGroupTakesAnyProtocolButNotNone) {
  const auto code = [&](JoinSpec spec) {
    return group_.JoinAnswer(group_.Join(spec))->code;
  };
  EXPECT_EQ(code({.type = ""}), ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(code({.protocols = {}}), ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(code({.type = "connect"}), ErrorCode::kMemberIdRequired);
}

TEST_F(GroupCoreTest, SyncWithAnotherProtocolIsRefused) {
  const auto ids = group_.MakeStable(1);
  const auto answers = core().Step(Sync{.request = RequestId(900),
                                        .member = ids[0],
                                        .generation = core().generation(),
                                        .protocol_name = "sticky",
                                        .now_us = group_.now_us()});
  EXPECT_EQ(std::get<AnswerSync>(answers.at(0)).code,
            ErrorCode::kInconsistentGroupProtocol);
}

// ---- Later generations ----

TEST_F(GroupCoreTest, ANewMemberRebalancesAStableGroup) {
  const auto ids = group_.MakeStable(2);
  RequestId join;
  const MemberId late = group_.Admit({}, &join);
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(ids[0], Generation(1))),
            ErrorCode::kRebalanceInProgress);
  const auto answers = AllRejoin(ids);
  EXPECT_EQ(core().state(), GroupState::kCompleting);
  EXPECT_EQ(group_.JoinAnswer(join)->generation, Generation(2));
  EXPECT_EQ(answers.at(ids[0]).members.size(), 3u);
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(late, Generation(2))), kOk);
}

TEST_F(GroupCoreTest, WhoDoesNotComeInTimeIsLeftBehind) {
  const auto ids = group_.MakeStable(2);
  RequestId join;
  group_.Admit({}, &join);
  group_.Join({.member = ids[1].ToString()});
  for (int i = 0; i < 5; ++i) {  // alive, but busy
    group_.Advance(5 * kSecondUs);
    group_.Heartbeat(ids[0], Generation(1));
  }
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  group_.Advance(5 * kSecondUs);
  EXPECT_EQ(core().state(), GroupState::kCompleting);
  EXPECT_FALSE(core().HasMember(ids[0]));
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(ids[0], Generation(1))),
            ErrorCode::kUnknownMemberId);
  // The leader was the one that did not come.
  EXPECT_NE(core().leader(), ids[0]);
  EXPECT_TRUE(core().HasMember(core().leader()));
}

TEST_F(GroupCoreTest, AFollowerThatComesAgainUnchangedIsAnsweredAtOnce) {
  const auto ids = group_.MakeStable(2);
  const auto answer =
      group_.JoinAnswer(group_.Join({.member = ids[1].ToString()}));
  EXPECT_EQ(core().state(), GroupState::kStable);
  EXPECT_EQ(answer->generation, Generation(1));
  EXPECT_TRUE(answer->members.empty());
}

TEST_F(GroupCoreTest, TheLeaderComingAgainRebalances) {
  const auto ids = group_.MakeStable(2);
  group_.Join({.member = ids[0].ToString()});
  EXPECT_EQ(core().state(), GroupState::kPreparing);
}

TEST_F(GroupCoreTest, AChangedSubscriptionRebalances) {
  const auto ids = group_.MakeStable(2);
  group_.Join({.member = ids[1].ToString(), .protocols = {{"range", "other"}}});
  EXPECT_EQ(core().state(), GroupState::kPreparing);
}

TEST_F(GroupCoreTest, InCompletingAJoinUnchangedGetsTheSameAnswer) {
  RequestId join;
  const MemberId a = group_.Admit({}, &join);
  group_.Advance(3 * kSecondUs);
  ASSERT_EQ(core().state(), GroupState::kCompleting);
  AnswerJoin again =
      *group_.JoinAnswer(group_.Join({.member = a.ToString()}));
  again.request = join;
  EXPECT_EQ(again, *group_.JoinAnswer(join));
}

TEST_F(GroupCoreTest, InCompletingAChangedJoinTurnsSyncsAway) {
  group_.Admit({});
  const MemberId b = group_.Admit({});
  group_.Advance(6 * kSecondUs);
  const Generation g = core().generation();
  const RequestId sync = group_.Sync(b, g);
  const MemberId leader = core().leader();
  group_.Join({.member = leader.ToString(), .protocols = {{"range", "new"}}});
  EXPECT_EQ(group_.SyncAnswer(sync)->code, ErrorCode::kRebalanceInProgress);
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(b, g))->code, ErrorCode::kRebalanceInProgress);
}

TEST_F(GroupCoreTest, ASecondJoinOfAMemberReplacesTheFirst) {
  const auto ids = group_.MakeStable(2);
  const RequestId first = group_.Join({.member = ids[0].ToString()});
  const RequestId second = group_.Join({.member = ids[0].ToString()});
  EXPECT_EQ(group_.JoinAnswer(first)->code, ErrorCode::kRebalanceInProgress);
  EXPECT_FALSE(group_.JoinAnswer(second).has_value());
  group_.Join({.member = ids[1].ToString()});
  EXPECT_EQ(group_.JoinAnswer(second)->generation, Generation(2));
}

// ---- Timers ----

TEST_F(GroupCoreTest, ASessionEndsWithoutHeartbeats) {
  const auto ids = group_.MakeStable(2);
  group_.Advance(9 * kSecondUs);
  group_.Heartbeat(ids[0], Generation(1));
  group_.Advance(kSecondUs);
  EXPECT_FALSE(core().HasMember(ids[1]));
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  EXPECT_TRUE(core().HasMember(ids[0]));
}

TEST_F(GroupCoreTest, ACommitIsASignOfLife) {
  const auto ids = group_.MakeStable(1);
  for (int i = 0; i < 5; ++i) {
    group_.Advance(9 * kSecondUs);
    group_.CommitAccepted(ids[0]);
  }
  EXPECT_EQ(core().state(), GroupState::kStable);
}

TEST_F(GroupCoreTest, WhoWaitsForOthersDoesNotExpire) {
  const auto ids = group_.MakeStable(2);
  group_.Join({.member = ids[0].ToString()});
  for (int i = 0; i < 4; ++i) {
    group_.Advance(7 * kSecondUs);  // 28 s, the session is 10 s
    group_.Heartbeat(ids[1], Generation(1));
  }
  EXPECT_TRUE(core().HasMember(ids[0]));
  EXPECT_EQ(core().state(), GroupState::kPreparing);
}

TEST_F(GroupCoreTest, ANewMemberWhoseClientGaveUpGoesAfterFiveMinutes) {
  const JoinSpec patient = {.session_timeout_us = 1'000 * kSecondUs,
                            .rebalance_timeout_us = 10'000 * kSecondUs};
  const auto ids = group_.MakeStable(1, patient);
  RequestId join;
  const MemberId late = group_.Admit(patient, &join);
  group_.Advance(299 * kSecondUs);
  EXPECT_TRUE(core().HasMember(late));
  group_.Advance(2 * kSecondUs);
  EXPECT_FALSE(core().HasMember(late));
  EXPECT_EQ(group_.JoinAnswer(join)->code, ErrorCode::kUnknownMemberId);
}

TEST_F(GroupCoreTest, WhoNeverSyncsIsRemovedAfterTheRebalanceTimeout) {
  const MemberId a = group_.Admit({});
  const MemberId b = group_.Admit({});
  group_.Advance(6 * kSecondUs);
  const Generation g = core().generation();
  const MemberId leader = core().leader();
  const MemberId other = leader == a ? b : a;
  group_.Sync(leader, g, {{a, "x"}, {b, "y"}});
  for (int i = 0; i < 3; ++i) {
    group_.Advance(9 * kSecondUs);
    group_.Heartbeat(a, g);
    group_.Heartbeat(b, g);
  }
  EXPECT_EQ(core().state(), GroupState::kStable);
  group_.Advance(3 * kSecondUs);
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  EXPECT_FALSE(core().HasMember(other));
}

TEST_F(GroupCoreTest, ALeaderThatNeverSyncsHoldsNobodyUpForLong) {
  const MemberId a = group_.Admit({});
  const MemberId b = group_.Admit({});
  group_.Advance(6 * kSecondUs);
  const MemberId leader = core().leader();
  const MemberId other = leader == a ? b : a;
  const RequestId sync = group_.Sync(other, core().generation());
  for (int i = 0; i < 4; ++i) {
    group_.Advance(8 * kSecondUs);
    group_.Heartbeat(leader, Generation(1));
  }
  EXPECT_EQ(group_.SyncAnswer(sync)->code, ErrorCode::kRebalanceInProgress);
  EXPECT_FALSE(core().HasMember(leader));
  EXPECT_EQ(core().leader(), other);
}

TEST_F(GroupCoreTest, TheLastSessionToEndEmptiesTheGroup) {
  group_.MakeStable(2);
  group_.Advance(60 * kSecondUs);
  EXPECT_EQ(core().state(), GroupState::kEmpty);
  EXPECT_EQ(core().generation(), Generation(2));
  EXPECT_EQ(core().NextDeadlineUs(), kNever);
  ASSERT_TRUE(group_.writes().back().image.has_value());
  EXPECT_EQ(group_.writes().back().image->state, GroupState::kEmpty);
  EXPECT_EQ(group_.writes().back().image->generation, Generation(2));
}

// ---- Leaving ----

TEST_F(GroupCoreTest, LeavingRebalancesAtOnce) {
  const auto ids = group_.MakeStable(2);
  const AnswerLeave answer = group_.LeaveAnswer(group_.Leave({{ids[1]}}));
  EXPECT_EQ(answer.members.at(0).code, kOk);
  EXPECT_EQ(core().state(), GroupState::kPreparing);
  AllRejoin({ids[0]});
  EXPECT_EQ(core().state(), GroupState::kCompleting);
}

TEST_F(GroupCoreTest, SeveralLeaveAndEachIsAnswered) {
  const auto ids = group_.MakeStable(2);
  const auto pending = group_.JoinAnswer(group_.Join({}))->member;
  const AnswerLeave answer = group_.LeaveAnswer(group_.Leave(
      {{ids[0]},
       {MemberId("nobody")},
       {MemberId(), InstanceId("no instance")},
       {MemberId(), InstanceId()},
       {pending},
       {ids[1], InstanceId("not its own")}}));
  std::vector<ErrorCode> codes;
  for (const LeftMember& m : answer.members) codes.push_back(m.code);
  EXPECT_EQ(codes,
            (std::vector<ErrorCode>{kOk, ErrorCode::kUnknownMemberId, ErrorCode::kUnknownMemberId,
                                    ErrorCode::kUnknownMemberId, kOk, ErrorCode::kUnknownMemberId}));
  EXPECT_EQ(core().member_count(), 1u);
  EXPECT_EQ(core().pending_member_count(), 0u);
}

TEST_F(GroupCoreTest, APendingIdThatLeavesDisturbsNobody) {
  group_.MakeStable(1);
  const auto pending = group_.JoinAnswer(group_.Join({}))->member;
  group_.Leave({{pending}});
  EXPECT_EQ(core().pending_member_count(), 0u);
  EXPECT_EQ(core().state(), GroupState::kStable);
}

TEST_F(GroupCoreTest, TheLastToLeaveWhileOthersWaitedEndsThePhase) {
  const auto ids = group_.MakeStable(2);
  const RequestId join = group_.Join({.member = ids[0].ToString()});
  group_.Leave({{ids[1]}});
  EXPECT_EQ(group_.JoinAnswer(join)->generation, Generation(2));
}

// ---- Requests that are not current ----

TEST_F(GroupCoreTest, AnOldGenerationIsRefused) {
  const auto ids = group_.MakeStable(1);
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(ids[0], Generation(0))),
            ErrorCode::kIllegalGeneration);
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(ids[0], Generation(2)))->code,
            ErrorCode::kIllegalGeneration);
  EXPECT_EQ(
      group_.HeartbeatCode(group_.Heartbeat(MemberId("x"), Generation(1))),
      ErrorCode::kUnknownMemberId);
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(MemberId("x"), Generation(1)))->code,
            ErrorCode::kUnknownMemberId);
}

TEST_F(GroupCoreTest, ASessionTimeoutOutOfRangeIsRefused) {
  for (int64_t us : {int64_t{0}, int64_t{-1}, 6 * kSecondUs - 1,
                     1'800 * kSecondUs + 1}) {
    EXPECT_EQ(
        group_.JoinAnswer(group_.Join({.session_timeout_us = us}))->code,
        ErrorCode::kInvalidSessionTimeout);
  }
}

TEST_F(GroupCoreTest, WithoutARebalanceTimeoutTheSessionTimeoutHolds) {
  group_.Admit({.rebalance_timeout_us = 0});
  EXPECT_EQ(core().Image().members.at(0).rebalance_timeout_us, 10 * kSecondUs);
}

TEST_F(GroupCoreTest, AProtocolNamedTwiceCountsOnce) {
  const auto ids = group_.MakeStable(
      1, {.protocols = {{"range", "first"}, {"range", "second"}}});
  EXPECT_EQ(core().Image().members.at(0).protocols,
            (std::vector<Protocol>{{"range", "first"}}));
  // It is still the same when it comes again.
  group_.Admit({.protocols = {{"range", ""}}});
  AllRejoin(ids, {.protocols = {{"range", "first"}, {"range", "second"}}});
  EXPECT_EQ(core().state(), GroupState::kCompleting);
}

// ---- The end ----

TEST_F(GroupCoreTest, OnlyAnEmptyGroupIsDeleted) {
  const auto ids = group_.MakeStable(1);
  EXPECT_EQ(group_.DeleteCode(group_.Delete()), ErrorCode::kNonEmptyGroup);
  group_.Leave({{ids[0]}});
  EXPECT_EQ(core().state(), GroupState::kEmpty);
  EXPECT_EQ(group_.DeleteCode(group_.Delete()), kOk);
  EXPECT_EQ(core().state(), GroupState::kDead);
  EXPECT_FALSE(group_.writes().back().image.has_value());
  EXPECT_EQ(group_.DeleteCode(group_.Delete()), ErrorCode::kGroupIdNotFound);
}

TEST_F(GroupCoreTest, ADeadGroupSendsEverybodyElsewhere) {
  group_.Delete();
  const Generation g(0);
  EXPECT_EQ(group_.JoinAnswer(group_.Join({}))->code, ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(MemberId("m"), g))->code,
            ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(MemberId("m"), g)),
            ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(group_.LeaveAnswer(group_.Leave({})).code,
            ErrorCode::kCoordinatorNotAvailable);
}

TEST_F(GroupCoreTest, ACoordinatorThatResignsAnswersAllThatWait) {
  const auto ids = group_.MakeStable(3);
  const RequestId join = group_.Join({.member = ids[0].ToString()});
  group_.HoldWrites();
  group_.Resign();
  EXPECT_EQ(group_.JoinAnswer(join)->code, ErrorCode::kNotCoordinator);
  EXPECT_EQ(core().state(), GroupState::kDead);
  EXPECT_EQ(core().NextDeadlineUs(), kNever);
}

}  // namespace
}  // namespace sluice::group
