// A membership, event by event.
#include "client/group/group_membership.h"

#include <gtest/gtest.h>

#include "client/group/membership_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using namespace membership;  // NOLINT
using consumer::Assignor;
using Phase = GroupMembership::Phase;

TEST_F(MembershipTest, ANewMemberComesAgainWithItsIdAndSyncs) {
  const SendJoin first = BeginJoin();
  EXPECT_EQ(first.request.member_id(), "");
  EXPECT_EQ(first.request.group_id(), "g");
  EXPECT_EQ(first.request.rebalance_timeout_ms(), 60'000);
  ASSERT_EQ(first.request.protocols_size(), 1);
  EXPECT_EQ(first.request.protocols(0).name(), "range");
  Joined wanted{first.call, Error(ErrorCode::kMemberIdRequired), {}};
  wanted.response.set_member_id("m1");
  Do(wanted);
  const auto again = The<SendJoin>();
  EXPECT_EQ(again.request.member_id(), "m1");
  Do(JoinedAs(again.call, "m1", 5));
  const auto sync = The<SendSync>();
  EXPECT_EQ(sync.request.generation_id(), 5);
  EXPECT_EQ(sync.request.assignments_size(), 0);
  Do(Synced{sync.call, absl::OkStatus(), BytesOf(Of("t", {0, 2}))});
  EXPECT_EQ(The<Assigned>().added, Of("t", {0, 2}));
  EXPECT_EQ(m_->owned(), Of("t", {0, 2}));
  EXPECT_FALSE(m_->is_leader());
}

TEST_F(MembershipTest, TheLeaderAssignsFromWhatTheTopicsHave) {
  const SendJoin join = BeginJoin();
  Joined joined = JoinedAs(join.call, "a", 1, "a");
  for (const std::string member : {"a", "b"}) {
    auto* one = joined.response.add_members();
    one->set_member_id(member);
    consumer::Subscription subscription;
    subscription.topics = {member == "a" ? "t" : "u"};
    one->set_metadata(consumer::EncodeSubscription(subscription));
  }
  auto* broken = joined.response.add_members();
  broken->set_member_id("c");
  broken->set_metadata("x");
  Do(joined);
  const auto look = The<LookUpTopics>();
  EXPECT_EQ(look.topics, (std::set<std::string>{"t", "u"}));
  Do(TopicsFound{look.call, {{"t", 2}, {"u", 1}}});
  const auto sync = The<SendSync>();
  std::map<std::string, std::string> given;
  for (const auto& one : sync.request.assignments()) {
    given[one.member_id()] = one.assignment();
  }
  EXPECT_EQ(consumer::DecodeAssignment(given["a"])->partitions,
            (std::vector<consumer::NamedPartition>{{"t", PartitionIndex(0)},
                                                   {"t", PartitionIndex(1)}}));
  EXPECT_EQ(given["b"], BytesOf(Of("u", {0})));
  EXPECT_EQ(given["c"], BytesOf({}));
  Do(Synced{sync.call, absl::OkStatus(), given["a"]});
  EXPECT_TRUE(m_->is_leader());
  // A topic that grows makes the leader, and only it, join anew.
  Do(CountsChanged{{{"t", 2}}});
  EXPECT_EQ(Find<Release>(), nullptr);
  Do(CountsChanged{{{"t", 3}}});
  EXPECT_EQ(The<Release>().partitions, Of("t", {0, 1}));
  Do(Released{});
  EXPECT_NE(The<SendJoin>().request.reason().find("3 partitions"),
            std::string::npos);
}

TEST_F(MembershipTest, AGenerationThatGrewOldWhileItWasMadeIsMadeAnew) {
  const SendJoin join = BeginJoin();
  Joined joined = JoinedAs(join.call, "a", 1, "a");
  auto* one = joined.response.add_members();
  one->set_member_id("a");
  consumer::Subscription subscription;
  subscription.topics = {"t"};
  one->set_metadata(consumer::EncodeSubscription(subscription));
  Do(joined);
  Do(TopicsFound{The<LookUpTopics>().call, {{"t", 2}}});
  const auto sync = The<SendSync>();
  Do(CountsChanged{{{"t", 4}}});
  Do(Synced{sync.call, absl::OkStatus(), BytesOf(Of("t", {0, 1}))});
  EXPECT_EQ(The<Release>().partitions, Of("t", {0, 1}));
}

TEST_F(MembershipTest, AStaticLeaderThatComesBackDoesNotAssign) {
  Make({Assignor::kRange}, "i1");
  const SendJoin join = BeginJoin();
  EXPECT_EQ(join.request.group_instance_id(), "i1");
  Joined joined = JoinedAs(join.call, "a", 1, "a");
  joined.response.set_skip_assignment(true);
  Do(joined);
  Do(TopicsFound{The<LookUpTopics>().call, {{"t", 2}}});
  const auto sync = The<SendSync>();
  EXPECT_EQ(sync.request.assignments_size(), 0);
  EXPECT_EQ(sync.request.group_instance_id(), "i1");
}

// The topic may have grown while nobody was there: what it assigned by is in its
// own assignment.
TEST_F(MembershipTest, AStaticLeaderThatComesBackSeesWhatHasChanged) {
  Make({Assignor::kRange}, "i1");
  const SendJoin first = BeginJoin();
  Joined joined = JoinedAs(first.call, "a", 1, "a");
  auto* one = joined.response.add_members();
  one->set_member_id("a");
  consumer::Subscription subscription;
  subscription.topics = {"t"};
  one->set_metadata(consumer::EncodeSubscription(subscription));
  Do(joined);
  Do(TopicsFound{The<LookUpTopics>().call, {{"t", 2}}});
  const std::string kept = The<SendSync>().request.assignments(0).assignment();
  for (const int count : {2, 3}) {
    Make({Assignor::kRange}, "i1");
    joined.call = BeginJoin().call;
    joined.response.set_skip_assignment(true);
    Do(joined);
    const CallId look_up = The<LookUpTopics>().call;
    Do(CountsChanged{{{"t", count}}});
    Do(TopicsFound{look_up, {{"t", count}}});
    Do(Synced{The<SendSync>().call, absl::OkStatus(), kept});
    EXPECT_EQ(Find<Release>() != nullptr, count == 3) << count;
  }
}

TEST_F(MembershipTest, AnEagerMemberReleasesEverythingBeforeItJoinsAgain) {
  BecomeStable(Of("t", {0, 1}));
  Beat(Error(ErrorCode::kRebalanceInProgress));
  EXPECT_EQ(The<Release>().partitions, Of("t", {0, 1}));
  EXPECT_FALSE(The<Release>().lost);
  EXPECT_EQ(Find<SendJoin>(), nullptr);
  // The application takes its time: heartbeats go on, nothing else does.
  Pass(3 * kSecondUs);
  EXPECT_NE(Find<SendHeartbeat>(), nullptr);
  EXPECT_EQ(Find<Release>(), nullptr);
  Do(Released{});
  const auto join = The<SendJoin>();
  EXPECT_EQ(join.request.member_id(), "m");
  EXPECT_EQ(m_->owned(), Partitions());
  Do(JoinedAs(join.call, "m", 2));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(Of("t", {1}))});
  EXPECT_EQ(The<Assigned>().added, Of("t", {1}));
}

