#include "broker/handlers/subscribe_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/subscribe_stream.h"
#include "broker/handlers/subscribe_testing.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST_F(SubscribeHandlerTest, PushesWhatIsThereThenWhatComes) {
  fake_.Store(fake_.A(0), {2});
  Send({Of(Named("a"), 0)}, kPlenty);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 2)));
  EXPECT_EQ(Waits(), 1u);
  fake_.Store(fake_.A(0), {3});
  fake_.Run();
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.topic, Named("a"));
  EXPECT_EQ(sink_->pushed[0].result.high_watermark, Offset(5));
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 5)));
}

TEST_F(SubscribeHandlerTest, MinusOneIsEveryPartitionOfTheTopic) {
  for (int i = 0; i < 4; ++i) fake_.Store(fake_.B(i));
  fake_.Store(fake_.A(0));
  Send({Of(ById(fake_.b), -1)}, kPlenty);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 1), Pairs(1, 1), Pairs(2, 1),
                                    Pairs(3, 1)));
  Stop({Of(ById(fake_.b), -1)});
  EXPECT_EQ(Waits(), 0u);
}

TEST_F(SubscribeHandlerTest, AFollowerPushesToWhoHasARack) {
  fake_.Store(fake_.A(0), {2});
  fake_.partition(fake_.A(0)).follower = true;
  SendFrom("north", {Of(Named("a"), 0, Offset(0))});
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 2)));
  fake_.Store(fake_.A(0), {3});
  fake_.Run();
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 5)));
}

TEST_F(SubscribeHandlerTest, AFollowerDoesNotSayWhereALogBegins) {
  fake_.Store(fake_.A(0), {2});
  fake_.partition(fake_.A(0)).follower = true;
  SendFrom("north", {Of(Named("a"), 0)});
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.error.code, ErrorCode::kNotLeader);
}

TEST_F(SubscribeHandlerTest, AFollowerThatDoesNotHaveItEndsThePartition) {
  fake_.Store(fake_.A(0), {2});
  fake_.partition(fake_.A(0)).follower = true;
  fake_.partition(fake_.A(0)).visible = Offset(1);
  fake_.partition(fake_.A(0)).offset_available = false;
  SendFrom("north", {Of(Named("a"), 0, Offset(2))});
  fake_.world.RunFor(10 * SubscribeStream::kRetryUs);
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.error.code,
            ErrorCode::kOffsetNotAvailable);
  EXPECT_EQ(Waits(), 0u);
}

TEST_F(SubscribeHandlerTest, ALeaderNamesANearerReplicaAndEndsThePartition) {
  fake_.Store(fake_.A(0), {2});
  fake_.partition(fake_.A(0)).nearer = PreferredReplica{NodeId(3), {"b3", 7}};
  SendFrom("north", {Of(Named("a"), 0, Offset(1))});
  fake_.Store(fake_.A(0), {3});
  fake_.Run();
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  const api::FetchResult& told = sink_->pushed[0].result;
  EXPECT_TRUE(told.error.ok());
  EXPECT_EQ(told.topic, Named("a"));
  EXPECT_EQ(told.preferred_replica, NodeId(3));
  EXPECT_EQ(told.preferred_endpoint, (api::Endpoint{"b3", 7}));
  EXPECT_EQ(told.next_offset, Offset(1));
  EXPECT_THAT(told.batches, IsEmpty());
  EXPECT_EQ(sink_->pushed[0].charged_bytes, 0);
  EXPECT_EQ(Waits(), 0u);
  EXPECT_FALSE(sink_->finished.has_value());
}

// "From the newest on" is for the leader to find out; where that is goes with
// the name.
TEST_F(SubscribeHandlerTest, WhereToBeginAtTheNearerReplicaIsTold) {
  fake_.Store(fake_.A(0), {2});
  fake_.partition(fake_.A(0)).nearer = PreferredReplica{NodeId(3), {"b3", 7}};
  SendFrom("north", {Of(Named("a"), 0, api::StartPosition::kLatest)});
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.preferred_replica, NodeId(3));
  EXPECT_EQ(sink_->pushed[0].result.next_offset, Offset(2));
}

TEST_F(SubscribeHandlerTest, AReplicaThatComesNearIsNamedWithTheNextRecord) {
  fake_.Store(fake_.A(0), {2});
  SendFrom("north", {Of(Named("a"), 0, Offset(0))});
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 2)));
  fake_.partition(fake_.A(0)).nearer = PreferredReplica{NodeId(3), {"b3", 7}};
  fake_.Store(fake_.A(0), {3});
  fake_.Run();
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.preferred_replica, NodeId(3));
  EXPECT_EQ(sink_->pushed[0].result.next_offset, Offset(2));
}

