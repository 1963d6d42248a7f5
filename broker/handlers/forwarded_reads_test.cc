// Reads, offsets, trims and subscriptions that are handed on to the brokers that
// lead (Route::kForward).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/subscribe_upstream.h"
#include "broker/handlers/delete_records_handler.h"
#include "broker/handlers/epoch_end_handler.h"
#include "broker/handlers/fetch_handler.h"
#include "broker/handlers/forwarding_testing.h"
#include "broker/handlers/list_offsets_handler.h"
#include "broker/handlers/subscribe_handler.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

// ---- Offsets, epochs, trims ----

TEST_F(ForwardingTest, ListOffsetsAsksTheLeaders) {
  ListOffsetsHandler handler(deps());
  api::ListOffsetsRequest request;
  request.route = api::Route::kForward;
  for (const auto& [topic, partition] :
       {std::pair("far", 1), std::pair("a", 0), std::pair("nope", 0)}) {
    auto& asked = request.partitions.emplace_back();
    asked.topic = Named(topic);
    asked.partition = PartitionIndex(partition);
    asked.position = api::OffsetPosition::kLatest;
  }
  Answered<api::ListOffsetsResponse> answered;
  handler.ListOffsets(context_, request, answered.Expect());
  Run();
  ASSERT_THAT(two().lists, SizeIs(1));
  EXPECT_EQ(two().lists[0].client_id, "app");
  EXPECT_EQ(two().lists[0].request.route, api::Route::kDirect);
  EXPECT_EQ(answered.times, 0);
  api::ListOffsetsResult told;
  told.topic = ById(far_);
  told.partition = PartitionIndex(1);
  told.offset = Offset(42);
  two().lists[0].reply(api::ListOffsetsResponse{{told}});
  Run();
  ASSERT_EQ(answered.times, 1);
  EXPECT_EQ(answered.response.results[0].offset, Offset(42));
  EXPECT_EQ(answered.response.results[0].topic, Named("far"));
  EXPECT_EQ(answered.response.results[1].offset, Offset(0));
  EXPECT_EQ(answered.response.results[2].error.code,
            ErrorCode::kUnknownTopicOrPartition);
}

TEST_F(ForwardingTest, ALeaderThatDoesNotAnswerAReadIsNotAvailable) {
  EpochEndHandler handler(deps());
  api::OffsetForLeaderEpochRequest request;
  request.route = api::Route::kForward;
  auto& asked = request.partitions.emplace_back();
  asked.topic = Named("far");
  asked.partition = PartitionIndex(0);
  asked.leader_epoch = LeaderEpoch(1);
  Answered<api::OffsetForLeaderEpochResponse> answered;
  handler.OffsetForLeaderEpoch(context_, request, answered.Expect());
  Run();
  ASSERT_THAT(two().epochs, SizeIs(1));
  EXPECT_EQ(two().epochs[0].client_id, "app");
  two().epochs[0].reply(absl::DeadlineExceededError("no answer"));
  Run();
  EXPECT_EQ(answered.response.results[0].error.code,
            ErrorCode::kLeaderNotAvailable);
}

