// Whose answer counts: a follower asks on two streams, which overtake each
// other (README.md).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "broker/replication/asked_questions.h"
#include "broker/replication/replica_question.h"
#include "broker/replication/shipper_testing.h"

namespace sluice {
namespace {

using testing::SizeIs;

constexpr StreamKind kMain = StreamKind::kMain;
constexpr StreamKind kCatchUp = StreamKind::kCatchUp;

FollowerSession By(StreamKind kind, int64_t broker_epoch = 5) {
  return {.id = 7,
          .broker_id = NodeId(2),
          .broker_epoch = BrokerEpoch(broker_epoch),
          .kind = kind};
}

// ---- The follower's side ----

TEST(ReplicaQuestionTest, TheLastQuestionCountsOnItsStreamAlone) {
  ReplicaQuestion question;
  EXPECT_FALSE(question.Answers(kMain, AddNumber(1)));  // nothing was asked
  EXPECT_EQ(question.Ask(AddNumber(1)), AddNumber(1));
  EXPECT_TRUE(question.Answers(kMain, AddNumber(1)));
  EXPECT_FALSE(question.Answers(kCatchUp, AddNumber(1)));
  question.GoTo(kCatchUp);
  EXPECT_FALSE(question.Answers(kMain, AddNumber(1)));
  EXPECT_FALSE(question.Answers(kCatchUp, AddNumber(1)));
  EXPECT_EQ(question.Ask(AddNumber(4)), AddNumber(4));
  EXPECT_FALSE(question.Answers(kCatchUp, AddNumber(1)));
  EXPECT_TRUE(question.Answers(kCatchUp, AddNumber(4)));
}

TEST(ReplicaQuestionTest, AskedOnceMoreItIsTheSameQuestion) {
  ReplicaQuestion question;
  EXPECT_EQ(question.Ask(AddNumber(1)), AddNumber(1));
  EXPECT_EQ(question.Ask(AddNumber(2)), AddNumber(1));
  // However late, the first answer counts.
  EXPECT_TRUE(question.Answers(kMain, AddNumber(1)));
  question.Close();
  EXPECT_EQ(question.Ask(AddNumber(3)), AddNumber(3));
  EXPECT_FALSE(question.Answers(kMain, AddNumber(1)));
}

TEST(ReplicaQuestionTest, AStreamThatBrokeAnswersNothing) {
  ReplicaQuestion question;
  question.Ask(AddNumber(1));
  question.GoTo(kMain);
  EXPECT_EQ(question.Ask(AddNumber(2)), AddNumber(2));
}

TEST(ReplicaQuestionTest, WhatIsTakenBelongsToWhatWasAccepted) {
  ReplicaQuestion question;
  question.Ask(AddNumber(1));
  EXPECT_FALSE(question.Takes(kMain, AddNumber(1)));
  EXPECT_FALSE(question.IsSettled());
  question.Accept(AddNumber(1));
  EXPECT_TRUE(question.IsSettled());
  EXPECT_TRUE(question.Takes(kMain, AddNumber(1)));
  EXPECT_FALSE(question.Takes(kCatchUp, AddNumber(1)));
  EXPECT_FALSE(question.Takes(kMain, AddNumber(2)));
  EXPECT_FALSE(question.Takes(kMain, kNoAddNumber));
  question.Ask(AddNumber(2));
  EXPECT_FALSE(question.Takes(kMain, AddNumber(1)));
  EXPECT_FALSE(question.IsSettled());
}

// ---- The leader's side ----

TEST(AskedQuestionsTest, AnOlderQuestionThatComesLaterHasNoEffect) {
  AskedQuestions asked;
  EXPECT_TRUE(asked.Take(By(kMain), AddNumber(4)));
  EXPECT_FALSE(asked.Take(By(kCatchUp), AddNumber(3)));
  EXPECT_EQ(asked.StreamOf(NodeId(2)), kMain);
  EXPECT_EQ(asked.NumberOf(NodeId(2)), AddNumber(4));
  EXPECT_FALSE(asked.IsNewest(By(kCatchUp), AddNumber(3)));
  EXPECT_TRUE(asked.IsNewest(By(kMain), AddNumber(4)));
  EXPECT_TRUE(asked.Take(By(kCatchUp), AddNumber(5)));
  EXPECT_EQ(asked.StreamOf(NodeId(2)), kCatchUp);
}

TEST(AskedQuestionsTest, TheNumberOutlivesTheStream) {
  AskedQuestions asked;
  EXPECT_TRUE(asked.Take(By(kMain), AddNumber(4)));
  EXPECT_FALSE(asked.EndStream(NodeId(2), kCatchUp));
  EXPECT_TRUE(asked.EndStream(NodeId(2), kMain));
  EXPECT_FALSE(asked.EndStream(NodeId(2), kMain));
  EXPECT_EQ(asked.StreamOf(NodeId(2)), std::nullopt);
  EXPECT_FALSE(asked.Take(By(kCatchUp), AddNumber(3)));
  EXPECT_EQ(asked.StreamOf(NodeId(2)), std::nullopt);
}

TEST(AskedQuestionsTest, OneThatIsAnsweredIsNotAnsweredAgain) {
  AskedQuestions asked;
  EXPECT_TRUE(asked.Take(By(kMain), AddNumber(4)));
  EXPECT_TRUE(asked.Take(By(kMain), AddNumber(4)));  // it waits still
  asked.Answered(NodeId(2));
  EXPECT_FALSE(asked.Take(By(kMain), AddNumber(4)));
  EXPECT_TRUE(asked.Take(By(kMain), AddNumber(5)));
}

TEST(AskedQuestionsTest, AnotherProcessBeginsToCountAnew) {
  AskedQuestions asked;
  EXPECT_TRUE(asked.Take(By(kMain, 5), AddNumber(900)));
  EXPECT_TRUE(asked.Take(By(kMain, 6), AddNumber(1)));
  EXPECT_FALSE(asked.Take(By(kMain, 5), AddNumber(901)));
  EXPECT_FALSE(asked.IsNewest(By(kMain, 5), AddNumber(1)));
  EXPECT_TRUE(asked.IsNewest(By(kMain, 6), AddNumber(1)));
}

TEST(AskedQuestionsTest, OnlyReplicasAreKept) {
  AskedQuestions asked;
  EXPECT_TRUE(asked.Take(By(kMain), AddNumber(4)));
  asked.Keep({NodeId(1), NodeId(2)});
  EXPECT_EQ(asked.NumberOf(NodeId(2)), AddNumber(4));
  asked.Keep({NodeId(1), NodeId(3)});
  EXPECT_EQ(asked.NumberOf(NodeId(2)), kNoAddNumber);
}

// ---- What is shipped belongs to its question ----

TEST_F(ReplicaShipperTest, WhatBelongsToAnOlderQuestionHasNoEffect) {
  Make(1000);
  source.leo_ = Offset(5);
  shipper->Accept(kA, Asked(1, 3), Offset(0), &source);
  EXPECT_FALSE(shipper->DropAsAsked(kA, Asked(1, 2)));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(1));
  shipper->OnAck(kA, Asked(1, 2), Offset(1));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(1));  // the credit is not back
  shipper->OnAck(kA, Asked(1, 3), Offset(1));
  world.RunFor(1);
  EXPECT_THAT(Shipped(kA), SizeIs(2));
}

