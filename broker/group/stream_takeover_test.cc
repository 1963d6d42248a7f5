// A member whose stream of Consume is followed by a newer one.
#include <gtest/gtest.h>

#include "broker/group/group_testing.h"

namespace sluice::group {
namespace {

const ErrorCode kOk = ErrorCode::kNone;
const ErrorCode kTakenOver = ErrorCode::kTakenOver;

class StreamTakeoverTest : public testing::Test {
 protected:
  const JoinSpec kOld = {.stream = "old"};

  // Two stable members; the first by the stream "old", with assignment "x".
  // It leads.
  void MakeStable() {
    member_ = group_.Admit(kOld);
    other_ = group_.Admit({});
    group_.Advance(6 * kSecondUs);
    group_.Sync(other_, Generation(1));
    group_.Sync(member_, Generation(1), {{member_, "x"}, {other_, "y"}}, "",
                "old");
    ASSERT_EQ(group_.core().state(), GroupState::kStable);
    ASSERT_EQ(group_.core().leader(), member_);
  }
  JoinSpec Newer(const std::string& stream = "new",
                 const std::string& resumes = "old") {
    JoinSpec spec = Again(member_);
    spec.stream = stream;
    spec.resumes = resumes;
    // Its subscription does not say what it owned.
    spec.protocols = {{"range", "another subscription"}};
    return spec;
  }

