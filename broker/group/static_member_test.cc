// Members with an instance id, which keep their place over a restart.
#include <gtest/gtest.h>

#include "broker/group/group_testing.h"

namespace sluice::group {
namespace {

const ErrorCode kOk = ErrorCode::kNone;

// ---- F70, GR5: two processes with one instance id ----

class StaticMemberTest : public testing::Test {
 protected:
  const JoinSpec kSpec = {.instance = "i"};

  MemberId JoinStatic(RequestId* request = nullptr) {
    const RequestId join = group_.Join(kSpec);
    if (request != nullptr) *request = join;
    for (const MemberImage& m : group_.core().Image().members) {
      if (m.instance == InstanceId("i")) return m.id;
    }
    return MemberId();
  }

  // The static member alone, stable, with assignment "x".
  MemberId MakeStable() {
    const MemberId id = JoinStatic();
    group_.Advance(3 * kSecondUs);
    group_.Sync(id, Generation(1), {{id, "x"}}, "i");
    return id;
  }

  GroupTester group_;
};

TEST_F(StaticMemberTest, ItIsAdmittedAtOnceUnderItsInstance) {
  RequestId request;
  const MemberId id = JoinStatic(&request);
  EXPECT_EQ(id.ToString().rfind("i-", 0), 0u);
  group_.Advance(3 * kSecondUs);
  EXPECT_EQ(group_.JoinAnswer(request)->member, id);
  EXPECT_EQ(group_.JoinAnswer(request)->members.at(0).instance,
            InstanceId("i"));
}

TEST_F(StaticMemberTest, ARestartInAStableGroupRebalancesNothing) {
  const MemberId old = MakeStable();
  RequestId request;
  const MemberId id = JoinStatic(&request);
  EXPECT_NE(id, old);
  EXPECT_EQ(group_.core().state(), GroupState::kStable);
  const AnswerJoin answer = *group_.JoinAnswer(request);
  EXPECT_EQ(answer.generation, Generation(1));
  EXPECT_EQ(answer.leader, id);
  EXPECT_TRUE(answer.skip_assignment);
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(id, Generation(1), {}, "i"))
                ->assignment,
            "x");
  EXPECT_EQ(group_.rebalances(), 1);
}

// An operator looks for it there.
TEST_F(StaticMemberTest, ItsHostIsThatOfTheNewerProcess) {
  MakeStable();
  JoinSpec spec = kSpec;
  spec.host = "elsewhere";
  group_.Join(spec);
  ASSERT_EQ(group_.core().Image().members.size(), 1u);
  EXPECT_EQ(group_.core().Image().members[0].client_host, "elsewhere");
}

// A client that cannot skip must not think that it leads.
TEST_F(StaticMemberTest, AnOldClientIsToldOfTheOldLeader) {
  const MemberId old = MakeStable();
  JoinSpec spec = kSpec;
  spec.can_skip_assignment = false;
  const AnswerJoin answer = *group_.JoinAnswer(group_.Join(spec));
  EXPECT_EQ(answer.leader, old);
  EXPECT_NE(answer.member, old);
  ASSERT_EQ(answer.members.size(), 1u) << "but itself";
  EXPECT_EQ(answer.members[0].id, answer.member);
  EXPECT_FALSE(answer.skip_assignment);
}

// Of processes that die one after the other the last one too hears what the
// member joined this generation with: it has to give that back (GR6).
TEST_F(StaticMemberTest, ItHearsWhatTheMemberJoinedWith) {
  JoinSpec spec = kSpec;
  spec.protocols = {{"range", "owns 3"}};
  group_.Join(spec);
  group_.Advance(3 * kSecondUs);
  group_.Sync(group_.core().leader(), Generation(1), {}, "i");
  ASSERT_EQ(group_.core().state(), GroupState::kStable);
  spec.protocols = {{"range", "owns nothing"}};
  for (int life = 2; life < 5; ++life) {
    const AnswerJoin answer = *group_.JoinAnswer(group_.Join(spec));
    ASSERT_EQ(answer.generation, Generation(1));
    ASSERT_EQ(answer.members.size(), 1u);
    EXPECT_EQ(answer.members[0].id, answer.member);
    EXPECT_EQ(answer.members[0].metadata, "owns 3");
  }
  // Until it joins a generation itself.
  JoinSpec again = Again(group_.core().leader(), spec);
  const AnswerJoin made = *group_.JoinAnswer(group_.Join(again));
  ASSERT_EQ(made.generation, Generation(2));
  EXPECT_EQ(made.members.at(0).metadata, "owns nothing");
}

TEST_F(StaticMemberTest, GR5TheOlderOfTwoIsFenced) {
  const MemberId old = MakeStable();
  const MemberId id = JoinStatic();
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(old, Generation(1), "i")),
            ErrorCode::kFencedInstanceId);
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(old, Generation(1), {}, "i"))->code,
            ErrorCode::kFencedInstanceId);
  JoinSpec spec = kSpec;
  spec.member = old.ToString();
  EXPECT_EQ(group_.JoinAnswer(group_.Join(spec))->code, ErrorCode::kFencedInstanceId);
  EXPECT_EQ(CommitCode(group_, old, Generation(1), "i"), ErrorCode::kFencedInstanceId);
  EXPECT_EQ(group_.LeaveAnswer(group_.Leave({{old, InstanceId("i")}}))
                .members.at(0).code,
            ErrorCode::kFencedInstanceId);
  EXPECT_EQ(CommitCode(group_, id, Generation(1), "i"), kOk);
}