TEST_F(ReplicaShipperTest, AllThatIsSentNamesTheQuestion) {
  Make(10'000);
  source.leo_ = Offset(1);
  shipper->Accept(kA, Asked(1, 3), Offset(0), &source);
  world.RunFor(1);
  source.hw_ = Offset(1);
  shipper->OnHighWatermark(kA);
  shipper->Remove(kA, api::ItemError(ErrorCode::kNotLeader, "moved"));
  world.RunFor(1);
  ASSERT_THAT(stream->frames, SizeIs(2));
  const LeaderFrame& first = stream->frames[0];
  const LeaderFrame& second = stream->frames[1];
  ASSERT_THAT(first.add_answers, SizeIs(1));
  EXPECT_EQ(first.add_answers[0].add_number, AddNumber(3));
  ASSERT_THAT(first.data, SizeIs(1));
  EXPECT_EQ(first.data[0].add_number, AddNumber(3));
  ASSERT_THAT(second.high_watermarks, SizeIs(1));
  EXPECT_EQ(second.high_watermarks[0].add_number, AddNumber(3));
  ASSERT_THAT(second.removed, SizeIs(1));
  EXPECT_EQ(second.removed[0].add_number, AddNumber(3));
}

// As often as it asks: it must not lose its turn, nor get two.
TEST_F(ReplicaShipperTest, WhoAsksAgainWhileItWaitsKeepsItsPlace) {
  constexpr int64_t kTurn = ReplicaShipper::kFrameBytesMax;
  Make(1);
  source.leo_ = other.leo_ = Offset(9);
  source.batch_bytes = other.batch_bytes = kTurn;
  shipper->Accept(kB, Asked(1), Offset(0), &other);
  world.RunFor(1);
  ASSERT_THAT(Shipped(kB), SizeIs(1));  // and the window is used up
  shipper->Accept(kA, Asked(1), Offset(0), &source);
  world.RunFor(1);
  shipper->Accept(kA, Asked(1, 2), Offset(0), &source);
  shipper->Accept(kA, Asked(1, 3), Offset(0), &source);
  for (int acked = 1; acked < 4; ++acked) {
    shipper->OnAck(kB, Asked(1), Offset(acked));
    world.RunFor(1);
    shipper->OnAck(kA, Asked(1, 3), Offset(acked));
    world.RunFor(1);
  }
  // B, then each in turn; had A more places than one, it would be ahead.
  EXPECT_THAT(Shipped(kA), SizeIs(2));
  EXPECT_THAT(Shipped(kB), SizeIs(4));
}

// ---- Both ends of a pair ----

// A leader's two shippers and one follower, with what is under way each way on
// each stream delivered by hand: as Partition has them, without its core.
class ChangeOverTest : public testing::Test {
 protected:
  ChangeOverTest() {
    for (const StreamKind kind : {kMain, kCatchUp}) {
      FollowerSession session = By(kind);
      session.stream = sent_[kind] = std::make_shared<SentToFollower>();
      session.window_bytes = 4 << 20;
      shippers_[kind] = std::make_unique<ReplicaShipper>(
          session, executor_.get(), nullptr, world_.MonoMicros());
    }
    source_.in_sync = false;
  }

  // The follower asks; its question is under way on its stream.
  void Ask() {
    accepted_ = false;
    up_[question_.stream()].push_back(
        {question_.Ask(AddNumber(++last_number_)), leo_});
  }
  // The next one that is under way on `kind` arrives.
  void ArrivesAtLeader(StreamKind kind) {
    ASSERT_FALSE(up_[kind].empty());
    const auto [number, from] = up_[kind].front();
    up_[kind].pop_front();
    if (!asked_.Take(By(kind), number)) return;
    asked_.Answered(NodeId(2));
    for (auto& [other, shipper] : shippers_) {
      if (other != kind) shipper->Drop(kA);
    }
    shippers_[kind]->Accept(kA, {LeaderEpoch(1), number}, from, &source_);
    world_.RunFor(1);
  }
  // All that the leader has sent on `kind` arrives.
  void ArrivesAtFollower(StreamKind kind) {
    for (LeaderFrame& frame : std::exchange(sent_[kind]->frames, {})) {
      for (const AddAnswer& answer : frame.add_answers) {
        if (!question_.Answers(kind, answer.add_number)) continue;
        question_.Close();
        if (accepted_ || answer.fetch_offset != leo_) continue;
        question_.Accept(answer.add_number);
        accepted_ = true;
      }
      for (const ReplicaData& data : frame.data) {
        if (!accepted_ || !question_.Takes(kind, data.add_number)) continue;
        ASSERT_TRUE(question_.IsSettled());
        leo_ += 1;  // a batch holds one record, and they come in order
      }
      for (const ReplicaMoved& moved : frame.moved) {
        if (!question_.Answers(kind, moved.add_number)) continue;
        question_.GoTo(moved.to);
        Ask();
      }
    }
  }
  bool Serves(StreamKind kind) { return shippers_[kind]->Serves(kA); }
  // Far more than may be left on the main stream, or the rest is near.
  void BeFar() { source_.tail_from = source_.leo_; }
  void BeNear() { source_.tail_from = Offset(0); }
  // What is written now arrives, and nothing else has to happen for it.
  void ExpectFed() {
    source_.leo_ = source_.leo_ + 1;
    for (auto& [kind, shipper] : shippers_) shipper->OnAppended(kA);
    world_.RunFor(1);
    for (const StreamKind kind : {kMain, kCatchUp}) ArrivesAtFollower(kind);
    EXPECT_EQ(leo_, source_.leo_);
    EXPECT_TRUE(accepted_);
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeSource source_;
  std::map<StreamKind, std::shared_ptr<SentToFollower>> sent_;
  std::map<StreamKind, std::unique_ptr<ReplicaShipper>> shippers_;
  AskedQuestions asked_;
  ReplicaQuestion question_;
  std::map<StreamKind, std::deque<std::pair<AddNumber, Offset>>> up_;
  int64_t last_number_ = 0;
  Offset leo_;
  bool accepted_ = false;
};

// Seed 398016: the follower asks once more on the slow catch-up stream just
// before the first answer comes; by then it goes on by the main stream, and the
// question that was late arrives last.
TEST_F(ChangeOverTest, TheQuestionThatComesLastIsAnOlderOne) {
  source_.leo_ = Offset(9);
  BeFar();
  Ask();
  ArrivesAtLeader(kMain);
  ArrivesAtFollower(kMain);  // accepted, and moved: it asks on the other
  ASSERT_THAT(up_[kCatchUp], SizeIs(1));
  BeNear();
  ArrivesAtLeader(kCatchUp);
  Ask();  // no answer in time
  ArrivesAtFollower(kCatchUp);  // moved back
  ASSERT_THAT(up_[kMain], SizeIs(1));
  ArrivesAtLeader(kMain);
  ArrivesAtFollower(kMain);
  EXPECT_EQ(leo_, Offset(9));
  ArrivesAtLeader(kCatchUp);  // the late one
  EXPECT_TRUE(Serves(kMain));
  EXPECT_FALSE(Serves(kCatchUp));
  ExpectFed();
}

// The answers come in another order than the questions were asked.
TEST_F(ChangeOverTest, TheAnswerThatComesLastIsToAnOlderQuestion) {
  source_.leo_ = Offset(9);
  source_.in_sync = true;
  question_.GoTo(kCatchUp);
  Ask();
  question_.GoTo(kMain);  // a new leader epoch, or a replica that began anew
  Ask();
  ArrivesAtLeader(kCatchUp);  // in its own order here
  ArrivesAtLeader(kMain);
  EXPECT_FALSE(Serves(kCatchUp));
  ArrivesAtFollower(kMain);
  EXPECT_EQ(leo_, Offset(9));
  ArrivesAtFollower(kCatchUp);
  ExpectFed();
}

// A stream on which an answer takes longer than the follower's patience.
TEST_F(ChangeOverTest, ASlowStreamIsAskedMoreOftenThanItAnswers) {
  source_.leo_ = Offset(9);
  source_.in_sync = true;
  for (int i = 0; i < 5; ++i) Ask();
  ArrivesAtLeader(kMain);
  ArrivesAtFollower(kMain);
  EXPECT_EQ(leo_, Offset(9));
  // The others change nothing: nothing is sent twice.
  for (int i = 0; i < 4; ++i) ArrivesAtLeader(kMain);
  EXPECT_THAT(sent_[kMain]->frames, SizeIs(0));
  ExpectFed();
}

// Every order in which three questions, on alternating streams, can arrive: the
// last one asked is served, on its stream.
TEST_F(ChangeOverTest, WhateverOvertakesTheLastQuestionIsServed) {
  for (int order = 0; order < 3; ++order) {
    AskedQuestions asked;
    std::deque<std::pair<StreamKind, int>> main = {{kMain, 1}, {kMain, 3}};
    const std::pair<StreamKind, int> other = {kCatchUp, 2};
    main.insert(main.begin() + order, other);
    for (const auto& [kind, number] : main) {
      asked.Take(By(kind), AddNumber(number));
    }
    EXPECT_EQ(asked.StreamOf(NodeId(2)), kMain) << order;
    EXPECT_EQ(asked.NumberOf(NodeId(2)), AddNumber(3)) << order;
  }
}

}  // namespace
}  // namespace sluice
