// Produces that are handed on to the brokers that lead (Route::kForward).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/forwarding_testing.h"
#include "broker/handlers/produce_handler.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

// ---- Produce ----

class ForwardedProduceTest : public ForwardingTest {
 protected:
  void Produce(api::ProduceRequest request) {
    answered_ = {};
    handler_.Produce(context_, std::move(request), nullptr,
                     answered_.Expect());
    Run();
  }
  ProduceHandler handler_{deps()};
  Answered<api::ProduceResponse> answered_;
};

TEST_F(ForwardedProduceTest, EachLeaderGetsItsPartsAndTheAnswerIsInOrder) {
  Produce(Forwarded({{"far", 1}, {"a", 0}, {"farther", 0}, {"far", 0}}));
  ASSERT_THAT(two().produces, SizeIs(1));
  ASSERT_THAT(three().produces, SizeIs(1));
  EXPECT_EQ(answered_.times, 0);
  // The leader knows the call by the client, not by the broker between.
  EXPECT_EQ(two().produces[0].client_id, "app");
  const auto& handed = two().produces[0].request;
  EXPECT_EQ(handed.route, api::Route::kDirect);  // one hop
  ASSERT_THAT(handed.partitions, SizeIs(2));
  EXPECT_EQ(handed.partitions[0].topic, ById(far_));
  EXPECT_EQ(handed.partitions[0].partition, PartitionIndex(1));
  EXPECT_GT(handed.timeout_ms, 0);
  EXPECT_LT(handed.timeout_ms * 1000, two().produces[0].timeout_us);

  two().produces[0].reply(
      api::ProduceResponse{{Stored(far_, 1, 7), Stored(far_, 0, 8)}});
  api::ProduceResult moved = Stored(farther_, 0, -1);
  moved.error = api::ItemError(ErrorCode::kNotLeader, "moved");
  moved.leader = api::LeaderHint{NodeId(2), LeaderEpoch(9), {"b2", 9000}};
  three().produces[0].reply(api::ProduceResponse{{moved}});
  Run();
  ASSERT_EQ(answered_.times, 1);
  const auto& results = answered_.response.results;
  ASSERT_THAT(results, SizeIs(4));
  EXPECT_EQ(results[0].topic, Named("far"));  // as it was asked for
  EXPECT_EQ(results[0].base_offset, Offset(7));
  EXPECT_EQ(results[1].base_offset, Offset(0));
  EXPECT_EQ(results[2].error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(results[2].leader->leader_id, NodeId(2));
  EXPECT_EQ(results[3].base_offset, Offset(8));
  EXPECT_EQ(handler_.memory().taken(), 0);
}

TEST_F(ForwardedProduceTest, ALeaderThatIsLostLeavesTheOutcomeUnknown) {
  Produce(Forwarded({{"far", 0}, {"a", 1}}));
  EXPECT_GT(handler_.memory().taken(), 0);
  two().produces[0].reply(absl::UnavailableError("connection reset"));
  Run();
  ASSERT_EQ(answered_.times, 1);
  EXPECT_EQ(answered_.response.results[0].error.code,
            ErrorCode::kRequestTimedOut);
  EXPECT_TRUE(answered_.response.results[1].error.ok());
  Produce(Forwarded({{"far", 0}}));
  two().produces[1].reply(MakeError(ErrorCode::kBusy, "768 calls"));
  Run();
  EXPECT_EQ(answered_.response.results[0].error.code, ErrorCode::kBusy);
}

TEST_F(ForwardedProduceTest, RecordsThatTheBrokerSpreadGoOnAsBatches) {
  api::ProduceRequest request;
  request.route = api::Route::kForward;
  auto& asked = request.partitions.emplace_back();
  asked.topic = Named("far");
  std::vector<api::Record> records(20);
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].key = "k" + std::to_string(i);
    records[i].value = "v";
  }
  asked.payload = records;
  Produce(std::move(request));
  ASSERT_THAT(two().produces, SizeIs(1));
  ASSERT_THAT(two().produces[0].request.partitions, SizeIs(2));
  api::ProduceResult bad = Stored(far_, 0, -1);
  bad.error = api::ItemError(ErrorCode::kInvalidRecord, "bad");
  bad.record_errors = {{0, "the first of them"}};
  api::ProduceResponse answer;
  for (const auto& part : two().produces[0].request.partitions) {
    bad.partition = *part.partition;
    answer.results.push_back(bad);
  }
  two().produces[0].reply(std::move(answer));
  Run();
  ASSERT_THAT(answered_.response.results, SizeIs(2));
  size_t records_named = 0;
  for (const auto& result : answered_.response.results) {
    records_named += result.record_indexes.size();
    // By its place in the request, not in what was handed on.
    EXPECT_EQ(result.record_errors[0].record_index, result.record_indexes[0]);
  }
  EXPECT_EQ(records_named, 20u);
}

TEST_F(ForwardedProduceTest, WithoutForwardThePartitionHereAnswers) {
  api::ProduceRequest request = Forwarded({{"far", 0}});
  request.route = api::Route::kDirect;
  const TopicPartition tp{far_, PartitionIndex(0)};
  fake_.shard(tp).partitions[tp].error =
      api::ItemError(ErrorCode::kNotLeader, "elsewhere");
  Produce(std::move(request));
  EXPECT_THAT(two().produces, IsEmpty());
  EXPECT_EQ(answered_.response.results[0].error.code, ErrorCode::kNotLeader);
}