TEST_F(MembershipTest, ACooperativeMemberReleasesWhatItLosesAndJoinsOnceMore) {
  Make({Assignor::kCooperativeSticky});
  BecomeStable(Of("t", {0, 1}), "cooperative-sticky");
  Beat(Error(ErrorCode::kRebalanceInProgress));
  EXPECT_EQ(Find<Release>(), nullptr);
  const auto join = The<SendJoin>();
  const auto said =
      consumer::DecodeSubscription(join.request.protocols(0).metadata());
  ASSERT_TRUE(said.ok());
  EXPECT_EQ(Partitions(said->owned.begin(), said->owned.end()),
            Of("t", {0, 1}));
  EXPECT_EQ(said->generation, 1);
  Do(JoinedAs(join.call, "m", 2, "other", "cooperative-sticky"));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(Of("t", {1, 5}))});
  EXPECT_EQ(The<Assigned>().added, Of("t", {5}));
  EXPECT_EQ(The<Release>().partitions, Of("t", {0}));
  EXPECT_EQ(Find<SendJoin>(), nullptr);
  Do(Released{});
  const auto second = The<SendJoin>();
  const auto rest =
      consumer::DecodeSubscription(second.request.protocols(0).metadata());
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(Partitions(rest->owned.begin(), rest->owned.end()),
            Of("t", {1, 5}));
  EXPECT_EQ(rest->generation, 2);
}

