// The table of docs/consume.md up to row 9, event by event.
#include "broker/consume/consume_core.h"

#include <gtest/gtest.h>

#include "broker/consume/consume_testing.h"

namespace sluice::consume {
namespace {

using Results = std::vector<std::pair<int64_t, ErrorCode>>;

// ---- 1: Opening ----

TEST_F(ConsumeTest, Row1TheFirstMessageOpens) {
  Grant(10);
  EXPECT_EQ(HowItEnded(), ErrorCode::kInvalidRequest);
  EXPECT_FALSE(Has<SendJoin>());

  Connect();
  v1::ConsumeRequest nonsense;
  nonsense.mutable_open()->set_group_id("g");
  Say(nonsense);
  EXPECT_EQ(HowItEnded(), ErrorCode::kInvalidRequest);

  Connect();
  Open();
  Say(OpenMessage());
  EXPECT_EQ(HowItEnded(), ErrorCode::kInvalidRequest);
}

TEST_F(ConsumeTest, Row1NothingForTenSecondsIsTooLong) {
  Pass(ConsumeCore::kOpenWithinUs - 1);
  EXPECT_FALSE(over_);
  Pass(1);
  EXPECT_EQ(HowItEnded(), ErrorCode::kInvalidRequest);
  EXPECT_FALSE(Has<SendJoin>());
}

// ---- 2, 3: Joining ----

TEST_F(ConsumeTest, Row2OneMemberNotTwo) {
  const SendJoin first = Open();
  EXPECT_EQ(first.request.member_id(), "");
  EXPECT_EQ(first.request.stream(), "secret-of-this-st");
  EXPECT_EQ(first.request.rebalance_timeout_ms(), 30'000);
  Joined joined{first.call, MakeError(ErrorCode::kMemberIdRequired, "again"),
                {}};
  joined.response.set_member_id("m");
  Do(joined);
  EXPECT_EQ(The<SendJoin>().request.member_id(), "m");
  EXPECT_FALSE(Has<SendJoin>());
}

TEST_F(ConsumeTest, Row3ARefusalClosesTheStreamByItsName) {
  for (const ErrorCode code :
       {ErrorCode::kGroupMaxSizeReached, ErrorCode::kInconsistentGroupProtocol,
        ErrorCode::kInvalidSessionTimeout, ErrorCode::kInvalidGroupId}) {
    Connect();
    FailJoin(Open(), code);
    EXPECT_EQ(HowItEnded(), code);
  }
}

TEST_F(ConsumeTest, Row3AnUnknownTopicIsLookedForAndThenRefused) {
  Say(OpenMessage());
  Do(TopicsFound{The<LookUpTopics>().call, {}});
  EXPECT_FALSE(over_);
  Pass(ConsumeCore::kAskAgainUs);
  Do(TopicsFound{The<LookUpTopics>().call, {}});
  now_us_ += ConsumeCore::kTopicPatienceUs;
  Do(Tick{});
  Do(TopicsFound{The<LookUpTopics>().call, {}});
  EXPECT_EQ(HowItEnded(), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_FALSE(Has<SendJoin>());
}

// ---- 4: the coordinator moves ----

TEST_F(ConsumeTest, Row4TheSameMemberGoesOnWhenTheCoordinatorMoves) {
  const SendJoin first = Open();
  FailJoin(first, ErrorCode::kNotCoordinator);
  Pass(kSecondUs);
  const auto again = The<SendJoin>();
  AnswerJoin(again, 1);
  Do(Synced{The<SendSync>().call,
            MakeError(ErrorCode::kCoordinatorNotAvailable, "moves"), ""});
  Pass(kSecondUs);
  const auto third = The<SendJoin>();
  EXPECT_EQ(third.request.member_id(), "m");
  AnswerJoin(third, 1);
  AnswerSync(Of("t", {0}));
  AnswerFetch({{0, 5}});
  EXPECT_EQ(std::get<Offset>(The<StartReading>().start), Offset(5));
  // And while it reads: nothing is stopped, no join.
  BeginRebalance(ErrorCode::kNotCoordinator);
  Pass(kSecondUs);
  Do(HeartbeatAnswered{The<SendHeartbeat>().call, absl::OkStatus()});
  EXPECT_FALSE(Has<SendJoin>());
  EXPECT_FALSE(Has<StopReading>());
}

TEST_F(ConsumeTest, Row4ACommitIsMadeAgainAtTheNextCoordinator) {
  BeReading({0});
  Records(0, 10);
  Ack(0, 10);
  AnswerCommit(ErrorCode::kNotCoordinator);
  EXPECT_EQ(TheResults(), Results());
  Ack(0, 9);  // refused at once; the other stands
  Pass(2 * kSecondUs);
  AnswerCommit();
  EXPECT_EQ(TheResults(), (Results{{9, ErrorCode::kInvalidCommitOffset},
                                   {10, ErrorCode::kNone}}));
}

// ---- 5: Syncing ----

TEST_F(ConsumeTest, Row5AGenerationThatIsOverIsJoinedAnew) {
  for (const ErrorCode code :
       {ErrorCode::kRebalanceInProgress, ErrorCode::kIllegalGeneration,
        ErrorCode::kUnknownMemberId}) {
    Connect();
    AnswerJoin(Open(), 1);
    Do(Synced{The<SendSync>().call, MakeError(code, "as the test wants"), ""});
    Pass(kSecondUs);
    EXPECT_EQ(The<SendJoin>().request.member_id(),
              code == ErrorCode::kUnknownMemberId ? "" : "m");
    EXPECT_FALSE(over_);
  }
}

TEST_F(ConsumeTest, Row5TheLeaderAssigns) {
  const SendJoin join = Open();
  Joined joined{join.call, absl::OkStatus(), {}};
  joined.response.set_member_id("m");
  joined.response.set_generation_id(1);
  joined.response.set_leader_id("m");
  joined.response.set_protocol_name("cooperative-sticky");
  auto* member = joined.response.add_members();
  member->set_member_id("m");
  member->set_metadata(join.request.protocols(0).metadata());
  Do(joined);
  Do(TopicsFound{The<LookUpTopics>().call, {{"t", 2}}});
  const auto sync = The<SendSync>();
  ASSERT_EQ(sync.request.assignments_size(), 1);
  EXPECT_EQ(sync.request.stream(), "secret-of-this-st");
  const auto given =
      consumer::DecodeAssignment(sync.request.assignments(0).assignment());
  ASSERT_TRUE(given.ok());
  EXPECT_EQ(given->partitions.size(), 2u);
}

// ---- 6: acknowledgements ----

TEST_F(ConsumeTest, Row6AcksAreRefusedByPartitionAndTheStreamGoesOn) {
  BeReading({0, 1});
  Records(0, 10);
  Ack(0, 11);  // beyond what was pushed
  Ack(2, 1);   // not assigned
  Ack(0, 6);
  Ack(0, 6);  // twice
  Ack(0, 4);  // out of order
  EXPECT_EQ(TheResults(), (Results{{11, ErrorCode::kInvalidCommitOffset},
                                   {1, ErrorCode::kInvalidRequest},
                                   {6, ErrorCode::kInvalidCommitOffset},
                                   {4, ErrorCode::kInvalidCommitOffset}}));
  const auto commit = The<SendCommit>();
  EXPECT_EQ(commit.request.member_id(), "m");
  EXPECT_EQ(commit.request.generation_id(), 1);
  EXPECT_EQ(commit.request.stream(), "secret-of-this-st");
  ASSERT_EQ(commit.request.offsets_size(), 1);
  EXPECT_EQ(commit.request.offsets(0).offset(), 6);
  EXPECT_FALSE(over_);
}

// An id that its driver has no name for is another topic's than what was pushed.
TEST_F(ConsumeTest, Row6AnAckByIdCountsForThatTopicAlone) {
  BeReading({0});
  Records(0, 10);
  const TopicId read(Uuid(1, 2));
  const TopicNames names = {{{read, PartitionIndex(0)}, "t"}};
  const auto ack = [&](const std::string& id, int partition, int64_t offset) {
    v1::ConsumeRequest message;
    PutOffset(message.mutable_ack()->add_offsets(), partition, offset);
    message.mutable_ack()->mutable_offsets(0)->mutable_topic()->set_id(id);
    Do(ClientSaid{message, names});
  };
  const std::string another = TopicId(Uuid(1, 3)).ToBytes();
  ack(another, 0, 6);
  ack(read.ToBytes(), 1, 6);
  ack("short", 0, 6);
  EXPECT_FALSE(Has<SendCommit>());
  const auto refused = TakePush(v1::ConsumeResponse::kCommitted);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->committed().results(0).topic().id(), another);
  EXPECT_EQ(TheResults(), (Results{{6, ErrorCode::kUnknownTopicId},
                                   {6, ErrorCode::kUnknownTopicId}}));
  ack(read.ToBytes(), 0, 6);
  AnswerCommit();
  const auto taken = TakePush(v1::ConsumeResponse::kCommitted);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->committed().results(0).topic().id(), read.ToBytes());
  EXPECT_FALSE(taken->committed().results(0).has_error());
  Ack(0, 8);
  AnswerCommit();
  const auto by_name = TakePush(v1::ConsumeResponse::kCommitted);
  ASSERT_TRUE(by_name.has_value());
  EXPECT_EQ(by_name->committed().results(0).topic().name(), "t");
}

TEST_F(ConsumeTest, Row6OneCommitAtATime) {
  BeReading({0, 1});
  Records(0, 10);
  Records(1, 3);
  Ack(0, 2);
  Ack(0, 8);
  Ack(1, 3);
  const auto first = The<SendCommit>();
  EXPECT_FALSE(Has<SendCommit>());
  v1::CommitOffsetsResponse response;
  response.add_results();
  Do(CommitAnswered{first.call, response});
  EXPECT_EQ(TheResults(), (Results{{2, ErrorCode::kNone}}));
  EXPECT_TRUE(Has<SendCommit>());
  AnswerCommit();
  EXPECT_EQ(TheResults(),
            (Results{{8, ErrorCode::kNone}, {3, ErrorCode::kNone}}));
}

TEST_F(ConsumeTest, Row6NonsenseEndsTheStreamAndTheMembership) {
  BeReading({0});
  v1::ConsumeRequest negative;
  negative.set_credit_bytes(-1);
  Say(negative);
  Do(LeaveAnswered{The<SendLeave>().call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kInvalidRequest);
}

// ---- 7, 8, 9: Revoking ----

TEST_F(ConsumeTest, Row7RevokeArrivesWithoutCredit) {
  auto open = OpenMessage();
  open.mutable_open()->add_assignors("range");
  open.set_credit_bytes(0);
  BeReading({0, 1}, open);
  BeginRebalance();
  const v1::ConsumeRevoke revoke = TheRevoke();
  EXPECT_EQ(revoke.partitions_size(), 2);
  EXPECT_EQ(revoke.timeout_ms(), 24'000);
  EXPECT_FALSE(revoke.lost());
  EXPECT_EQ(The<StopReading>().tp.partition, PartitionIndex(0));
  EXPECT_EQ(The<StopReading>().tp.partition, PartitionIndex(1));
}

class EagerTest : public ConsumeTest {
 protected:
  static v1::ConsumeRequest EagerOpen() {
    auto open = OpenMessage();
    open.mutable_open()->add_assignors("range");
    return open;
  }
};

TEST_F(EagerTest, Row8LastAcksAreCommittedBeforeTheJoin) {
  BeReading({0}, EagerOpen());
  Records(0, 10);
  actions_.clear();
  BeginRebalance();
  EXPECT_FALSE(Has<SendJoin>());
  // What comes after it is not pushed, and costs nothing.
  Records(0, 20, 70);
  EXPECT_FALSE(Has<PushRecords>());
  EXPECT_EQ(The<GrantReading>().bytes, 70);
  RevokeAck(TheRevoke().revoke_id(), {{0, 10}});
  EXPECT_FALSE(Has<SendJoin>());
  EXPECT_EQ(std::get<SendCommit>(actions_.back()).request.generation_id(), 1);
  AnswerCommit();
  EXPECT_EQ(TheResults(), (Results{{10, ErrorCode::kNone}}));
  EXPECT_EQ(The<SendJoin>().request.member_id(), "m");
}

TEST_F(EagerTest, Row8AnAckOfAnotherRevokeIsNone) {
  BeReading({0}, EagerOpen());
  BeginRebalance();
  const int64_t id = TheRevoke().revoke_id();
  RevokeAck(id + 1);
  EXPECT_FALSE(Has<SendJoin>());
  RevokeAck(id);
  EXPECT_TRUE(Has<SendJoin>());
}

TEST_F(EagerTest, Row9WithoutRevokeAckItJoinsInTimeAndLateAcksAreRefused) {
  BeReading({0}, EagerOpen());
  Records(0, 10);
  actions_.clear();
  BeginRebalance();
  const v1::ConsumeRevoke revoke = TheRevoke();
  PassBeating(int64_t{revoke.timeout_ms()} * 1000 - kSecondUs);
  EXPECT_FALSE(Has<SendJoin>());
  PassBeating(kSecondUs);
  EXPECT_TRUE(Has<SendJoin>());
  RevokeAck(revoke.revoke_id(), {{0, 10}});
  EXPECT_EQ(TheResults(), (Results{{10, ErrorCode::kInvalidRequest}}));
  EXPECT_FALSE(Has<SendCommit>());
}

// Only what is revoked stops; the rest is pushed on, and acknowledged, through
// the rebalance.
TEST_F(ConsumeTest, Row8ACooperativeMemberKeepsTheRest) {
  BeReading({0, 1});
  Records(0, 10);
  Records(1, 10);
  actions_.clear();
  BeginRebalance();
  const auto join = The<SendJoin>();
  EXPECT_FALSE(Has<StopReading>());
  Records(0, 20);
  EXPECT_TRUE(Take<PushRecords>().has_value());
  Ack(0, 20);
  EXPECT_EQ(The<SendCommit>().request.generation_id(), 1);
  AnswerJoin(join, 2);
  AnswerSync(Of("t", {0}));
  EXPECT_EQ(TheAssigned().partitions_size(), 1);
  const v1::ConsumeRevoke revoke = TheRevoke();
  ASSERT_EQ(revoke.partitions_size(), 1);
  EXPECT_EQ(revoke.partitions(0).partition(), 1);
  EXPECT_EQ(The<StopReading>().tp.partition, PartitionIndex(1));
  EXPECT_FALSE(Has<SendJoin>());
  RevokeAck(revoke.revoke_id());
  EXPECT_TRUE(Has<SendJoin>());
}

// While it syncs nothing is taken: it waits, and goes by the new generation.
TEST_F(ConsumeTest, Row8ACommitThatARebalanceOvertookGoesByTheNewGeneration) {
  BeReading({0});
  Records(0, 10);
  actions_.clear();
  BeginRebalance();
  const auto join = The<SendJoin>();
  Ack(0, 10);
  const auto commit = The<SendCommit>();
  AnswerJoin(join, 2);
  v1::CommitOffsetsResponse refused;
  refused.add_results()->mutable_error()->set_code(
      v1::ERROR_CODE_ILLEGAL_GENERATION);
  Do(CommitAnswered{commit.call, refused});
  Pass(kSecondUs);
  EXPECT_FALSE(Has<SendCommit>());
  AnswerSync(Of("t", {0}));
  Pass(kSecondUs);
  EXPECT_EQ(The<SendCommit>().request.generation_id(), 2);
  EXPECT_EQ(TheResults(), Results());
}

// The coordinator tells of a generation once it is in its log; commits hear of
// it before that.
TEST_F(ConsumeTest, Row8ACommitMayHearOfTheNewGenerationFirst) {
  BeReading({0});
  Records(0, 10);
  actions_.clear();
  BeginRebalance();
  const auto join = The<SendJoin>();
  Ack(0, 10);
  AnswerCommit(ErrorCode::kIllegalGeneration);
  EXPECT_EQ(TheResults(), Results());
  EXPECT_FALSE(TakePush(v1::ConsumeResponse::kRevoke).has_value());
  EXPECT_FALSE(Has<StopReading>());
  AnswerJoin(join, 2);
  AnswerSync(Of("t", {0}));
  Pass(2 * kSecondUs);
  EXPECT_EQ(The<SendCommit>().request.generation_id(), 2);
}

TEST_F(ConsumeTest, WhoWasPutOutIsToldThatAcksAreInVain) {
  BeReading({0});
  Records(0, 10);
  actions_.clear();
  BeginRebalance(ErrorCode::kUnknownMemberId);
  EXPECT_TRUE(TheRevoke().lost());
  EXPECT_EQ(The<SendJoin>().request.member_id(), "");
  Ack(0, 10);
  EXPECT_EQ(TheResults(), (Results{{10, ErrorCode::kInvalidRequest}}));
  EXPECT_FALSE(Has<SendCommit>());
}

}  // namespace
}  // namespace sluice::consume