// ---- ProduceStream ----

class ForwardedStreamTest : public ForwardingTest {
 protected:
  class FakeSink final : public ProduceSink {
   public:
    void Push(api::ProduceStreamResponse response) override {
      pushed.push_back(std::move(response));
    }
    void Consumed() override {}
    void Finish(absl::Status status) override { finished = std::move(status); }
    std::vector<api::ProduceStreamResponse> pushed;
    std::optional<absl::Status> finished;
  };

  void Send(int64_t id, std::vector<std::pair<std::string, int>> to) {
    api::ProduceStreamRequest request;
    request.correlation_id = id;
    request.request = Forwarded(std::move(to));
    if (stream_ == nullptr) {
      stream_ = handler_.ProduceStream(context_, request, sink_);
    }
    stream_->OnRequest(std::move(request));
    Run();
  }
  void Answer(size_t request, int64_t offset) {
    auto& call = *two().produce_streams.back();
    api::ProduceStreamResponse answer;
    answer.correlation_id = call.sent[request].correlation_id;
    answer.results = {Stored(far_, 0, offset)};
    answer.complete = true;
    call.events.on_frame(std::move(answer));
    Run();
  }

  ProduceHandler handler_{deps()};
  std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>();
  std::shared_ptr<ProduceSession> stream_;
};

TEST_F(ForwardedStreamTest, AllOfOneStreamGoToALeaderOnOneStreamInOrder) {
  for (int i = 0; i < 5; ++i) Send(i, {{"far", 0}});
  EXPECT_THAT(two().produces, IsEmpty());
  ASSERT_THAT(two().produce_streams, SizeIs(1));
  EXPECT_EQ(two().produce_streams[0]->client_id, "app");
  ASSERT_THAT(two().produce_streams[0]->sent, SizeIs(5));
  EXPECT_THAT(sink_->pushed, IsEmpty());
  for (int i = 0; i < 5; ++i) Answer(i, 10 + i);
  ASSERT_THAT(sink_->pushed, SizeIs(5));
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(sink_->pushed[i].correlation_id, i);
    EXPECT_TRUE(sink_->pushed[i].complete);
    EXPECT_EQ(sink_->pushed[i].results[0].topic, Named("far"));
    EXPECT_EQ(sink_->pushed[i].results[0].base_offset, Offset(10 + i));
  }
}

TEST_F(ForwardedStreamTest, AnswersKeepTheOrderOfAPartition) {
  Send(1, {{"far", 0}});
  Send(2, {{"far", 0}});
  Answer(1, 11);
  EXPECT_THAT(sink_->pushed, IsEmpty());
  Answer(0, 10);
  ASSERT_THAT(sink_->pushed, SizeIs(2));
  EXPECT_EQ(sink_->pushed[0].correlation_id, 1);
}

TEST_F(ForwardedStreamTest, AStreamThatBreaksLeavesWhatWasOnItUnknown) {
  Send(1, {{"far", 0}, {"a", 0}});
  Send(2, {{"far", 0}});
  two().produce_streams[0]->events.on_closed(absl::UnavailableError("reset"));
  Run();
  std::map<int64_t, ErrorCode> ends;
  for (const auto& answer : sink_->pushed) {
    for (const auto& result : answer.results) {
      if (result.topic == Named("far")) {
        ends[answer.correlation_id] = result.error.code;
      }
    }
  }
  EXPECT_THAT(ends, ElementsAre(Pair(1, ErrorCode::kRequestTimedOut),
                                Pair(2, ErrorCode::kRequestTimedOut)));
  EXPECT_FALSE(sink_->finished.has_value());
  Send(3, {{"far", 0}});
  ASSERT_THAT(two().produce_streams, SizeIs(2));
  EXPECT_THAT(two().produce_streams[1]->sent, SizeIs(1));
}

TEST_F(ForwardedStreamTest, ARefusalOfTheWholeIsToldOfEachPart) {
  Send(1, {{"far", 0}, {"far", 1}});
  auto& call = *two().produce_streams[0];
  api::ProduceStreamResponse refusal;
  refusal.correlation_id = call.sent[0].correlation_id;
  refusal.error = api::ItemError(ErrorCode::kInvalidRequest, "no");
  refusal.complete = true;
  call.events.on_frame(std::move(refusal));
  Run();
  size_t refused = 0;
  for (const auto& answer : sink_->pushed) {
    for (const auto& result : answer.results) {
      EXPECT_EQ(result.error.code, ErrorCode::kInvalidRequest);
      ++refused;
    }
  }
  EXPECT_EQ(refused, 2u);
}

TEST_F(ForwardedStreamTest, TheEndOfTheClientsStreamEndsTheLeaders) {
  Send(1, {{"far", 0}});
  EXPECT_FALSE(two().produce_streams[0]->closed);
  stream_->OnClosed();
  Run();
  EXPECT_TRUE(two().produce_streams[0]->closed);
}

}  // namespace
}  // namespace sluice
