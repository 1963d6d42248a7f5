// Faults by name: F70 and F71 of correctness.md 3.1, and the GR invariants of
// 2.4 that one coordinator can keep or break.
#include <gtest/gtest.h>

#include "broker/group/group_testing.h"

namespace sluice::group {
namespace {

const ErrorCode kOk = ErrorCode::kNone;

absl::Status Refused() {
  return MakeError(ErrorCode::kNotEnoughReplicas, "one replica of two");
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
  EXPECT_EQ(group.SyncAnswer(late)->code, ErrorCode::kRebalanceInProgress);
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
  EXPECT_EQ(group.JoinAnswer(join)->code, ErrorCode::kCoordinatorNotAvailable);
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
  EXPECT_EQ(group.SyncAnswer(first)->code, ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(group.SyncAnswer(second)->code, ErrorCode::kCoordinatorNotAvailable);
  EXPECT_EQ(group.core().state(), GroupState::kPreparing);
  EXPECT_EQ(group.SyncAnswer(group.Sync(b, Generation(1)))->code,
            ErrorCode::kRebalanceInProgress);
}

TEST(GroupLogTest, ARecordTooLargeForTheLogIsNoReasonToTryAgain) {
  GroupTester group;
  group.HoldWrites();
  RequestId join;
  group.Admit({}, &join);
  group.Advance(3 * kSecondUs);
  group.SettleWrite(MakeError(ErrorCode::kMessageTooLarge, "too large"));
  EXPECT_EQ(group.JoinAnswer(join)->code, ErrorCode::kMessageTooLarge);
}

TEST(GroupLogTest, ARefusedDeletionLeavesTheGroup) {
  GroupTester group;
  group.HoldWrites();
  const RequestId request = group.Delete();
  EXPECT_EQ(group.DeleteCode(request), std::nullopt);
  group.SettleWrite(Refused());
  EXPECT_EQ(group.DeleteCode(request), ErrorCode::kCoordinatorNotAvailable);
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
  EXPECT_EQ(group.JoinAnswer(last)->code, ErrorCode::kCoordinatorNotAvailable);
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
  EXPECT_EQ(group.SyncAnswer(sync)->code, ErrorCode::kRebalanceInProgress);
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

  EXPECT_EQ(CommitCode(group, ids[0], Generation(1)), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(CommitCode(group, ids[0], Generation(2)), ErrorCode::kUnknownMemberId);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(1)), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(2)), kOk);
  EXPECT_EQ(group.HeartbeatCode(group.Heartbeat(ids[0], Generation(1))),
            ErrorCode::kUnknownMemberId);
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
  EXPECT_EQ(CommitCode(group, ids[1], Generation(1)), ErrorCode::kIllegalGeneration);
  EXPECT_EQ(CommitCode(group, ids[1], Generation(2)), ErrorCode::kRebalanceInProgress);
}

}  // namespace
}  // namespace sluice::group