  GroupTester group_;
  MemberId member_, other_;
};

TEST_F(StreamTakeoverTest, TheNewerStreamGoesOnWithoutARebalance) {
  MakeStable();
  const AnswerJoin answer = *group_.JoinAnswer(group_.Join(Newer()));
  EXPECT_EQ(answer.code, kOk);
  EXPECT_EQ(answer.member, member_);
  EXPECT_EQ(answer.generation, Generation(1));
  EXPECT_TRUE(answer.skip_assignment);  // it leads
  EXPECT_EQ(answer.members.size(), 2u);
  EXPECT_EQ(group_.rebalances(), 1);
  EXPECT_EQ(group_.SyncAnswer(
                      group_.Sync(member_, Generation(1), {}, "", "new"))
                ->assignment,
            "x");
  EXPECT_EQ(group_.HeartbeatCode(
                group_.Heartbeat(member_, Generation(1), "", "new")),
            kOk);
  EXPECT_EQ(CommitCode(group_, member_, Generation(1), "", "new"), kOk);
  EXPECT_EQ(group_.HeartbeatCode(group_.Heartbeat(other_, Generation(1))), kOk);
}

// What the older stream said it owned when this generation was made tells the
// newer one what is to be given back (GR6), also the one after that.
TEST_F(StreamTakeoverTest, TheNewerStreamHearsWhatTheMemberJoinedWith) {
  member_ = group_.Admit({});  // leads
  JoinSpec old = kOld;
  old.protocols = {{"range", "owns 3"}};
  other_ = group_.Admit(old);
  group_.Advance(6 * kSecondUs);
  group_.Sync(other_, Generation(1), {}, "", "old");
  group_.Sync(member_, Generation(1), {{member_, "x"}, {other_, "y"}});
  ASSERT_EQ(group_.core().state(), GroupState::kStable);
  for (const auto& [stream, resumes] :
       {std::pair("new", "old"), std::pair("newest", "new")}) {
    JoinSpec join = Again(other_);
    join.stream = stream;
    join.resumes = resumes;
    join.protocols = {{"range", "owns nothing"}};
    const AnswerJoin answer = *group_.JoinAnswer(group_.Join(join));
    ASSERT_EQ(answer.code, kOk);
    ASSERT_EQ(answer.members.size(), 1u);
    EXPECT_EQ(answer.members[0].id, other_);
    EXPECT_EQ(answer.members[0].metadata, "owns 3");
    EXPECT_FALSE(answer.skip_assignment);
  }
}

TEST_F(StreamTakeoverTest, GR5TheOlderStreamIsNotHeardAnyMore) {
  MakeStable();
  group_.Join(Newer());
  EXPECT_EQ(group_.HeartbeatCode(
                group_.Heartbeat(member_, Generation(1), "", "old")),
            kTakenOver);
  EXPECT_EQ(group_.SyncAnswer(
                      group_.Sync(member_, Generation(1), {}, "", "old"))
                ->code,
            kTakenOver);
  EXPECT_EQ(CommitCode(group_, member_, Generation(1), "", "old"), kTakenOver);
  EXPECT_EQ(CommitCode(group_, member_, Generation(1)), kTakenOver);
  JoinSpec join = Again(member_);
  join.stream = "old";
  EXPECT_EQ(group_.JoinAnswer(group_.Join(join))->code, kTakenOver);
  // Its leaving is not the member's.
  LeavingMember leaving{member_};
  leaving.stream = StreamSecret("old");
  EXPECT_EQ(group_.LeaveAnswer(group_.Leave({leaving})).members.at(0).code,
            kTakenOver);
  EXPECT_TRUE(group_.core().HasMember(member_));
  // An operator's is.
  EXPECT_EQ(group_.LeaveAnswer(group_.Leave({{member_}})).members.at(0).code,
            kOk);
}

TEST_F(StreamTakeoverTest, WhoDoesNotKnowTheStreamTakesNothingOver) {
  MakeStable();
  EXPECT_EQ(group_.JoinAnswer(group_.Join(Newer("new", "guessed")))->code,
            kTakenOver);
  EXPECT_EQ(group_.JoinAnswer(group_.Join(Newer("new", "")))->code, kTakenOver);
  EXPECT_EQ(CommitCode(group_, member_, Generation(1), "", "old"), kOk);
  // Nor by the token of a stream that was followed already.
  group_.Join(Newer("new", "old"));
  EXPECT_EQ(group_.JoinAnswer(group_.Join(Newer("newest", "old")))->code,
            kTakenOver);
  EXPECT_EQ(group_.JoinAnswer(group_.Join(Newer("newest", "new")))->code, kOk);
}

// Whose answer was lost asks again.
TEST_F(StreamTakeoverTest, ATakeoverMayBeAskedForTwice) {
  MakeStable();
  group_.Join(Newer());
  const AnswerJoin again = *group_.JoinAnswer(group_.Join(Newer()));
  EXPECT_EQ(again.code, kOk);
  EXPECT_EQ(again.generation, Generation(1));
  EXPECT_EQ(group_.rebalances(), 1);
}

TEST_F(StreamTakeoverTest, GR5AFailOverKnowsTheNewerStream) {
  MakeStable();
  group_.Join(Newer());
  group_.FailOver();
  EXPECT_EQ(CommitCode(group_, member_, Generation(1), "", "old"), kTakenOver);
  EXPECT_EQ(CommitCode(group_, member_, Generation(1), "", "new"), kOk);
}

// The stream is in the log before its client hears of it.
TEST_F(StreamTakeoverTest, GR5ATakeoverThatWasLostWasNeverTold) {
  MakeStable();
  group_.HoldWrites();
  const RequestId request = group_.Join(Newer());
  EXPECT_FALSE(group_.JoinAnswer(request).has_value());
  group_.FailOver();
  EXPECT_FALSE(group_.JoinAnswer(request).has_value());
  EXPECT_EQ(CommitCode(group_, member_, Generation(1), "", "old"), kOk);
}

TEST_F(StreamTakeoverTest, ItMayComeWhileTheGroupRebalances) {
  MakeStable();
  JoinSpec old_again = Again(member_);
  old_again.stream = "old";
  const RequestId parked = group_.Join(old_again);  // the leader: a new phase
  ASSERT_EQ(group_.core().state(), GroupState::kPreparing);
  const RequestId newer = group_.Join(Newer());
  EXPECT_EQ(group_.JoinAnswer(parked)->code, kTakenOver);
  EXPECT_FALSE(group_.JoinAnswer(newer).has_value());
  group_.Join(Again(other_));
  ASSERT_EQ(group_.core().state(), GroupState::kCompleting);
  EXPECT_EQ(group_.JoinAnswer(newer)->generation, Generation(2));

  // And again, before the assignments are there.
  const RequestId waits = group_.Sync(other_, Generation(2));
  const AnswerJoin newest =
      *group_.JoinAnswer(group_.Join(Newer("newest", "new")));
  EXPECT_EQ(newest.generation, Generation(2));
  EXPECT_FALSE(newest.skip_assignment);
  EXPECT_FALSE(group_.SyncAnswer(waits).has_value());
  group_.Sync(member_, Generation(2), {{other_, "z"}}, "", "newest");
  EXPECT_EQ(group_.SyncAnswer(waits)->assignment, "z");
  EXPECT_EQ(group_.rebalances(), 2);
}

TEST_F(StreamTakeoverTest, AMemberThatIsGoneIsTakenOverByNobody) {
  MakeStable();
  group_.Leave({{member_}});
  EXPECT_EQ(group_.JoinAnswer(group_.Join(Newer()))->code,
            ErrorCode::kUnknownMemberId);
}

}  // namespace
}  // namespace sluice::group
