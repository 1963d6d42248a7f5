// Faults by name: F70 and F71 of correctness.md 3.1, and the GR invariants of
// 2.4 that one coordinator can keep or break.
#include <gtest/gtest.h>

#include "broker/group/commit_rules.h"
#include "broker/group/group_testing.h"

namespace sluice::group {
namespace {

const ErrorCode kOk = ErrorCode::kNone;

absl::Status Refused() {
  return MakeError(ErrorCode::kNotEnoughReplicas, "one replica of two");
}

ErrorCode CommitCode(GroupTester& group, const MemberId& member,
                     Generation generation, const std::string& instance = "") {
  return CheckCommit(&group.core(), {.member = member,
                                     .instance = InstanceId(instance),
                                     .generation = generation});
}

JoinSpec Again(const MemberId& member, JoinSpec spec = {}) {
  spec.member = member.ToString();
  return spec;
}

// ---- GR3, GR4: nothing is told before it is in the log ----

TEST(GroupLogTest, GR4NobodyHearsOfAGenerationBeforeItIsWritten) {
  GroupTester group;
  group.HoldWrites();
  RequestId join;
  const MemberId a = group.Admit({}, &join);
  group.Advance(3 * kSecondUs);
  EXPECT_EQ(group.core().generation(), Generation(1));
  EXPECT_FALSE(group.JoinAnswer(join).has_value());
  group.SettleWrite();
  EXPECT_EQ(group.JoinAnswer(join)->generation, Generation(1));

  const RequestId sync = group.Sync(a, Generation(1), {{a, "x"}});
  EXPECT_FALSE(group.SyncAnswer(sync).has_value());
  group.SettleWrite();
  EXPECT_EQ(group.SyncAnswer(sync)->assignment, "x");
}

// The coordinator dies with the write of a generation under way: the next one
// may give that number out, for nobody has heard of it.
TEST(GroupLogTest, GR4AGenerationThatWasLostWasNeverTold) {
  GroupTester group;
  const auto ids = group.MakeStable(2);
  group.HoldWrites();
  const RequestId first = group.Join(Again(ids[0]));
  const RequestId second = group.Join(Again(ids[1]));
  EXPECT_EQ(group.core().generation(), Generation(2));
  group.FailOver();
  EXPECT_FALSE(group.JoinAnswer(first).has_value());
  EXPECT_FALSE(group.JoinAnswer(second).has_value());
  EXPECT_EQ(group.core().generation(), Generation(1));
  EXPECT_EQ(group.core().state(), GroupState::kStable);
}

// A sync that comes when the assignment is decided and not yet written could
// get one that the next coordinator never heard of.
TEST(GroupLogTest, GR3ALateSyncWaitsForTheAssignmentToBeWritten) {
  GroupTester group;
  const MemberId a = group.Admit({});
  const MemberId b = group.Admit({});
  group.Advance(6 * kSecondUs);
  group.HoldWrites();
  group.Sync(a, Generation(1), {{a, "x"}, {b, "y"}});
  EXPECT_EQ(group.core().state(), GroupState::kStable);
  const RequestId late = group.Sync(b, Generation(1));
  const RequestId rejoin = group.Join(Again(b));
  EXPECT_FALSE(group.JoinAnswer(rejoin).has_value());
  EXPECT_EQ(group.SyncAnswer(late)->code, kRebalanceInProgress);
  const RequestId later = group.Sync(b, Generation(1));
  EXPECT_FALSE(group.SyncAnswer(later).has_value());
  group.SettleWrite();
  EXPECT_EQ(group.SyncAnswer(later)->assignment, "y");
}

TEST(GroupLogTest, ARefusedWriteOfAGenerationBeginsANewOne) {
  GroupTester group;
  group.HoldWrites();
  RequestId join;
  const MemberId a = group.Admit({}, &join);
  group.Advance(3 * kSecondUs);
  group.SettleWrite(Refused());
  EXPECT_EQ(group.JoinAnswer(join)->code, kCoordinatorNotAvailable);
  EXPECT_EQ(group.core().state(), GroupState::kPreparing);
  group.ReleaseWrites();
  const RequestId again = group.Join(Again(a));
  EXPECT_EQ(group.JoinAnswer(again)->generation, Generation(2));
}

TEST(GroupLogTest, ARefusedAssignmentIsGivenToNobody) {
  GroupTester group;
  const MemberId a = group.Admit({});
  const MemberId b = group.Admit({});
  group.Advance(6 * kSecondUs);
  group.HoldWrites();
  const RequestId first = group.Sync(b, Generation(1));
  const RequestId second = group.Sync(a, Generation(1), {{a, "x"}, {b, "y"}});
  group.SettleWrite(Refused());
  EXPECT_EQ(group.SyncAnswer(first)->code, kCoordinatorNotAvailable);
  EXPECT_EQ(group.SyncAnswer(second)->code, kCoordinatorNotAvailable);
  EXPECT_EQ(group.core().state(), GroupState::kPreparing);
  EXPECT_EQ(group.SyncAnswer(group.Sync(b, Generation(1)))->code,
            kRebalanceInProgress);
}

TEST(GroupLogTest, ARecordTooLargeForTheLogIsNoReasonToTryAgain) {
  GroupTester group;
  group.HoldWrites();
  RequestId join;
  group.Admit({}, &join);
  group.Advance(3 * kSecondUs);
  group.SettleWrite(MakeError(ErrorCode::kMessageTooLarge, "too large"));
  EXPECT_EQ(group.JoinAnswer(join)->code, ErrorCode::kUnknownServerError);
}

TEST(GroupLogTest, ARefusedDeletionLeavesTheGroup) {
  GroupTester group;
  group.HoldWrites();
  const RequestId request = group.Delete();
  EXPECT_EQ(group.DeleteCode(request), std::nullopt);
  group.SettleWrite(Refused());
  EXPECT_EQ(group.DeleteCode(request), kCoordinatorNotAvailable);
  EXPECT_EQ(group.core().state(), GroupState::kEmpty);
}

// A disk that stalls for a minute is no fault of the members.
TEST(GroupLogTest, TimeStandsStillWhileTheLogIsSlow) {
  GroupTester group;
  const auto ids = group.MakeStable(2);
  group.HoldWrites();
  const RequestId first = group.Join(Again(ids[0]));
  const RequestId second = group.Join(Again(ids[1]));
  EXPECT_EQ(group.core().NextDeadlineUs(), kNever);
  group.Advance(60 * kSecondUs);
  EXPECT_EQ(group.core().member_count(), 2u);
  group.ReleaseWrites();
  EXPECT_EQ(group.JoinAnswer(first)->code, kOk);
  EXPECT_EQ(group.JoinAnswer(second)->code, kOk);
  group.Advance(9 * kSecondUs);
  EXPECT_EQ(group.core().member_count(), 2u);
  group.Advance(kSecondUs);
  EXPECT_EQ(group.core().member_count(), 0u);
}

TEST(GroupLogTest, JoinsAreTurnedAwayBehindTooManyWrites) {
  GroupTester group;
  const auto ids = group.MakeStable(1);
  group.HoldWrites();
  for (int i = 0; i < 50; ++i) group.Join(Again(ids[0]));
  JoinSpec spec = Again(ids[0]);
  RequestId last;
  for (int i = 0; i < 50; ++i) {
    spec.protocols = {{"range", std::to_string(i)}};
    last = group.Join(spec);
  }
  EXPECT_EQ(group.JoinAnswer(last)->code, kCoordinatorNotAvailable);
  EXPECT_EQ(group.core().writes_under_way(), kGroupWritesMax);
  group.ReleaseWrites();
  EXPECT_EQ(group.core().writes_under_way(), 0u);
  EXPECT_EQ(group.JoinAnswer(group.Join(spec))->code, kOk);
}

// ---- F70: the coordinator dies ----

TEST(GroupFailOverTest, F70AStableGroupGoesOnWithoutARebalance) {
  GroupTester group;
  const auto ids = group.MakeStable(3);
  group.FailOver();
  EXPECT_EQ(group.core().state(), GroupState::kStable);
  for (const MemberId& id : ids) {
    EXPECT_EQ(group.HeartbeatCode(group.Heartbeat(id, Generation(1))), kOk);
    EXPECT_EQ(CommitCode(group, id, Generation(1)), kOk);
  }
  EXPECT_EQ(group.SyncAnswer(group.Sync(ids[2], Generation(1)))->assignment,
            "a2");
  EXPECT_EQ(group.core().leader(), ids[0]);
}

TEST(GroupFailOverTest, F70MembersHaveAWholeSessionToFindTheNewCoordinator) {
  GroupTester group;
  const auto ids = group.MakeStable(2);
  group.Advance(9 * kSecondUs);
  group.FailOver();
  group.Advance(9 * kSecondUs);
  EXPECT_EQ(group.core().member_count(), 2u);
  group.Heartbeat(ids[0], Generation(1));
  group.Advance(kSecondUs);
  EXPECT_FALSE(group.core().HasMember(ids[1]));
}

TEST(GroupFailOverTest, F70KilledDuringJoinTheMembersJoinAnew) {
  GroupTester group;
  const auto ids = group.MakeStable(2);
  group.Join(Again(ids[0]));
  group.FailOver();
  EXPECT_EQ(group.core().state(), GroupState::kStable);
  const RequestId first = group.Join(Again(ids[0]));
  const RequestId second = group.Join(Again(ids[1]));
  EXPECT_EQ(group.JoinAnswer(first)->generation, Generation(2));
  EXPECT_EQ(group.JoinAnswer(second)->generation, Generation(2));
}

// The join phase is in the log: the sync phase goes on elsewhere.
TEST(GroupFailOverTest, F70KilledDuringSyncTheGenerationGoesOn) {
  GroupTester group;
  const MemberId a = group.Admit({});
  const MemberId b = group.Admit({});
  group.Advance(6 * kSecondUs);
  group.Sync(b, Generation(1));
  group.FailOver();
  EXPECT_EQ(group.core().state(), GroupState::kCompleting);
  const RequestId follower = group.Sync(b, Generation(1));
  group.Sync(a, Generation(1), {{a, "x"}, {b, "y"}});
  EXPECT_EQ(group.SyncAnswer(follower)->assignment, "y");
  EXPECT_EQ(group.core().generation(), Generation(1));
  EXPECT_EQ(group.rebalances(), 1);
}

TEST(GroupFailOverTest, F70WhoDoesNotComeAfterAFailOverIsNotWaitedForLong) {
  GroupTester group;
  const MemberId a = group.Admit({});
  const MemberId b = group.Admit({});
  group.Advance(6 * kSecondUs);
  group.FailOver();
  const RequestId sync = group.Sync(b, Generation(1));
  group.Advance(10 * kSecondUs);  // a was the leader and died too
  EXPECT_EQ(group.SyncAnswer(sync)->code, kRebalanceInProgress);
  EXPECT_FALSE(group.core().HasMember(a));
  const RequestId join = group.Join(Again(b));
  EXPECT_EQ(group.JoinAnswer(join)->generation, Generation(2));
  EXPECT_EQ(group.JoinAnswer(join)->leader, b);
}

TEST(GroupFailOverTest, F70AnEmptyGroupKeepsItsGeneration) {
  GroupTester group;
  const auto ids = group.MakeStable(1);
  group.Leave({{ids[0]}});
  group.FailOver();
  EXPECT_EQ(group.core().state(), GroupState::kEmpty);
  EXPECT_EQ(group.core().generation(), Generation(2));
  group.MakeStable(1);
  EXPECT_EQ(group.core().generation(), Generation(3));
}

TEST(GroupFailOverTest, WhatIsRestoredIsWhatWasWritten) {
  GroupTester group;
  group.MakeStable(3, {.instance = "", .protocols = {{"a", "1"}, {"b", "2"}}});
  const GroupImage before = group.core().Image();
  group.FailOver();
  EXPECT_EQ(group.core().Image(), before);
}

// ---- F70: 1000 members ----

TEST(GroupFailOverTest, F70AThousandMembersAndKillsInEveryPhase) {
  constexpr int kMembers = 1000;
  GroupTester group;
  std::vector<MemberId> ids;
  for (int i = 0; i < kMembers; ++i) ids.push_back(group.Admit({}));
  group.Advance(6 * kSecondUs);
  ASSERT_EQ(group.core().state(), GroupState::kCompleting);
  group.FailOver();
  const Generation g = group.core().generation();
  std::vector<MemberAssignment> assignments;
  for (const MemberId& id : ids) assignments.push_back({id, id.ToString()});
  for (const MemberId& id : ids) group.Sync(id, g, assignments);
  ASSERT_EQ(group.core().state(), GroupState::kStable);
  group.FailOver();
  for (const MemberId& id : ids) {
    ASSERT_EQ(group.HeartbeatCode(group.Heartbeat(id, g)), kOk);
    ASSERT_EQ(group.SyncAnswer(group.Sync(id, g))->assignment, id.ToString());
  }
  EXPECT_EQ(group.rebalances(), 1);
}

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

// A client that cannot skip must not think that it leads.
TEST_F(StaticMemberTest, AnOldClientIsToldOfTheOldLeader) {
  const MemberId old = MakeStable();
  JoinSpec spec = kSpec;
  spec.can_skip_assignment = false;
  const AnswerJoin answer = *group_.JoinAnswer(group_.Join(spec));
  EXPECT_EQ(answer.leader, old);
  EXPECT_NE(answer.member, old);
  EXPECT_TRUE(answer.members.empty());
  EXPECT_FALSE(answer.skip_assignment);
}

TEST_F(StaticMemberTest, GR5TheOlderOfTwoIsFenced) {
  const MemberId old = MakeStable();
  const MemberId id = JoinStatic();
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(old, Generation(1), "i")),
            kFencedInstanceId);
  EXPECT_EQ(group_.SyncAnswer(group_.Sync(old, Generation(1), {}, "i"))->code,
            kFencedInstanceId);
  JoinSpec spec = kSpec;
  spec.member = old.ToString();
  EXPECT_EQ(group_.JoinAnswer(group_.Join(spec))->code, kFencedInstanceId);
  EXPECT_EQ(CommitCode(group_, old, Generation(1), "i"), kFencedInstanceId);
  EXPECT_EQ(group_.LeaveAnswer(group_.Leave({{old, InstanceId("i")}}))
                .members.at(0).code,
            kFencedInstanceId);
  EXPECT_EQ(CommitCode(group_, id, Generation(1), "i"), kOk);
}

