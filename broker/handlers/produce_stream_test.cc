#include "broker/handlers/produce_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/fake_hosts_testing.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// ---- The order of answers ----

TEST(AnswerOrderTest, ResultsLeaveInOrderWithinAPartitionOnly) {
  AnswerOrder order;
  std::vector<int> left;
  const auto leave = [&](int number) {
    return [&left, number] { left.push_back(number); };
  };
  const AnswerOrder::Key a{"t", PartitionIndex(0)};
  const AnswerOrder::Key b{"t", PartitionIndex(1)};
  const auto a1 = order.Enter(a);
  const auto b1 = order.Enter(b);
  const auto a2 = order.Enter(a);
  const auto a3 = order.Enter(a);
  order.Come(a3, leave(3));
  order.Come(b1, leave(10));
  EXPECT_THAT(left, ElementsAre(10));
  order.Come(a1, leave(1));
  EXPECT_THAT(left, ElementsAre(10, 1));
  order.Come(a2, leave(2));
  EXPECT_THAT(left, ElementsAre(10, 1, 2, 3));
  EXPECT_TRUE(order.empty());
  order.Come(order.Enter(a), leave(4));  // a line begins anew
  EXPECT_THAT(left, ElementsAre(10, 1, 2, 3, 4));
}

// ---- The stream ----

class FakeSink final : public ProduceSink {
 public:
  void Push(api::ProduceStreamResponse response) override {
    EXPECT_FALSE(finished.has_value());
    pushed.push_back(std::move(response));
  }
  void Consumed() override { ++consumed; }
  void Finish(absl::Status status) override {
    EXPECT_FALSE(finished.has_value());
    finished = std::move(status);
  }

  std::vector<api::ProduceStreamResponse> pushed;
  int consumed = 0;
  std::optional<absl::Status> finished;
};

class ProduceStreamTest : public testing::Test {
 protected:
  void SetUp() override { Open(); }

  void Open() {
    sink_ = std::make_shared<FakeSink>();
    stream_ = handler_.ProduceStream(context_, Request(0, {0}), sink_);
  }

  // One batch for each partition of topic "a".
  static api::ProduceStreamRequest Request(int64_t correlation_id,
                                           std::vector<int> partitions) {
    api::ProduceStreamRequest request;
    request.correlation_id = correlation_id;
    for (const int partition : partitions) {
      api::ProducePartition& asked = request.request.partitions.emplace_back();
      asked.topic = Named("a");
      asked.partition = PartitionIndex(partition);
      asked.payload = MakeBatch(TestBatch());
    }
    return request;
  }
  void Send(int64_t correlation_id, std::vector<int> partitions) {
    stream_->OnRequest(Request(correlation_id, std::move(partitions)));
    fake_.Run();
  }

  // "id:partition ..." of each answer, with "." when it completes a request.
  std::vector<std::string> Answers() {
    std::vector<std::string> all;
    for (const auto& answer : sink_->pushed) {
      std::string text = StrCat(answer.correlation_id, ":");
      for (const auto& result : answer.results) {
        text += StrCat(result.partition);
      }
      all.push_back(text + (answer.complete ? "." : ""));
    }
    return all;
  }

  FakeBroker fake_;
  api::CallContext context_;
  ProduceHandler handler_{fake_.deps(), 64 << 20, /*streams_max=*/2};
  std::shared_ptr<FakeSink> sink_;
  std::shared_ptr<ProduceSession> stream_;
};

TEST_F(ProduceStreamTest, AnswersARequestWithItsNumber) {
  Send(7, {0, 1, 2});
  ASSERT_THAT(sink_->pushed, testing::Not(IsEmpty()));
  size_t results = 0;
  for (const auto& answer : sink_->pushed) {
    EXPECT_EQ(answer.correlation_id, 7);
    for (const auto& result : answer.results) {
      ++results;
      EXPECT_TRUE(result.error.ok());
      EXPECT_EQ(result.base_offset, Offset(0));
      EXPECT_EQ(result.durability, "disk");
    }
  }
  EXPECT_EQ(results, 3u);
  EXPECT_TRUE(sink_->pushed.back().complete);
  EXPECT_EQ(sink_->consumed, 1);
  EXPECT_EQ(handler_.memory().taken(), 0);
}

TEST_F(ProduceStreamTest, ASlowPartitionDelaysOnlyItself) {
  fake_.odd.hold_answers = true;  // partitions 1 and 3
  Send(1, {0, 1});
  Send(2, {0});
  Send(3, {1});
  EXPECT_THAT(Answers(), ElementsAre("1:0", "2:0."));
  fake_.odd.Release();
  fake_.Run();
  EXPECT_THAT(Answers(), ElementsAre("1:0", "2:0.", "1:1.", "3:1."));
}

