// Where a member begins.
#include "broker/consume/start_finder.h"

#include <gtest/gtest.h>

#include "broker/consume/consume_testing.h"

namespace sluice::consume {
namespace {

using Reset = v1::ConsumeOpen::Reset;

class StartFinderTest : public ConsumeTest {
 protected:
  void Begin(Reset reset, bool leads) {
    auto open = OpenMessage();
    open.mutable_open()->set_reset(reset);
    if (reset == v1::ConsumeOpen::RESET_DURATION) {
      open.mutable_open()->set_reset_duration_ms(5'000);
    }
    const SendJoin join = Open(open);
    if (!leads) {
      AnswerJoin(join, 1);
    } else {
      AnswerJoin(join, 1, "m");
      Do(TopicsFound{The<LookUpTopics>().call, {{"t", 4}}});
    }
    AnswerSync(Of("t", {0, 1}));
  }
  void AnswerList(std::map<int, int64_t> offsets) {
    const auto list = The<ListOffsets>();
    std::map<NamedPartition, Offset> answer;
    for (const NamedPartition& tp : list.partitions) {
      const auto found = offsets.find(tp.partition.value());
      answer[tp] = found == offsets.end() ? kNoOffset : Offset(found->second);
    }
    Do(OffsetsListed{list.call, std::move(answer)});
  }
  std::map<int, Start> Starts() {
    std::map<int, Start> starts;
    while (const auto start = Take<StartReading>()) {
      starts[start->tp.partition.value()] = start->start;
    }
    return starts;
  }
  using Places = std::map<int, Start>;
};

TEST_F(StartFinderTest, EarliestAndWhatIsCommitted) {
  Begin(v1::ConsumeOpen::RESET_EARLIEST, false);
  AnswerFetch({{1, 7}});
  EXPECT_EQ(Starts(), (Places{{0, Edge::kEarliest}, {1, Offset(7)}}));
}

// The topic it was asked of, and its epoch; both go on while nothing is read.
TEST_F(StartFinderTest, ACommittedOffsetKeepsItsTopicAndItsEpoch) {
  Begin(v1::ConsumeOpen::RESET_EARLIEST, false);
  const TopicId t(Uuid(1, 2));
  const auto fetch = The<SendFetchOffsets>();
  v1::GroupOffsets answer;
  auto* offset = answer.add_offsets();
  offset->mutable_topic()->set_name("t");
  offset->set_partition(1);
  offset->set_offset(7);
  offset->set_leader_epoch(4);
  Do(OffsetsFetched{fetch.call, answer, {{"t", t}}});
  The<StartReading>();  // of partition 0
  const auto start = The<StartReading>();
  EXPECT_EQ(start.leader_epoch, LeaderEpoch(4));
  EXPECT_EQ(start.topic_id, t);
  Do(ReadingEnded{start.tp, MakeError(ErrorCode::kNotLeader, "moves")});
  Pass(kSecondUs);
  const auto again = The<StartReading>();
  EXPECT_EQ(std::get<Offset>(again.start), Offset(7));
  EXPECT_EQ(again.leader_epoch, LeaderEpoch(4));
  EXPECT_EQ(again.topic_id, t);
  // Of another topic, it is none.
  Do(ReadingEnded{start.tp,
                  MakeError(ErrorCode::kOffsetOutOfRange, "made again")});
  const auto anew = The<StartReading>();
  EXPECT_EQ(std::get<Edge>(anew.start), Edge::kEarliest);
  EXPECT_EQ(anew.leader_epoch, kNoLeaderEpoch);
  EXPECT_FALSE(anew.topic_id.is_set());
}

// Nobody knows of which topic it is: its epoch says nothing.
TEST_F(StartFinderTest, AnEpochOfAnUnknownTopicIsNone) {
  Begin(v1::ConsumeOpen::RESET_EARLIEST, false);
  v1::GroupOffsets answer;
  auto* offset = answer.add_offsets();
  offset->mutable_topic()->set_name("t");
  offset->set_offset(7);
  offset->set_leader_epoch(4);
  Do(OffsetsFetched{The<SendFetchOffsets>().call, answer, {}});
  const auto start = The<StartReading>();
  EXPECT_EQ(std::get<Offset>(start.start), Offset(7));
  EXPECT_EQ(start.leader_epoch, kNoLeaderEpoch);
}

// Also of partitions that are others' now: all of the topic is asked for.
TEST_F(StartFinderTest, APartitionThatWasAddedIsReadFromItsFirstRecord) {
  Begin(v1::ConsumeOpen::RESET_LATEST, false);
  AnswerFetch({{3, 7}});
  EXPECT_EQ(Starts(), (Places{{0, Edge::kEarliest}, {1, Edge::kEarliest}}));
}

TEST_F(StartFinderTest, TheLeaderCommitsWhereTheGroupBegins) {
  Begin(v1::ConsumeOpen::RESET_LATEST, true);
  AnswerFetch();
  EXPECT_EQ(Starts(), Places());
  AnswerList({{0, 10}, {1, 11}, {2, 12}, {3, 13}});
  EXPECT_EQ(Starts(), Places());
  const auto commit = The<SendCommit>();
  EXPECT_EQ(commit.request.offsets_size(), 4);
  EXPECT_EQ(commit.request.stream(), "secret-of-this-st");
  v1::CommitOffsetsResponse done;
  for (int i = 0; i < 4; ++i) done.add_results();
  Do(CommitAnswered{commit.call, done});
  EXPECT_EQ(Starts(), (Places{{0, Offset(10)}, {1, Offset(11)}}));
}

// Another member waited in vain and has begun: it is not moved, and what this
// one has of that is where the other one stands.
TEST_F(StartFinderTest, ALeaderThatComesLateMovesNobody) {
  Begin(v1::ConsumeOpen::RESET_LATEST, true);
  AnswerFetch();
  AnswerList({{0, 10}, {1, 11}, {2, 12}, {3, 13}});
  const auto commit = The<SendCommit>();
  EXPECT_TRUE(commit.request.administrative());
  v1::CommitOffsetsResponse done;
  for (int i = 0; i < 4; ++i) {
    auto* result = done.add_results();
    if (i != 1) continue;
    result->mutable_error()->set_code(v1::ERROR_CODE_INVALID_COMMIT_OFFSET);
  }
  Do(CommitAnswered{commit.call, done});
  EXPECT_EQ(Starts(), Places());
  AnswerFetch({{0, 10}, {1, 25}, {2, 12}, {3, 13}});
  EXPECT_EQ(Starts(), (Places{{0, Offset(10)}, {1, Offset(25)}}));
}

TEST_F(StartFinderTest, TheOthersWaitForItAWhile) {
  Begin(v1::ConsumeOpen::RESET_LATEST, false);
  AnswerFetch();
  EXPECT_FALSE(Has<ListOffsets>());
  Pass(StartFinder::kAskAgainUs);
  AnswerFetch({{0, 3}, {1, 4}, {2, 5}, {3, 6}});
  EXPECT_EQ(Starts(), (Places{{0, Offset(3)}, {1, Offset(4)}}));

  Connect();
  Begin(v1::ConsumeOpen::RESET_LATEST, false);
  AnswerFetch();
  for (int64_t us = 0; us < StartFinder::kLeaderPatienceUs;
       us += StartFinder::kAskAgainUs) {
    Pass(StartFinder::kAskAgainUs);
    AnswerFetch();
  }
  AnswerList({{0, 10}, {1, 11}});
  EXPECT_FALSE(Has<SendCommit>());
  EXPECT_EQ(Starts(), (Places{{0, Offset(10)}, {1, Offset(11)}}));
}

TEST_F(StartFinderTest, ByTimeAndAtTheEndWhereNothingIsSoYoung) {
  Begin(v1::ConsumeOpen::RESET_DURATION, true);
  AnswerFetch();
  AnswerList({{0, 10}, {1, 11}, {2, 12}, {3, 13}});
  const auto again = std::get<ListOffsets>(actions_.back());
  EXPECT_EQ(again.back_ms, 5'000);
  AnswerList({{0, 2}});
  AnswerCommit();
  EXPECT_EQ(Starts(), (Places{{0, Offset(2)}, {1, Offset(11)}}));
}

TEST_F(StartFinderTest, WithoutAResetTheStreamEndsByName) {
  Begin(v1::ConsumeOpen::RESET_NONE, false);
  AnswerFetch();
  Do(LeaveAnswered{The<SendLeave>().call});
  EXPECT_EQ(HowItEnded(), ErrorCode::kOffsetOutOfRange);
}

TEST_F(StartFinderTest, WhatDoesNotAnswerIsAskedAgain) {
  Begin(v1::ConsumeOpen::RESET_EARLIEST, false);
  Do(OffsetsFetched{The<SendFetchOffsets>().call,
                    MakeError(ErrorCode::kCoordinatorLoadInProgress, "loads")});
  EXPECT_FALSE(Has<SendFetchOffsets>());
  Pass(kSecondUs);
  AnswerFetch({{0, 1}, {1, 1}});
  EXPECT_EQ(Starts().size(), 2u);
}

TEST_F(StartFinderTest, WhatIsRevokedMeanwhileIsNotRead) {
  Begin(v1::ConsumeOpen::RESET_EARLIEST, false);
  const auto fetch = The<SendFetchOffsets>();
  BeginRebalance();
  AnswerJoin(The<SendJoin>(), 2);
  AnswerSync(Of("t", {1}));
  Do(OffsetsFetched{fetch.call, v1::GroupOffsets()});  // of before
  EXPECT_EQ(Starts(), Places());
  AnswerFetch({{1, 9}});
  EXPECT_EQ(Starts(), (Places{{1, Offset(9)}}));
}

// Nor does a late answer of an older generation say anything of this one.
TEST_F(StartFinderTest, ARefusalOfAnOlderGenerationLosesNothing) {
  Begin(v1::ConsumeOpen::RESET_EARLIEST, false);
  const auto fetch = The<SendFetchOffsets>();
  BeginRebalance();
  const auto join = The<SendJoin>();
  Do(OffsetsFetched{fetch.call,
                    MakeError(ErrorCode::kIllegalGeneration, "as it is made")});
  AnswerJoin(join, 2);
  AnswerSync(Of("t", {0, 1}));
  Pass(kSecondUs);
  AnswerFetch({{0, 1}, {1, 1}});
  EXPECT_EQ(Starts().size(), 2u);
  EXPECT_FALSE(TakePush(v1::ConsumeResponse::kRevoke).has_value());
}

}  // namespace
}  // namespace sluice::consume