TEST_F(SubscribeHandlerTest, WhoIsServedThroughThisBrokerIsSentNowhere) {
  fake_.Store(fake_.A(0), {2});
  fake_.partition(fake_.A(0)).nearer = PreferredReplica{NodeId(3), {"b3", 7}};
  SendFrom("north", {Of(Named("a"), 0, Offset(0))}, api::Route::kForward);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 2)));
  fake_.Store(fake_.A(0), {3});
  fake_.Run();
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 5)));
}

TEST_F(SubscribeHandlerTest, ARackThatIsTooLongEndsTheStream) {
  SendFrom(std::string(kRackBytesMax + 1, 'r'), {});
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_EQ(CodeOf(*sink_->finished), ErrorCode::kInvalidRequest);
}

TEST_F(SubscribeHandlerTest, StartsAtTheEarliestTheLatestOrAnOffset) {
  for (int i = 0; i < 3; ++i) {
    fake_.Store(fake_.A(i));
    fake_.Store(fake_.A(i));
  }
  Send({Of(Named("a"), 0), Of(Named("a"), 1, api::StartPosition::kLatest),
        Of(Named("a"), 2, Offset(1))},
       kPlenty);
  EXPECT_THAT(Pushes(),
              testing::UnorderedElementsAre(Pairs(0, 2), Pairs(2, 2)));
  fake_.Store(fake_.A(1));
  fake_.Run();
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(1, 3)));
}

TEST_F(SubscribeHandlerTest, PushesOnlyWhileCreditIsLeft) {
  const TestBatch large{1, Codec::kNone, std::string(1000, 'x')};
  for (int i = 0; i < 3; ++i) fake_.Store(fake_.A(0), large);
  Send({Of(Named("a"), 0, Offset(0))}, 0);
  EXPECT_THAT(Pushes(), IsEmpty());
  Send({}, 1);  // a batch is pushed while any credit is left
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  const int64_t charged = sink_->pushed[0].charged_bytes;
  EXPECT_GT(charged, 1000);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 1)));
  Send({}, charged - 1);  // the balance is 0 now
  EXPECT_THAT(Pushes(), IsEmpty());
  Send({}, 1);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 2)));
}

TEST_F(SubscribeHandlerTest, PartitionsWithDataTakeTurns) {
  const TestBatch large{1, Codec::kNone, std::string(600'000, 'x')};
  for (int i = 0; i < 2; ++i) {
    fake_.Store(fake_.A(0), large);
    fake_.Store(fake_.A(1), large);
  }
  Send({Of(Named("a"), 0, Offset(0)), Of(Named("a"), 1, Offset(0))}, kPlenty);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 1), Pairs(1, 1)));
  stream_->OnDrained();
  fake_.Run();
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 2), Pairs(1, 2)));
}

TEST_F(SubscribeHandlerTest, AddingAgainRestartsAtTheNewPosition) {
  for (int i = 0; i < 3; ++i) fake_.Store(fake_.A(0));
  Send({Of(Named("a"), 0)}, kPlenty);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 3)));
  Send({Of(Named("a"), 0, Offset(2))}, 0);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 3)));
  EXPECT_EQ(Waits(), 1u);  // the old one is gone
}

// Only credit, up to 64 MiB a stream, bounded it once.
TEST_F(SubscribeHandlerTest, WhatAClientDoesNotReadWaitsInTheLogNotInMemory) {
  const std::string mebibyte(1 << 20, 'v');
  for (int i = 0; i < 10; ++i) {
    fake_.Store(fake_.A(0), {1, Codec::kNone, mebibyte});
  }
  Send({Of(Named("a"), 0)}, 64 << 20);
  EXPECT_THAT(Pushes(), SizeIs(1));
  fake_.Run();
  EXPECT_THAT(Pushes(), IsEmpty());
  EXPECT_GT(handler_.memory().taken(), 1 << 20);
  for (int i = 0; i < 10; ++i) {
    stream_->OnDrained();
    fake_.Run();
    EXPECT_THAT(Pushes(), SizeIs(i < 9 ? 1 : 0));
  }
  EXPECT_EQ(handler_.memory().taken(), 0);
}

TEST_F(SubscribeHandlerTest, AStoppedPartitionIsPushedNoMore) {
  Send({Of(Named("a"), 0), Of(Named("a"), 1)}, kPlenty);
  Stop({Of(Named("a"), 0), Of(Named("a"), 2), Of(Named("nope"), 0)});
  fake_.Store(fake_.A(0));
  fake_.Store(fake_.A(1));
  fake_.Run();
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(1, 1)));
  EXPECT_EQ(Waits(), 1u);
}