TEST_F(ProduceStreamTest, AnswersOfAPartitionKeepTheOrderOfRequests) {
  fake_.odd.hold_answers = true;
  Send(1, {1});
  fake_.odd.hold_answers = false;
  // Settled before the first: under min ISR a later one is refused at once.
  fake_.odd.partitions[fake_.A(1)].error =
      api::ItemError(ErrorCode::kNotEnoughReplicas, "under min ISR");
  Send(2, {1});
  EXPECT_THAT(Answers(), IsEmpty());
  fake_.odd.Release();
  fake_.Run();
  EXPECT_THAT(Answers(), ElementsAre("1:1.", "2:1."));
}

// A request that has all its results goes at once, but not past what one before
// it has of the same partition and gathers with others.
TEST_F(ProduceStreamTest, ARequestThatIsCompleteOvertakesNoneOfItsPartitions) {
  fake_.even.hold_answers = fake_.odd.hold_answers = true;
  Send(1, {0, 1});
  Send(2, {1});
  fake_.odd.Release();
  fake_.Run();
  EXPECT_THAT(Answers(), ElementsAre("1:1", "2:1."));
  fake_.even.Release();
  fake_.Run();
  EXPECT_THAT(Answers(), ElementsAre("1:1", "2:1.", "1:0."));
}

// Nor does one that has had a result of another partition first.
TEST_F(ProduceStreamTest, WhatIsGatheredLeavesInTheOrderOfRequests) {
  fake_.even.hold_answers = fake_.odd.hold_answers = true;
  Send(1, {1, 2});
  Send(2, {3, 1, 0});
  ASSERT_EQ(fake_.odd.held.size(), 3u);
  std::swap(fake_.odd.held[0], fake_.odd.held[1]);
  fake_.odd.Release();
  fake_.Run();
  EXPECT_THAT(Answers(), ElementsAre("1:1", "2:31"));
  fake_.even.Release();
  fake_.Run();
  EXPECT_THAT(Answers(), ElementsAre("1:1", "2:31", "1:2.", "2:0."));
}

TEST_F(ProduceStreamTest, TheNextRequestWaitsUntilTheOrderIsFixed) {
  fake_.even.hold_order = true;
  Send(1, {0});
  Send(2, {2});
  Send(3, {1});
  EXPECT_THAT(fake_.even.appends, SizeIs(1));
  EXPECT_THAT(fake_.odd.appends, IsEmpty());
  fake_.even.hold_order = false;
  fake_.even.Release();
  fake_.Run();
  EXPECT_THAT(fake_.even.appends, SizeIs(2));
  EXPECT_THAT(fake_.odd.appends, SizeIs(1));
  EXPECT_THAT(sink_->pushed, SizeIs(3));
}

TEST_F(ProduceStreamTest, TypedRecordsDoNotLetTheNextOvertake) {
  api::ProduceStreamRequest typed = Request(1, {0});
  api::Record record;
  record.value = "typed";
  typed.request.partitions[0].payload = std::vector<api::Record>{record};
  stream_->OnRequest(std::move(typed));
  stream_->OnRequest(Request(2, {0}));
  fake_.Run();
  ASSERT_THAT(Answers(), ElementsAre("1:0.", "2:0."));
  EXPECT_EQ(sink_->pushed[0].results[0].base_offset, Offset(0));
  EXPECT_EQ(sink_->pushed[1].results[0].base_offset, Offset(1));
}

TEST_F(ProduceStreamTest, ARefusedRequestIsAnsweredAndTheStreamGoesOn) {
  api::ProduceStreamRequest bad = Request(1, {0});
  bad.request.acks = 7;
  stream_->OnRequest(std::move(bad));
  Send(2, {0});
  ASSERT_THAT(sink_->pushed, SizeIs(2));
  EXPECT_EQ(sink_->pushed[0].error.code, ErrorCode::kInvalidRequiredAcks);
  EXPECT_TRUE(sink_->pushed[0].complete);
  EXPECT_THAT(sink_->pushed[0].results, IsEmpty());
  EXPECT_TRUE(sink_->pushed[1].error.ok());
  EXPECT_FALSE(sink_->finished.has_value());
}

TEST_F(ProduceStreamTest, ManyRefusedRequestsInARowAreNoDeepRecursion) {
  for (int i = 0; i < 900; ++i) {
    api::ProduceStreamRequest unknown = Request(i, {0});
    unknown.request.partitions[0].topic = Named("nowhere");
    stream_->OnRequest(std::move(unknown));
  }
  fake_.Run();
  EXPECT_THAT(sink_->pushed, SizeIs(900));
}