TEST_F(StaticMemberTest, GR5TheOlderOneIsFencedAfterAFailOverToo) {
  const MemberId old = MakeStable();
  const MemberId id = JoinStatic();
  group_.FailOver();
  EXPECT_EQ(CommitCode(group_, old, Generation(1), "i"), kFencedInstanceId);
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
  EXPECT_EQ(group_.JoinAnswer(first)->code, kFencedInstanceId);
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
            kRebalanceInProgress);
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

// ---- F71: a process that slept ----

TEST(ZombieTest, F71CommitsOfWhoSleptPastItsSessionAreRefused) {
  GroupTester group;
  const auto ids = group.MakeStable(2);
  // ids[0] sleeps.
  group.Advance(5 * kSecondUs);
  group.Heartbeat(ids[1], Generation(1));
  group.Advance(5 * kSecondUs);
  ASSERT_FALSE(group.core().HasMember(ids[0]));
  const RequestId join = group.Join(Again(ids[1]));
  ASSERT_EQ(group.JoinAnswer(join)->generation, Generation(2));
  group.Sync(ids[1], Generation(2), {{ids[1], "everything"}});

  EXPECT_EQ(CommitCode(group, ids[0], Generation(1)), kUnknownMemberId);
  EXPECT_EQ(CommitCode(group, ids[0], Generation(2)), kUnknownMemberId);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(1)), kIllegalGeneration);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(2)), kOk);
  EXPECT_EQ(group.HeartbeatCode(group.Heartbeat(ids[0], Generation(1))),
            kUnknownMemberId);
}

// Its partitions are still its own: the last commits of an old generation come
// while the next one is being prepared.
TEST(ZombieTest, CommitsOfTheOldGenerationAreTakenWhileMembersJoin) {
  GroupTester group;
  const auto ids = group.MakeStable(2);
  group.Join(Again(ids[0]));
  ASSERT_EQ(group.core().state(), GroupState::kPreparing);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(1)), kOk);
  group.Join(Again(ids[1]));
  ASSERT_EQ(group.core().state(), GroupState::kCompleting);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(1)), kIllegalGeneration);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(2)), kRebalanceInProgress);
}

}  // namespace
}  // namespace sluice::group