TEST_F(SubscribeHandlerTest, AStopDuringAReadDropsWhatItBrings) {
  fake_.even.async_reads = true;
  fake_.Store(fake_.A(0));
  api::SubscribeRequest request;
  request.partitions = {Of(Named("a"), 0, Offset(0))};
  request.credit_bytes = kPlenty;
  request.form = api::PayloadForm::kBatches;
  stream_->OnRequest(request);
  fake_.world.RunFor(500);
  Stop({Of(Named("a"), 0)});
  fake_.world.RunFor(5'000);
  EXPECT_THAT(Pushes(), IsEmpty());
  EXPECT_EQ(Waits(), 0u);
}

TEST_F(SubscribeHandlerTest, AnErrorEndsOnePartitionNotTheStream) {
  Send({Of(Named("a"), 0), Of(Named("a"), 1)}, kPlenty);
  fake_.even.Lose(fake_.A(0), ErrorCode::kNotLeader);
  fake_.Run();
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_EQ(sink_->pushed[0].result.error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(sink_->pushed[0].result.leader->leader_id, NodeId(2));
  EXPECT_EQ(sink_->pushed[0].result.partition, PartitionIndex(0));
  EXPECT_EQ(sink_->pushed[0].charged_bytes, 0);
  sink_->pushed.clear();
  fake_.Store(fake_.A(1));
  fake_.Run();
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(1, 1)));
  EXPECT_FALSE(sink_->finished.has_value());
}

TEST_F(SubscribeHandlerTest, UnknownPartitionsAreToldByName) {
  Send({Of(Named("nope"), -1), Of(ById(TopicId(Uuid(7, 7))), 0),
        Of(Named("a"), 9), Of(Named("a"), 0, Offset(100))},
       kPlenty);
  ASSERT_THAT(sink_->pushed, SizeIs(4));
  EXPECT_EQ(sink_->pushed[0].result.error.code,
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(sink_->pushed[0].result.topic, Named("nope"));
  EXPECT_EQ(sink_->pushed[1].result.error.code, ErrorCode::kUnknownTopicId);
  EXPECT_EQ(sink_->pushed[2].result.error.code,
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(sink_->pushed[3].result.error.code, ErrorCode::kOffsetOutOfRange);
}

TEST_F(SubscribeHandlerTest, ANewLeadersIgnoranceIsWaitedOut) {  // F23
  auto& partition = fake_.even.partitions[fake_.A(0)];
  fake_.Store(fake_.A(0), {5});
  partition.visible = Offset(0);
  partition.offset_available = false;
  Send({Of(Named("a"), 0, Offset(5)),
        Of(Named("a"), 2, api::StartPosition::kLatest)},
       kPlenty);
  fake_.even.partitions[fake_.A(2)].offset_available = false;
  fake_.world.RunFor(500'000);
  EXPECT_THAT(Pushes(), IsEmpty());
  partition.visible = Offset(5);
  partition.offset_available = true;
  fake_.even.partitions[fake_.A(2)].offset_available = true;
  fake_.world.RunFor(SubscribeStream::kRetryUs + 1000);
  fake_.Store(fake_.A(0));
  fake_.Store(fake_.A(2));
  fake_.Run();
  EXPECT_THAT(Pushes(),
              testing::UnorderedElementsAre(Pairs(0, 6), Pairs(2, 1)));
}

TEST_F(SubscribeHandlerTest, WithoutRoomForWaitersItLooksAgain) {
  fake_.even.waits_max = 0;
  Send({Of(Named("a"), 0)}, kPlenty);
  fake_.Store(fake_.A(0));
  fake_.world.RunFor(SubscribeStream::kRetryUs + 1000);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 1)));
}

TEST_F(SubscribeHandlerTest, RecordsBeginAtTheOffsetAndAreChargedDecoded) {
  fake_.Store(fake_.A(0), {10, Codec::kLz4, std::string(1000, 'z')});
  Send({Of(Named("a"), 0, Offset(4))}, kPlenty, api::PayloadForm::kRecords);
  ASSERT_THAT(sink_->pushed, SizeIs(1));
  EXPECT_THAT(sink_->pushed[0].result.batches, IsEmpty());
  EXPECT_THAT(sink_->pushed[0].result.records, SizeIs(6));
  EXPECT_EQ(sink_->pushed[0].result.records[0].offset, Offset(4));
  EXPECT_GE(sink_->pushed[0].charged_bytes, 6000);
}