// ---- Limits ----

TEST_F(ProduceStreamTest, ReadsNoMoreWhileAnswersAreOwed) {
  fake_.even.hold_answers = true;
  for (int i = 0; i < ProduceStream::kRequestsInFlightMax + 2; ++i) {
    stream_->OnRequest(Request(i, {0}));
  }
  fake_.Run();
  EXPECT_EQ(sink_->consumed, ProduceStream::kRequestsInFlightMax - 1);
  fake_.even.Release();
  fake_.Run();
  // Answered, but nobody has read the answers.
  EXPECT_EQ(sink_->consumed, ProduceStream::kRequestsInFlightMax - 1);
  stream_->OnDrained();
  fake_.Run();
  EXPECT_EQ(sink_->consumed, ProduceStream::kRequestsInFlightMax + 2);
}

TEST_F(ProduceStreamTest, ReadsNoMoreWhileTooManyBytesAreOwed) {
  fake_.even.hold_answers = true;
  TestBatch big;
  big.value = std::string(1 << 19, 'b');
  for (int i = 0; i < 80; ++i) {
    api::ProduceStreamRequest request = Request(i, {0});
    request.request.partitions[0].payload = MakeBatch(big);
    stream_->OnRequest(std::move(request));
  }
  fake_.Run();
  EXPECT_EQ(sink_->consumed, 63);
  fake_.even.Release();
  fake_.Run();
  EXPECT_EQ(sink_->consumed, 80);
}

TEST_F(ProduceStreamTest, AnEdgeThatReadsOnAllTheSameIsEndedByName) {
  fake_.even.hold_answers = true;
  for (int i = 0; i <= ProduceStream::kRequestsWall; ++i) {
    stream_->OnRequest(Request(i, {0}));
  }
  fake_.Run();
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_EQ(CodeOf(*sink_->finished), ErrorCode::kBusy);
}

TEST_F(ProduceStreamTest, AStreamTooManyIsRefusedByName) {
  const auto first = sink_;
  const auto first_stream = stream_;
  Open();
  const auto second = sink_;
  const auto second_stream = stream_;
  Open();
  Send(1, {0});
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_EQ(CodeOf(*sink_->finished), ErrorCode::kBusy);
  EXPECT_FALSE(first->finished.has_value());
  EXPECT_FALSE(second->finished.has_value());
}

// ---- The end ----

TEST_F(ProduceStreamTest, AHalfCloseIsAnsweredWithWhatIsOwedThenOk) {
  fake_.even.hold_answers = true;
  fake_.even.hold_order = true;
  stream_->OnRequest(Request(1, {0}));
  stream_->OnRequest(Request(2, {0}));
  stream_->OnNoMore(absl::OkStatus());
  fake_.Run();
  EXPECT_FALSE(sink_->finished.has_value());
  for (int i = 0; i < 2; ++i) {
    fake_.even.Release();
    fake_.Run();
  }
  EXPECT_THAT(Answers(), ElementsAre("1:0.", "2:0."));
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_TRUE(sink_->finished->ok());
  EXPECT_EQ(handler_.streams(), 0);
}

TEST_F(ProduceStreamTest, ABrokerThatStopsAnswersWhatItTookAndNothingElse) {
  fake_.even.hold_answers = true;
  fake_.even.hold_order = true;
  stream_->OnRequest(Request(1, {0}));
  stream_->OnRequest(Request(2, {0}));  // not taken yet
  stream_->OnNoMore(MakeError(ErrorCode::kShuttingDown, "stopping"));
  stream_->OnRequest(Request(3, {0}));
  fake_.Run();
  EXPECT_FALSE(sink_->finished.has_value());
  fake_.even.Release();
  fake_.Run();
  EXPECT_THAT(Answers(), ElementsAre("1:0."));
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_EQ(CodeOf(*sink_->finished), ErrorCode::kShuttingDown);
  EXPECT_THAT(fake_.even.appends, SizeIs(1));
}

TEST_F(ProduceStreamTest, AClientThatIsGoneIsNotAnswered) {
  fake_.even.hold_answers = true;
  Send(1, {0});
  stream_->OnClosed();
  fake_.Run();
  sink_->finished.reset();
  Send(2, {0});
  fake_.even.Release();
  fake_.Run();
  EXPECT_THAT(sink_->pushed, IsEmpty());
  EXPECT_THAT(fake_.even.appends, SizeIs(1));
  EXPECT_EQ(handler_.memory().taken(), 0);
  EXPECT_EQ(handler_.streams(), 0);
}

}  // namespace
}  // namespace sluice