TEST_F(MembershipTest, ACooperativeMemberReleasesATopicItReadsNoMore) {
  Make({Assignor::kCooperativeSticky});
  BecomeStable(Of("t", {0}), "cooperative-sticky");
  Do(Subscribe{{"u"}});
  EXPECT_EQ(The<Release>().partitions, Of("t", {0}));
  Do(Released{});
  EXPECT_NE(Find<SendJoin>(), nullptr);
}

TEST_F(MembershipTest, AStickyMemberSaysWhatItHadThoughItReleasedIt) {
  Make({Assignor::kSticky});
  BecomeStable(Of("t", {3}), "sticky");
  Beat(Error(ErrorCode::kRebalanceInProgress));
  Do(Released{});
  const auto join = The<SendJoin>();
  const auto said =
      consumer::DecodeSubscription(join.request.protocols(0).metadata());
  ASSERT_TRUE(said.ok());
  EXPECT_TRUE(said->owned.empty());
  const auto data = consumer::DecodeStickyUserData(said->user_data.value_or(""));
  ASSERT_TRUE(data.has_value());
  EXPECT_EQ(Partitions(data->owned.begin(), data->owned.end()), Of("t", {3}));
  EXPECT_EQ(data->generation, 1);
}

TEST_F(MembershipTest, AMemberThatIsNotKnownHasLostWhatItHad) {
  BecomeStable(Of("t", {0}));
  Beat(Error(ErrorCode::kUnknownMemberId));
  EXPECT_TRUE(The<Release>().lost);
  EXPECT_EQ(m_->member_id(), "");
  EXPECT_EQ(m_->generation(), kNoGeneration);
  Pass(3 * kSecondUs);
  EXPECT_EQ(Find<SendHeartbeat>(), nullptr);
  Do(Released{});
  EXPECT_EQ(The<SendJoin>().request.member_id(), "");
}

TEST_F(MembershipTest, AGenerationThatIsOverIsLostAndTheIdStays) {
  Make({Assignor::kCooperativeSticky});
  BecomeStable(Of("t", {0}), "cooperative-sticky");
  Beat(Error(ErrorCode::kIllegalGeneration));
  EXPECT_TRUE(The<Release>().lost);
  Do(Released{});
  EXPECT_EQ(The<SendJoin>().request.member_id(), "m");
}

TEST_F(MembershipTest, AnInstanceThatAnotherHasTakenOverIsTheEnd) {
  Make({Assignor::kRange}, "i");
  BecomeStable(Of("t", {0}));
  Beat(Error(ErrorCode::kFencedInstanceId));
  EXPECT_EQ(CodeOf(The<Failed>().status), ErrorCode::kFencedInstanceId);
  EXPECT_EQ(m_->phase(), Phase::kOver);
  EXPECT_EQ(m_->NextWakeUs(), GroupMembership::kNever);
  Pass(100 * kSecondUs);
  EXPECT_TRUE(actions_.empty());
}

TEST_F(MembershipTest, ACoordinatorThatMovedIsFoundAndTheGenerationStands) {
  BecomeStable(Of("t", {0}));
  Beat(Error(ErrorCode::kNotCoordinator));
  EXPECT_EQ(Find<FindCoordinator>(), nullptr);  // after a pause
  now_us_ = m_->NextWakeUs();
  Do(Tick{});
  const auto find = The<FindCoordinator>();
  Do(CoordinatorFound{find.call, Error(ErrorCode::kCoordinatorNotAvailable)});
  now_us_ = m_->NextWakeUs();
  Do(Tick{});
  Do(CoordinatorFound{The<FindCoordinator>().call, absl::OkStatus()});
  const auto beat = The<SendHeartbeat>();
  EXPECT_EQ(beat.request.generation_id(), 1);
  Do(HeartbeatAnswered{beat.call, absl::OkStatus()});
  EXPECT_EQ(m_->owned(), Of("t", {0}));
  EXPECT_EQ(m_->phase(), Phase::kStable);
}