TEST_F(ForwardingTest, DeleteRecordsMayHaveBeenCarriedOut) {
  DeleteRecordsHandler handler(deps());
  api::DeleteRecordsRequest request;
  request.route = api::Route::kForward;
  request.timeout_ms = 5'000;
  auto& asked = request.partitions.emplace_back();
  asked.topic = Named("far");
  asked.partition = PartitionIndex(0);
  asked.before_offset = Offset(3);
  Answered<api::DeleteRecordsResponse> answered;
  handler.DeleteRecords(context_, request, answered.Expect());
  Run();
  ASSERT_THAT(two().deletes, SizeIs(1));
  EXPECT_EQ(two().deletes[0].client_id, "app");
  EXPECT_EQ(two().deletes[0].request.partitions[0].before_offset, Offset(3));
  EXPECT_LE(two().deletes[0].request.timeout_ms, 5'000);
  two().deletes[0].reply(absl::UnavailableError("reset"));
  Run();
  EXPECT_EQ(answered.response.results[0].error.code,
            ErrorCode::kRequestTimedOut);
}

// ---- Fetch ----

class ForwardedFetchTest : public ForwardingTest {
 protected:
  static api::FetchPartition From(const std::string& topic, int partition) {
    api::FetchPartition asked;
    asked.topic = Named(topic);
    asked.partition = PartitionIndex(partition);
    asked.offset = Offset(0);
    return asked;
  }
  void Fetch(std::vector<api::FetchPartition> partitions, int32_t wait_ms) {
    answered_ = {};
    api::FetchRequest request;
    request.route = api::Route::kForward;
    request.form = api::PayloadForm::kBatches;
    request.partitions = std::move(partitions);
    request.max_wait_ms = wait_ms;
    cancel_ = handler_.Fetch(context_, std::move(request), answered_.Expect());
    Run();
  }
  api::FetchResponse Told(const TopicId& topic, int partition, int records) {
    api::FetchResponse response;
    auto& result = response.results.emplace_back();
    result.topic = ById(topic);
    result.partition = PartitionIndex(partition);
    result.high_watermark = Offset(records);
    result.next_offset = Offset(records);
    if (records > 0) {
      result.batches = {MakeBatch({records}).Publish()};
    }
    return response;
  }

  FetchHandler handler_{deps(), 100, 32 << 20};
  Answered<api::FetchResponse> answered_;
  CancelCall cancel_;
};

TEST_F(ForwardedFetchTest, WhatOneLeaderHasIsAskedOfItWithTheWait) {
  Fetch({From("far", 0)}, 500);
  ASSERT_THAT(two().fetches, SizeIs(1));
  EXPECT_EQ(two().fetches[0].client_id, "app");
  EXPECT_EQ(two().fetches[0].request.max_wait_ms, 500);
  EXPECT_EQ(two().fetches[0].request.route, api::Route::kDirect);
  EXPECT_GT(handler_.memory().taken(), 0);
  two().fetches[0].reply(Told(far_, 0, 3));
  Run();
  ASSERT_EQ(answered_.times, 1);
  EXPECT_EQ(answered_.response.results[0].topic, Named("far"));
  EXPECT_EQ(answered_.response.results[0].next_offset, Offset(3));
  EXPECT_THAT(answered_.response.results[0].batches, SizeIs(1));
  EXPECT_GT(handler_.memory().taken(), 0);  // until it is on the wire
  answered_.response.held.reset();
  EXPECT_EQ(handler_.memory().taken(), 0);
}

TEST_F(ForwardedFetchTest, WhatIsThereAnywhereIsGivenAtOnce) {
  fake_.Store(fake_.A(0), {2});
  Fetch({From("far", 0), From("a", 0)}, 500);
  EXPECT_EQ(two().fetches[0].request.max_wait_ms, 0);
  EXPECT_EQ(answered_.times, 0);
  two().fetches[0].reply(Told(far_, 0, 0));
  Run();
  ASSERT_EQ(answered_.times, 1);
  EXPECT_THAT(answered_.response.results[0].batches, IsEmpty());
  EXPECT_EQ(answered_.response.results[1].next_offset, Offset(2));
}

TEST_F(ForwardedFetchTest, WhoeverHasSomethingFirstEndsTheWaiting) {
  Fetch({From("far", 0), From("a", 0), From("farther", 0)}, 500);
  two().fetches[0].reply(Told(far_, 0, 0));
  three().fetches[0].reply(Told(farther_, 0, 0));
  Run();
  EXPECT_EQ(answered_.times, 0);
  ASSERT_THAT(two().fetches, SizeIs(2));
  EXPECT_GT(two().fetches[1].request.max_wait_ms, 400);
  three().fetches[1].reply(Told(farther_, 0, 1));
  Run();
  ASSERT_EQ(answered_.times, 1);
  EXPECT_EQ(answered_.response.results[2].next_offset, Offset(1));
  EXPECT_TRUE(answered_.response.results[0].error.ok());
  EXPECT_EQ(answered_.response.results[1].high_watermark, Offset(0));
  two().fetches[1].reply(Told(far_, 0, 1));  // late: nobody's
  Run();
  EXPECT_EQ(answered_.times, 1);
}

TEST_F(ForwardedFetchTest, ALostLeaderIsAnErrorOfItsPartitions) {
  fake_.Store(fake_.A(0), {2});
  Fetch({From("far", 0), From("a", 0)}, 500);
  two().fetches[0].reply(absl::UnavailableError("refused"));
  Run();
  EXPECT_EQ(answered_.response.results[0].error.code,
            ErrorCode::kLeaderNotAvailable);
  EXPECT_EQ(answered_.response.results[1].next_offset, Offset(2));
}

TEST_F(ForwardedFetchTest, MemoryIsTakenBeforehandAndBoundsWhatWaits) {
  std::vector<CancelCall> waiting;
  for (int i = 0; i < 32; ++i) {
    Fetch({From("far", 0)}, 60'000);
    EXPECT_EQ(answered_.times, 0);
    waiting.push_back(std::move(cancel_));
  }
  Fetch({From("far", 0)}, 60'000);
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kBusy);
  EXPECT_GE(handler_.memory().refused(), 1);
  answered_ = {};
  waiting[0]();
  Run();
  Fetch({From("far", 0)}, 60'000);
  EXPECT_TRUE(answered_.status.ok());
  for (auto& cancel : waiting) cancel();
  Run();
}

TEST_F(ForwardedFetchTest, APartitionNamedTwiceIsRefused) {
  Fetch({From("far", 0), From("far", 0)}, 0);
  EXPECT_EQ(CodeOf(answered_.status), ErrorCode::kInvalidRequest);
}

// ---- Subscribe ----

class ForwardedSubscribeTest : public ForwardingTest {
 protected:
  class FakeSink final : public SubscribeSink {
   public:
    void Push(api::SubscribeResponse response) override {
      pushed.push_back(std::move(response));
    }
    void Finish(absl::Status status) override { finished = std::move(status); }
    std::vector<api::SubscribeResponse> pushed;
    std::optional<absl::Status> finished;
  };

  void Send(std::vector<std::pair<std::string, int>> partitions,
            int64_t credit) {
    api::SubscribeRequest request;
    request.route = api::Route::kForward;
    request.form = api::PayloadForm::kBatches;
    request.credit_bytes = credit;
    for (const auto& [topic, partition] : partitions) {
      auto& asked = request.partitions.emplace_back();
      asked.topic = Named(topic);
      asked.partition = PartitionIndex(partition);
      asked.start = Offset(topic == "far" ? 5 : 0);
    }
    stream_->OnRequest(std::move(request));
    Run();
  }
  api::SubscribeResponse Pushed(int partition, int64_t next, int64_t bytes) {
    api::SubscribeResponse push;
    push.result.topic = ById(far_);
    push.result.partition = PartitionIndex(partition);
    push.result.next_offset = Offset(next);
    push.result.batches = {Buffer::Take(std::string(bytes, 'x'))};
    push.charged_bytes = bytes;
    return push;
  }

  SubscribeHandler handler_{deps(), 2000, 8 << 20};
  std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>();
  std::shared_ptr<SubscribeSession> stream_ =
      handler_.Subscribe(context_, sink_);
};

TEST_F(ForwardedSubscribeTest, IsASubscriptionAtTheLeaderWithAWindow) {
  Send({{"far", 1}}, 1 << 20);
  ASSERT_THAT(two().subscriptions, SizeIs(1));
  EXPECT_EQ(two().subscriptions[0]->client_id, "app");
  const auto& sent = two().subscriptions[0]->sent;
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_EQ(sent[0].credit_bytes, SubscribeUpstream::kWindowBytesMax);
  EXPECT_EQ(sent[0].route, api::Route::kDirect);
  EXPECT_EQ(sent[0].partitions[0].topic, ById(far_));
  EXPECT_EQ(std::get<Offset>(sent[0].partitions[0].start), Offset(5));

  two().subscriptions[0]->events.on_frame(Pushed(1, 9, 1000));
  Run();
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.topic, Named("far"));
  EXPECT_EQ(sink_->pushed[0].result.next_offset, Offset(9));
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_EQ(sent[1].credit_bytes, 1000);  // what was passed on
}

TEST_F(ForwardedSubscribeTest, WhatHasNoCreditWaitsAndGrantsNothing) {
  Send({{"far", 1}}, 0);
  two().subscriptions[0]->events.on_frame(Pushed(1, 9, 1000));
  Run();
  EXPECT_THAT(sink_->pushed, IsEmpty());
  EXPECT_THAT(two().subscriptions[0]->sent, SizeIs(1));
  Send({}, 1);
  EXPECT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_THAT(two().subscriptions[0]->sent, SizeIs(2));
}

TEST_F(ForwardedSubscribeTest, TakesTurnsWithWhatIsReadHere) {
  fake_.Store(fake_.A(0), {8});
  Send({{"far", 1}, {"a", 0}}, 1 << 20);
  two().subscriptions[0]->events.on_frame(Pushed(1, 9, 1000));
  Run();
  ASSERT_THAT(sink_->pushed, SizeIs(2));
}

TEST_F(ForwardedSubscribeTest, AnErrorOfTheLeaderEndsThePartition) {
  Send({{"far", 0}, {"far", 1}}, 1 << 20);
  api::SubscribeResponse moved;
  moved.result.topic = ById(far_);
  moved.result.partition = PartitionIndex(0);
  moved.result.error = api::ItemError(ErrorCode::kNotLeader, "moved");
  two().subscriptions[0]->events.on_frame(std::move(moved));
  Run();
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(sink_->pushed[0].result.topic, Named("far"));
  two().subscriptions[0]->events.on_frame(Pushed(1, 9, 10));
  Run();
  EXPECT_THAT(sink_->pushed, SizeIs(2));
}

TEST_F(ForwardedSubscribeTest, ALostLeaderEndsItsPartitionsAlone) {
  Send({{"far", 0}, {"far", 1}, {"a", 0}}, 1 << 20);
  two().subscriptions[0]->events.on_closed(absl::UnavailableError("reset"));
  Run();
  ASSERT_THAT(sink_->pushed, SizeIs(2));
  for (const auto& push : sink_->pushed) {
    EXPECT_EQ(push.result.error.code, ErrorCode::kLeaderNotAvailable);
  }
  EXPECT_FALSE(sink_->finished.has_value());
  fake_.Store(fake_.A(0), {8});
  Run();
  EXPECT_THAT(sink_->pushed, SizeIs(3));
}

TEST_F(ForwardedSubscribeTest, OneThatBeginsAnewGetsAStreamOfItsOwn) {
  Send({{"far", 1}}, 1 << 20);
  Send({{"far", 1}}, 0);
  ASSERT_THAT(two().subscriptions, SizeIs(2));
  // The old one's are nobody's: it has no other partition, and is let go of.
  EXPECT_TRUE(two().subscriptions[0]->closed);
  two().subscriptions[0]->events.on_frame(Pushed(1, 7, 10));
  Run();
  EXPECT_THAT(sink_->pushed, IsEmpty());
  two().subscriptions[1]->events.on_frame(Pushed(1, 6, 10));
  Run();
  EXPECT_THAT(sink_->pushed, SizeIs(1));
}

TEST_F(ForwardedSubscribeTest, TheEndGivesAllMemoryBack) {
  Send({{"far", 1}, {"farther", 0}}, 0);
  two().subscriptions[0]->events.on_frame(Pushed(1, 9, 1000));
  Run();
  EXPECT_GT(handler_.memory().taken(), 0);
  stream_->OnClosed();
  Run();
  EXPECT_EQ(handler_.memory().taken(), 0);
  EXPECT_TRUE(two().subscriptions[0]->closed);
  EXPECT_TRUE(three().subscriptions[0]->closed);
}

// Seed 833: a stream had nothing of a partition for as long as others had all
// that windows might have.
TEST_F(ForwardedSubscribeTest, WindowsShrinkSoThatNobodyGoesWithout) {
  // Each a stream of its own at broker 2.
  std::vector<std::shared_ptr<SubscribeSession>> streams;
  std::vector<std::shared_ptr<FakeSink>> sinks;
  const auto open_one = [&] {
    sinks.push_back(std::make_shared<FakeSink>());
    streams.push_back(handler_.Subscribe(context_, sinks.back()));
    stream_.swap(streams.back());
    Send({{"far", 1}}, 100);
    stream_.swap(streams.back());
  };
  for (int i = 0; i < 60; ++i) open_one();
  ASSERT_THAT(two().subscriptions, SizeIs(60));
  const auto window = [&](int i) {
    return two().subscriptions[i]->sent[0].credit_bytes;
  };
  EXPECT_EQ(window(0), SubscribeUpstream::kWindowBytesMax);
  for (int i = 1; i < 60; ++i) EXPECT_LT(window(i), window(i - 1)) << i;
  const int64_t half = 4 << 20;
  EXPECT_LT(handler_.memory().taken(), half);

  while (sinks.back()->pushed.empty()) {
    ASSERT_THAT(sinks, SizeIs(testing::Lt(2000)));
    open_one();
  }
  EXPECT_EQ(sinks.back()->pushed[0].result.error.code, ErrorCode::kBusy);
  EXPECT_GT(sinks.back()->pushed[0].result.error.retry_after_ms, 0);
  EXPECT_LE(handler_.memory().taken(), 6 << 20) << "a quarter is for pushes";
}

TEST_F(ForwardedSubscribeTest, AWindowGrowsWhereThereIsRoomAgain) {
  std::vector<std::shared_ptr<SubscribeSession>> streams;
  for (int i = 0; i < 60; ++i) {
    streams.push_back(
        handler_.Subscribe(context_, std::make_shared<FakeSink>()));
    stream_.swap(streams.back());
    Send({{"far", 1}}, 10'000);
    stream_.swap(streams.back());
  }
  const auto& last = two().subscriptions.back();
  const int64_t small = last->sent[0].credit_bytes;
  ASSERT_LT(small, 10'000);
  const auto pass_one = [&] {
    last->events.on_frame(Pushed(1, 6, 10));
    Run();
    return last->sent.back().credit_bytes - 10;
  };
  EXPECT_EQ(pass_one(), 0) << "there is none";
  for (int i = 0; i < 59; ++i) streams[i]->OnClosed();
  Run();
  EXPECT_EQ(pass_one(), small);
  EXPECT_EQ(pass_one(), 2 * small);
  int64_t window = 4 * small;
  while (const int64_t more = pass_one()) window += more;
  EXPECT_EQ(window, SubscribeUpstream::kWindowBytesMax);
}

}  // namespace
}  // namespace sluice