TEST_F(StaticMemberTest, GR5TheOlderOneIsFencedAfterAFailOverToo) {
  const MemberId old = MakeStable();
  const MemberId id = JoinStatic();
  group_.FailOver();
  EXPECT_EQ(CommitCode(group_, old, Generation(1), "i"), ErrorCode::kFencedInstanceId);
  EXPECT_EQ(CommitCode(group_, id, Generation(1), "i"), kOk);
}

// The new id is in the log before its owner hears of it.
TEST_F(StaticMemberTest, GR5ATakeOverThatWasLostWasNeverTold) {
  const MemberId old = MakeStable();
  group_.HoldWrites();
  RequestId request;
  JoinStatic(&request);
  EXPECT_FALSE(group_.JoinAnswer(request).has_value());
  group_.FailOver();
  EXPECT_FALSE(group_.JoinAnswer(request).has_value());
  EXPECT_EQ(CommitCode(group_, old, Generation(1), "i"), kOk);
}

TEST_F(StaticMemberTest, GR5AParkedRequestOfTheOlderOneIsAnswered) {
  RequestId first, second;
  JoinStatic(&first);
  JoinStatic(&second);
  EXPECT_EQ(group_.JoinAnswer(first)->code, ErrorCode::kFencedInstanceId);
  group_.Advance(3 * kSecondUs);
  EXPECT_EQ(group_.JoinAnswer(second)->code, kOk);
}

TEST_F(StaticMemberTest, ATakeOverDuringTheSyncPhaseRebalances) {
  RequestId first, second;
  const MemberId old = JoinStatic(&first);
  const MemberId other = group_.Admit({});
  group_.Advance(6 * kSecondUs);
  const RequestId sync = group_.Sync(old, Generation(1), {}, "i");
  ASSERT_EQ(group_.core().state(), GroupState::kStable);
  group_.FailOver();
  group_.Join(Again(old, kSpec));  // the leader: a new phase
  const RequestId rejoin = group_.Join(Again(other));
  ASSERT_EQ(group_.core().state(), GroupState::kCompleting);
  JoinStatic(&second);
  EXPECT_EQ(group_.core().state(), GroupState::kPreparing);
  EXPECT_EQ(group_.JoinAnswer(rejoin)->generation, Generation(2));
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(other, Generation(2)))->code,
            ErrorCode::kRebalanceInProgress);
  EXPECT_TRUE(group_.SyncAnswer(sync).has_value());
}

TEST_F(StaticMemberTest, ATakeOverThatChangesTheProtocolRebalances) {
  JoinSpec spec = kSpec;
  spec.protocols = {{"range", ""}, {"sticky", ""}};
  group_.Join(spec);
  group_.Advance(3 * kSecondUs);
  group_.Sync(group_.core().leader(), Generation(1), {}, "i");
  ASSERT_EQ(group_.core().protocol_name(), "range");
  spec.protocols = {{"sticky", ""}, {"range", ""}};
  const AnswerJoin answer = *group_.JoinAnswer(group_.Join(spec));
  EXPECT_EQ(answer.generation, Generation(2));
  EXPECT_EQ(answer.protocol_name, "sticky");
}

// It is down for a moment: the others go on without waiting for its session.
TEST_F(StaticMemberTest, ItKeepsItsPlaceWhileItIsAway) {
  const MemberId id = MakeStable();
  RequestId join;
  group_.Admit({}, &join);
  // Its session would end at 10 s.
  for (int i = 0; i < 3; ++i) {
    group_.Advance(9 * kSecondUs);
    group_.Heartbeat(id, Generation(1), "i");
  }
  group_.Advance(3 * kSecondUs);
  EXPECT_EQ(group_.JoinAnswer(join)->generation, Generation(2));
  EXPECT_TRUE(group_.core().HasMember(id));
  // The newcomer leads: it is there.
  EXPECT_EQ(group_.JoinAnswer(join)->leader, group_.JoinAnswer(join)->member);
  EXPECT_EQ(group_.JoinAnswer(join)->members.size(), 2u);
}

TEST_F(StaticMemberTest, ItsSessionEndsAsAnyOthers) {
  MakeStable();
  group_.Advance(10 * kSecondUs);
  EXPECT_EQ(group_.core().state(), GroupState::kEmpty);
}

TEST_F(StaticMemberTest, AnAdministratorRemovesItByItsInstance) {
  MakeStable();
  const AnswerLeave answer =
      group_.LeaveAnswer(group_.Leave({{MemberId(), InstanceId("i")}}));
  EXPECT_EQ(answer.members.at(0).code, kOk);
  EXPECT_EQ(group_.core().state(), GroupState::kEmpty);
}

// Nobody but absent static members: the phase goes on until their sessions end.
TEST_F(StaticMemberTest, APhaseThatNobodyJoinsEndsWithTheSessions) {
  const JoinSpec spec = {.instance = "i",
                         .session_timeout_us = 100 * kSecondUs,
                         .rebalance_timeout_us = 30 * kSecondUs};
  const RequestId first = group_.Join(spec);
  group_.Advance(3 * kSecondUs);
  const MemberId id = group_.JoinAnswer(first)->member;
  group_.Sync(id, Generation(1), {}, "i");
  const MemberId other = group_.Admit({});
  group_.Leave({{other}});
  EXPECT_EQ(group_.core().state(), GroupState::kPreparing);
  group_.Advance(60 * kSecondUs);
  EXPECT_EQ(group_.core().state(), GroupState::kPreparing);
  group_.Advance(60 * kSecondUs);
  EXPECT_EQ(group_.core().state(), GroupState::kEmpty);
}

}  // namespace
}  // namespace sluice::group