TEST_F(MembershipTest, AJoinThatItsCoordinatorLeftUnansweredIsSentToTheNext) {
  const SendJoin join = BeginJoin();
  Do(Joined{join.call, absl::UnavailableError("reset"), {}});
  now_us_ = m_->NextWakeUs();
  Do(Tick{});
  Do(CoordinatorFound{The<FindCoordinator>().call, absl::OkStatus()});
  const auto again = The<SendJoin>();
  // What the first may still answer says nothing.
  Do(JoinedAs(join.call, "ghost", 9));
  EXPECT_TRUE(actions_.empty());
  EXPECT_EQ(m_->phase(), Phase::kJoining);
  Do(JoinedAs(again.call, "m", 1));
  EXPECT_EQ(m_->member_id(), "m");
}

TEST_F(MembershipTest, ACoordinatorThatLoadsIsAskedAgain) {
  const SendJoin join = BeginJoin();
  Do(Joined{join.call, Error(ErrorCode::kCoordinatorLoadInProgress), {}});
  EXPECT_TRUE(actions_.empty());
  now_us_ = m_->NextWakeUs();
  Do(Tick{});
  EXPECT_NE(Find<SendJoin>(), nullptr);
  EXPECT_EQ(Find<FindCoordinator>(), nullptr);
}

TEST_F(MembershipTest, ASyncThatTheGroupOvertookJoinsAgain) {
  const SendJoin join = BeginJoin();
  Do(JoinedAs(join.call, "m", 1));
  Do(Synced{The<SendSync>().call, Error(ErrorCode::kRebalanceInProgress), ""});
  EXPECT_EQ(The<SendJoin>().request.member_id(), "m");
}

TEST_F(MembershipTest, WhatNoRetryHelpsEndsTheMembership) {
  const SendJoin join = BeginJoin();
  Do(Joined{join.call, Error(ErrorCode::kInconsistentGroupProtocol), {}});
  EXPECT_EQ(CodeOf(The<Failed>().status),
            ErrorCode::kInconsistentGroupProtocol);
  EXPECT_EQ(m_->phase(), Phase::kOver);
}

TEST_F(MembershipTest, AnAssignmentThatCannotBeReadEndsTheMembership) {
  const SendJoin join = BeginJoin();
  Do(JoinedAs(join.call, "m", 1));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), "x"});
  EXPECT_NE(Find<Failed>(), nullptr);
}

TEST_F(MembershipTest, WhoIsNotHeardForASessionLooksForAnotherCoordinator) {
  BecomeStable(Of("t", {0}));
  Pass(3 * kSecondUs);
  const auto beat = The<SendHeartbeat>();  // and nobody answers
  Pass(3 * kSecondUs);
  EXPECT_EQ(Find<SendHeartbeat>(), nullptr);
  Pass(4 * kSecondUs);
  now_us_ = m_->NextWakeUs();
  Do(Tick{});
  Do(CoordinatorFound{The<FindCoordinator>().call, absl::OkStatus()});
  EXPECT_NE(Find<SendHeartbeat>(), nullptr);
  // The late answer is not that of the newer one.
  Do(HeartbeatAnswered{beat.call, Error(ErrorCode::kUnknownMemberId)});
  EXPECT_EQ(m_->phase(), Phase::kStable);
}

TEST_F(MembershipTest, WhoDoesNotPollLeavesAndComesBackWhenItPolls) {
  BecomeStable(Of("t", {0}));
  Do(PollEnded{});
  for (int i = 0; i < 19; ++i) Beat(absl::OkStatus());
  EXPECT_EQ(m_->phase(), Phase::kStable);
  Pass(3 * kSecondUs);
  const auto leave = The<SendLeave>();
  EXPECT_EQ(leave.request.members(0).member_id(), "m");
  EXPECT_TRUE(The<Release>().lost);
  EXPECT_EQ(m_->NextWakeUs(), GroupMembership::kNever);
  Do(PollBegan{});
  EXPECT_EQ(Find<SendJoin>(), nullptr);
  Do(Released{});
  EXPECT_EQ(The<SendJoin>().request.member_id(), "");
}

TEST_F(MembershipTest, APollThatLastsIsNoStuckMember) {
  BecomeStable(Of("t", {0}));  // in a poll
  for (int i = 0; i < 40; ++i) Beat(absl::OkStatus());
  EXPECT_EQ(m_->phase(), Phase::kStable);
}