TEST_F(SubscribeHandlerTest, NegativeCreditEndsTheStream) {
  Send({Of(Named("a"), 0)}, kPlenty);
  Send({}, -1);
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_EQ(CodeOf(*sink_->finished), ErrorCode::kInvalidRequest);
  EXPECT_EQ(Waits(), 0u);
  Send({Of(Named("a"), 0)}, 1);  // nothing more happens
  EXPECT_EQ(Waits(), 0u);
}

TEST_F(SubscribeHandlerTest, CreditIsNotRememberedBeyondItsBound) {
  Send({}, INT64_MAX);
  Send({}, INT64_MAX);  // no overflow
  fake_.Store(fake_.A(0));
  Send({Of(Named("a"), 0)}, INT64_MAX);
  EXPECT_THAT(Pushes(), ElementsAre(Pairs(0, 1)));
}

TEST_F(SubscribeHandlerTest, PartitionsOfAStreamAreBounded) {
  fake_.cluster.CreateOn(
      "big", {1}, {}, static_cast<int>(SubscribeStream::kPartitionsMax) - 1);
  fake_.image.Store(fake_.cluster.shared());
  Send({Of(Named("big"), -1), Of(Named("a"), -1), Of(Named("big"), 5)}, 0);
  // One of "a" fits; one that is added again needs no more room.
  ASSERT_THAT(sink_->pushed, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(sink_->pushed[i].result.topic, Named("a"));
    EXPECT_EQ(sink_->pushed[i].result.partition, PartitionIndex(i + 1));
    EXPECT_EQ(sink_->pushed[i].result.error.code, ErrorCode::kInvalidRequest);
  }
}

TEST_F(SubscribeHandlerTest, AFloodOfMessagesEndsTheStream) {
  for (int i = 0; i <= SubscribeStream::kRequestsPendingMax; ++i) {
    stream_->OnRequest(api::SubscribeRequest());
  }
  fake_.Run();
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_EQ(CodeOf(*sink_->finished), ErrorCode::kBusy);
}

TEST_F(SubscribeHandlerTest, ClosingReleasesEverythingAndFinishesOnce) {
  Send({Of(Named("a"), -1)}, kPlenty);
  EXPECT_EQ(Waits(), 4u);
  EXPECT_EQ(handler_.streams(), 1);
  stream_->OnClosed();
  stream_->OnClosed();
  fake_.Run();
  EXPECT_EQ(Waits(), 0u);
  EXPECT_EQ(handler_.streams(), 0);
  ASSERT_TRUE(sink_->finished.has_value());
  EXPECT_TRUE(sink_->finished->ok());
}

TEST_F(SubscribeHandlerTest, WhoDoesNotReadWhileOthersWaitIsCutOff) {
  constexpr int64_t kBytes = SubscribeMemory::kTightPushBytes;
  SubscribeHandler handler(fake_.deps(), 2, kBytes);
  fake_.Store(fake_.A(0));
  api::SubscribeRequest request;
  request.partitions = {Of(Named("a"), 0)};
  request.credit_bytes = kBytes;
  request.form = api::PayloadForm::kBatches;
  const auto stalled = std::make_shared<FakeSink>();
  const auto waiting = std::make_shared<FakeSink>();
  const auto first = handler.Subscribe(api::CallContext(), stalled);
  first->OnRequest(request);
  fake_.Run();
  ASSERT_THAT(stalled->pushed, SizeIs(1));
  const auto second = handler.Subscribe(api::CallContext(), waiting);
  second->OnRequest(request);
  fake_.Run();
  EXPECT_THAT(waiting->pushed, SizeIs(0));

  fake_.world.RunFor(SubscribeMemory::kStalledUs);

  ASSERT_TRUE(stalled->finished.has_value());
  EXPECT_EQ(CodeOf(*stalled->finished), ErrorCode::kBusy);
  EXPECT_TRUE(stalled->cut);
  EXPECT_THAT(waiting->pushed, SizeIs(1));
  for (const auto& stream : {first, second}) stream->OnClosed();
  fake_.Run();
  EXPECT_FALSE(waiting->cut);
}

TEST_F(SubscribeHandlerTest, StreamsAreBounded) {
  SubscribeHandler handler(fake_.deps(), 1);
  const auto first =
      handler.Subscribe(api::CallContext(), std::make_shared<FakeSink>());
  auto sink = std::make_shared<FakeSink>();
  const auto second = handler.Subscribe(api::CallContext(), sink);
  second->OnRequest(api::SubscribeRequest());
  fake_.Run();
  ASSERT_TRUE(sink->finished.has_value());
  EXPECT_EQ(CodeOf(*sink->finished), ErrorCode::kBusy);
  second->OnClosed();
  fake_.Run();
}

}  // namespace
}  // namespace sluice
