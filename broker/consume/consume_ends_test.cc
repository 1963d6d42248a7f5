// The table of docs/consume.md from row 10 on, auto mode, and reading.
#include <gtest/gtest.h>

#include "broker/consume/consume_core.h"
#include "broker/consume/consume_testing.h"

namespace sluice::consume {
namespace {

using Results = std::vector<std::pair<int64_t, ErrorCode>>;

// ---- 10, 11: the client ends ----

TEST_F(ConsumeTest, Row10AHalfCloseLeavesAtOnce) {
  BeReading({0});
  Do(HalfClosed{});
  const auto leave = The<SendLeave>();
  EXPECT_EQ(leave.request.members(0).member_id(), "m");
  EXPECT_EQ(leave.request.members(0).stream(), "secret-of-this-st");
  Do(LeaveAnswered{leave.call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kNone);
}

TEST_F(ConsumeTest, Row10WhatWasAcknowledgedIsCommittedFirst) {
  BeReading({0});
  Records(0, 10);
  Ack(0, 10);
  Do(HalfClosed{});
  EXPECT_FALSE(Has<SendLeave>());
  AnswerCommit();
  EXPECT_EQ(TheResults(), (Results{{10, ErrorCode::kNone}}));
  EXPECT_TRUE(Has<SendLeave>());
}

TEST_F(ConsumeTest, Row10ACoordinatorThatDoesNotAnswerHoldsNobody) {
  BeReading({0});
  Records(0, 10);
  Ack(0, 10);
  Do(HalfClosed{});
  PassBeating(ConsumeCore::kLastCommitUs);
  EXPECT_TRUE(Has<SendLeave>());
}

TEST_F(ConsumeTest, Row10BeforeAnythingItIsJustOver) {
  Do(HalfClosed{});
  EXPECT_EQ(HowItEnded(), ErrorCode::kNone);
}

TEST_F(ConsumeTest, Row11ABrokenStreamLeavesNobodysGroup) {
  BeReading({0});
  Records(0, 10);
  Ack(0, 5);
  AnswerCommit();
  Ack(0, 10);
  actions_.clear();
  Do(Broken{});
  EXPECT_FALSE(Has<SendLeave>());
  EXPECT_TRUE(over_);
}

TEST_F(ConsumeTest, Row11ATokenGoesOnWithoutARebalance) {
  BeReading({0});
  BeginRebalance();
  AnswerJoin(The<SendJoin>(), 2);
  AnswerSync(Of("t", {0}));
  const std::string token = TheAssigned().resume_token();
  Do(Broken{});

  Connect("secret-of-another");
  auto open = OpenMessage();
  open.mutable_open()->set_resume_token(token);
  const SendJoin join = Open(open);
  EXPECT_EQ(join.request.member_id(), "m");
  EXPECT_EQ(join.request.stream(), "secret-of-another");
  EXPECT_EQ(join.request.resumes_stream(), "secret-of-this-st");
  AnswerJoin(join, 2);
  AnswerSync(Of("t", {0}));
  AnswerFetch({{0, 7}});
  EXPECT_EQ(std::get<Offset>(The<StartReading>().start), Offset(7));
  EXPECT_NE(TheAssigned().resume_token(), token);
  Pass(kSecondUs);
  EXPECT_FALSE(Has<SendJoin>());
}

TEST_F(ConsumeTest, Row11OtherTopicsMakeAResumedMemberJoinAnew) {
  AnswerJoin(Open(), 1);
  AnswerSync(Of("t", {0}));
  const std::string token = TheAssigned().resume_token();
  Connect("secret-of-another");
  auto open = OpenMessage();
  open.mutable_open()->set_resume_token(token);
  open.mutable_open()->add_topics("u");
  Say(open);
  Do(TopicsFound{The<LookUpTopics>().call, {{"t", 4}, {"u", 1}}});
  AnswerJoin(The<SendJoin>(), 1);
  AnswerSync(Of("t", {0}));
  EXPECT_EQ(The<SendJoin>().request.resumes_stream(), "");
}

// The session was over: a new member.
TEST_F(ConsumeTest, Row11AMemberThatIsGoneIsANewOne) {
  AnswerJoin(Open(), 1);
  AnswerSync(Of("t", {0}));
  const std::string token = TheAssigned().resume_token();
  Connect("secret-of-another");
  auto open = OpenMessage();
  open.mutable_open()->set_resume_token(token);
  FailJoin(Open(open), ErrorCode::kUnknownMemberId);
  Pass(kSecondUs);
  const auto join = The<SendJoin>();
  EXPECT_EQ(join.request.member_id(), "");
  EXPECT_EQ(join.request.resumes_stream(), "");
}

// ---- 12: taken over ----

TEST_F(ConsumeTest, Row12TheOlderStreamIsClosedByName) {
  BeReading({0});
  BeginRebalance(ErrorCode::kTakenOver);
  EXPECT_EQ(HowItEnded(), ErrorCode::kTakenOver);
  EXPECT_FALSE(Has<SendLeave>());

  Connect();
  BeReading({0});
  Records(0, 10);
  Ack(0, 10);
  AnswerCommit(ErrorCode::kTakenOver);
  EXPECT_EQ(TheResults(), (Results{{10, ErrorCode::kTakenOver}}));
  EXPECT_EQ(HowItEnded(), ErrorCode::kTakenOver);

  Connect();
  BeReading({0});
  Do(TakenOver{});
  EXPECT_EQ(HowItEnded(), ErrorCode::kTakenOver);
}

// ---- 13: stalled ----

TEST_F(ConsumeTest, Row13WhoAcknowledgesNothingLeaves) {
  BeReading({0});
  Records(0, 10);
  PassBeating(59 * kSecondUs);
  Ack(0, 5);  // it gets on
  AnswerCommit();
  PassBeating(59 * kSecondUs);
  EXPECT_FALSE(Has<SendLeave>());
  PassBeating(kSecondUs);
  const auto leave = The<SendLeave>();
  EXPECT_NE(leave.request.members(0).reason(), "");
  Ack(0, 10);  // too late
  EXPECT_FALSE(Has<SendCommit>());
  Do(LeaveAnswered{leave.call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kConsumerStalled);
}

TEST_F(ConsumeTest, Row13WhoHasNothingToAcknowledgeMayBeSilent) {
  BeReading({0});
  Records(0, 10);
  Ack(0, 10);
  AnswerCommit();
  PassBeating(300 * kSecondUs);
  EXPECT_FALSE(Has<SendLeave>());
  EXPECT_FALSE(over_);
}

// ---- 14: the broker stops ----

TEST_F(ConsumeTest, Row14WhatWasPushedMayBeAcknowledgedBeforeTheMove) {
  BeReading({0});
  Records(0, 10);
  actions_.clear();
  v1::Endpoint elsewhere;
  elsewhere.set_host("b2");
  Do(BrokerStops{elsewhere, kSecondUs});
  EXPECT_EQ(The<StopReading>().tp.partition, PartitionIndex(0));
  EXPECT_FALSE(over_);
  Ack(0, 10);
  EXPECT_FALSE(over_);
  AnswerCommit();
  const auto moved = TakePush(v1::ConsumeResponse::kMoved);
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved->moved().endpoint().host(), "b2");
  EXPECT_EQ(HowItEnded(), ErrorCode::kShuttingDown);
  EXPECT_FALSE(Has<SendLeave>());
}

TEST_F(ConsumeTest, Row14NobodyIsWaitedForLongerThanTheBrokerIsThere) {
  BeReading({0});
  Records(0, 10);
  Do(BrokerStops{std::nullopt, kSecondUs});
  Do(BrokerStops{std::nullopt, kSecondUs / 10});
  Pass(kSecondUs / 10);
  EXPECT_EQ(HowItEnded(), ErrorCode::kShuttingDown);
}

// ---- Auto mode ----

TEST_F(ConsumeTest, AGrantCommitsTheOldestAndTheHalfCloseToo) {
  auto open = OpenMessage();
  open.mutable_open()->set_ack_mode(v1::ConsumeOpen::ACK_MODE_AUTO);
  BeReading({0, 1}, open);
  Records(0, 10, 100);
  Records(1, 5, 100);
  Records(0, 20, 100);
  EXPECT_FALSE(Has<SendCommit>());
  Grant(100);
  const auto commit = Take<SendCommit>();
  ASSERT_TRUE(commit.has_value());
  ASSERT_EQ(commit->request.offsets_size(), 1);
  EXPECT_EQ(commit->request.offsets(0).offset(), 10);
  v1::CommitOffsetsResponse response;
  response.add_results();
  Do(CommitAnswered{commit->call, response});
  // Not once for each grant.
  Grant(100);
  EXPECT_FALSE(Has<SendCommit>());
  Do(HalfClosed{});
  EXPECT_FALSE(Has<SendLeave>());
  AnswerCommit();
  EXPECT_EQ(TheResults(),
            (Results{{10, ErrorCode::kNone}, {5, ErrorCode::kNone}}));
  EXPECT_TRUE(Has<SendLeave>());
}

TEST_F(ConsumeTest, AnAckInAutoModeIsRefused) {
  auto open = OpenMessage();
  open.mutable_open()->set_ack_mode(v1::ConsumeOpen::ACK_MODE_AUTO);
  BeReading({0}, open);
  Records(0, 10);
  Ack(0, 10);
  Do(LeaveAnswered{The<SendLeave>().call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kInvalidRequest);
}

// ---- Reading ----

TEST_F(ConsumeTest, AFailedReadIsMadeAgainFromWhereItStood) {
  BeReading({0});
  Records(0, 10);
  actions_.clear();
  const NamedPartition tp{"t", PartitionIndex(0)};
  Do(ReadingEnded{tp, MakeError(ErrorCode::kNotLeader, "moved")});
  EXPECT_FALSE(Has<StartReading>());
  Pass(ConsumeCore::kReadAgainMinUs);
  EXPECT_EQ(std::get<Offset>(The<StartReading>().start), Offset(10));
  // Again: more slowly.
  Do(ReadingEnded{tp, MakeError(ErrorCode::kNotLeader, "moved")});
  Pass(ConsumeCore::kReadAgainMinUs);
  EXPECT_FALSE(Has<StartReading>());
  Pass(ConsumeCore::kReadAgainMinUs);
  EXPECT_TRUE(Has<StartReading>());
}

// Its client would wait, and not know that nobody reads for it.
TEST_F(ConsumeTest, WhereNobodyHasRoomToReadTheStreamEnds) {
  BeReading({0});
  const NamedPartition tp{"t", PartitionIndex(0)};
  const auto busy = [&] {
    Do(ReadingEnded{tp, MakeError(ErrorCode::kBusy, "no memory is left")});
  };
  busy();
  for (int i = 0; i < 8; ++i) {
    PassBeating(ConsumeCore::kReadAgainMaxUs);
    busy();
  }
  EXPECT_FALSE(Has<SendLeave>()) << "it may have room again";
  PassBeating(ConsumeCore::kReadAgainMaxUs);
  Records(0, 10);  // and has
  for (int i = 0; i < 9; ++i) {
    PassBeating(ConsumeCore::kReadAgainMaxUs);
    busy();
  }
  EXPECT_FALSE(Has<SendLeave>());
  for (int i = 0; i < 3 && !Has<SendLeave>(); ++i) {
    PassBeating(ConsumeCore::kReadAgainMaxUs);
    busy();
  }
  Do(LeaveAnswered{The<SendLeave>().call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kBusy);
}

TEST_F(ConsumeTest, WhatTheLogDoesNotHoldIsReadByTheReset) {
  BeReading({0});
  Records(0, 10);
  Ack(0, 10);
  AnswerCommit();
  actions_.clear();
  Do(ReadingEnded{{"t", PartitionIndex(0)},
                  MakeError(ErrorCode::kOffsetOutOfRange, "cut")});
  EXPECT_EQ(std::get<Edge>(The<StartReading>().start), Edge::kEarliest);
  // What comes now may lie below what was acknowledged.
  Records(0, 4);
  Ack(0, 4);
  EXPECT_EQ(The<SendCommit>().request.offsets(0).offset(), 4);

  Connect();
  auto open = OpenMessage();
  open.mutable_open()->set_reset(v1::ConsumeOpen::RESET_NONE);
  BeReading({0}, open);
  Do(ReadingEnded{{"t", PartitionIndex(0)},
                  MakeError(ErrorCode::kOffsetOutOfRange, "cut")});
  Do(LeaveAnswered{The<SendLeave>().call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kOffsetOutOfRange);
}

TEST_F(ConsumeTest, StartBySeekWaitsForTheClient) {
  auto open = OpenMessage();
  open.mutable_open()->set_start_by_seek(true);
  AnswerJoin(Open(open), 1);
  AnswerSync(Of("t", {0, 1}));
  EXPECT_FALSE(Has<SendFetchOffsets>());
  v1::ConsumeRequest seek;
  auto* position = seek.mutable_seek()->add_positions();
  position->mutable_topic()->set_name("t");
  position->set_offset(42);
  position = seek.mutable_seek()->add_positions();
  position->mutable_topic()->set_name("t");
  position->set_partition(1);
  position->set_offset(-1);
  position = seek.mutable_seek()->add_positions();
  position->mutable_topic()->set_name("t");
  position->set_partition(3);  // revoked on its way
  Say(seek);
  EXPECT_EQ(std::get<Offset>(The<StartReading>().start), Offset(42));
  Ack(0, 42);  // what the client stored is what the group has done
  AnswerCommit();
  const auto results = TheResults();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].first, 42);
  EXPECT_EQ(results[0].second, ErrorCode::kNone);
  AnswerFetch({{1, 6}});
  EXPECT_EQ(std::get<Offset>(The<StartReading>().start), Offset(6));
  Say(seek);  // once
  Do(LeaveAnswered{The<SendLeave>().call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice::consume