TEST_F(MembershipTest, AStaticMemberThatDoesNotPollKeepsItsPlace) {
  Make({Assignor::kRange}, "i");
  BecomeStable(Of("t", {0}));
  Do(PollEnded{});
  Pass(60 * kSecondUs);
  EXPECT_EQ(Find<SendLeave>(), nullptr);
  EXPECT_EQ(Find<SendHeartbeat>(), nullptr);
  EXPECT_EQ(m_->member_id(), "m");
}

TEST_F(MembershipTest, LeavingSaysSoAndStaticMembersDoNot) {
  BecomeStable(Of("t", {0}));
  Do(Leave{});
  const auto leave = The<SendLeave>();
  EXPECT_EQ(leave.request.members(0).member_id(), "m");
  EXPECT_EQ(Find<Left>(), nullptr);
  Do(LeaveAnswered{leave.call});
  EXPECT_NE(Find<Left>(), nullptr);
  Make({Assignor::kRange}, "i");
  now_us_ += kSecondUs;
  BecomeStable(Of("t", {0}));
  Do(Leave{});
  EXPECT_EQ(Find<SendLeave>(), nullptr);
  EXPECT_NE(Find<Left>(), nullptr);
}

TEST_F(MembershipTest, ACommitThatWasRefusedTellsOfTheGroup) {
  BecomeStable(Of("t", {0}));
  Do(OffsetsAnswered{"m", 0, Error(ErrorCode::kIllegalGeneration)});
  EXPECT_TRUE(actions_.empty());  // of an older one
  Do(OffsetsAnswered{"m", 1, Error(ErrorCode::kOffsetMetadataTooLarge)});
  EXPECT_TRUE(actions_.empty());  // not about the member
  Do(OffsetsAnswered{"m", 1, Error(ErrorCode::kRebalanceInProgress)});
  EXPECT_FALSE(The<Release>().lost);
  Do(Released{});
  const auto join = The<SendJoin>();
  Do(JoinedAs(join.call, "m", 2));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(Of("t", {0}))});
  Do(OffsetsAnswered{"m", 2, Error(ErrorCode::kUnknownMemberId)});
  EXPECT_TRUE(The<Release>().lost);
}

// The coordinator answers a join when the new generation is in its log; commits
// of the older one are refused before that. Nothing is lost by it.
TEST_F(MembershipTest, ACommitThatHearsOfTheGenerationBeforeTheJoinLosesNothing) {
  Make({Assignor::kCooperativeSticky});
  BecomeStable(Of("t", {0, 1}), "cooperative-sticky");
  Beat(Error(ErrorCode::kRebalanceInProgress));
  const auto join = The<SendJoin>();
  Do(OffsetsAnswered{"m", 1, Error(ErrorCode::kIllegalGeneration)});
  EXPECT_TRUE(actions_.empty());
  EXPECT_EQ(m_->owned(), Of("t", {0, 1}));
  EXPECT_EQ(m_->phase(), Phase::kJoining);
  Do(JoinedAs(join.call, "m", 2, "other", "cooperative-sticky"));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(Of("t", {0, 1}))});
  EXPECT_EQ(Find<Release>(), nullptr);
  EXPECT_TRUE(The<Assigned>().added.empty());
  // Stable, it is the end of what is owned.
  Do(OffsetsAnswered{"m", 2, Error(ErrorCode::kIllegalGeneration)});
  EXPECT_TRUE(The<Release>().lost);
}

// Whom the group does not know has lost it all, whatever it waits for.
TEST_F(MembershipTest, AJoiningMemberThatIsNotKnownHasLostWhatItHad) {
  Make({Assignor::kCooperativeSticky});
  BecomeStable(Of("t", {0}), "cooperative-sticky");
  Beat(Error(ErrorCode::kRebalanceInProgress));
  ASSERT_EQ(m_->phase(), Phase::kJoining);
  Do(OffsetsAnswered{"m", 1, Error(ErrorCode::kUnknownMemberId)});
  EXPECT_TRUE(The<Release>().lost);
  EXPECT_EQ(m_->member_id(), "");
}

}  // namespace
}  // namespace sluice
