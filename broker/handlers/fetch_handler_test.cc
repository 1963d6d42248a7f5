#include "broker/handlers/fetch_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/fake_hosts_testing.h"
#include "broker/handlers/record_decoding.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class FetchHandlerTest : public testing::Test {
 protected:
  static api::FetchPartition From(const api::TopicRef& topic, int partition,
                                  int64_t offset = 0, int32_t max_bytes = 0) {
    api::FetchPartition asked;
    asked.topic = topic;
    asked.partition = PartitionIndex(partition);
    asked.offset = Offset(offset);
    asked.max_bytes = max_bytes;
    return asked;
  }
  static api::FetchRequest Ask(std::vector<api::FetchPartition> partitions,
                               int32_t max_wait_ms = 0) {
    api::FetchRequest request;
    request.partitions = std::move(partitions);
    request.max_wait_ms = max_wait_ms;
    request.form = api::PayloadForm::kBatches;
    return request;
  }
  void Send(api::FetchRequest request) {
    answered_ = {};
    cancel_ = handler_.Fetch(context_, std::move(request), answered_.Expect());
  }
  api::FetchResponse Fetch(api::FetchRequest request) {
    Send(std::move(request));
    fake_.world.RunFor(100'000);
    EXPECT_EQ(answered_.times, 1);
    return std::move(answered_.response);
  }
  size_t Waits() { return fake_.even.waits() + fake_.odd.waits(); }
  static TestBatch Large(size_t bytes, int records = 1) {
    return {records, Codec::kNone, std::string(bytes, 'x')};
  }

  FakeBroker fake_;
  api::CallContext context_;
  FetchHandler handler_{fake_.deps()};
  Answered<api::FetchResponse> answered_;
  CancelCall cancel_;
};

TEST_F(FetchHandlerTest, ReadsAcrossShardsInTheOrderAsked) {
  fake_.Store(fake_.A(0), {2});
  fake_.Store(fake_.A(1), {3});
  fake_.Store(fake_.B(2), {1});
  const auto response =
      Fetch(Ask({From(Named("b"), 2), From(Named("a"), 1),
                 From(ById(fake_.a), 0), From(Named("b"), 0)}));
  ASSERT_THAT(response.results, SizeIs(4));
  EXPECT_EQ(response.results[0].next_offset, Offset(1));
  EXPECT_EQ(response.results[1].next_offset, Offset(3));
  EXPECT_EQ(response.results[1].high_watermark, Offset(3));
  EXPECT_EQ(response.results[1].log_start_offset, Offset(0));
  EXPECT_EQ(response.results[1].leader_epoch, LeaderEpoch(3));
  EXPECT_EQ(response.results[2].next_offset, Offset(2));
  EXPECT_EQ(response.results[2].topic, ById(fake_.a));
  EXPECT_THAT(response.results[2].batches, SizeIs(1));
  EXPECT_THAT(response.results[3].batches, IsEmpty());
  EXPECT_EQ(response.results[3].next_offset, Offset(0));
}

TEST_F(FetchHandlerTest, ReadsThousandsOfPartitionsAnsweredAtOnceOrLate) {
  fake_.cluster.CreateOn("big", {1}, {}, 9000);
  fake_.image.Store(fake_.cluster.shared());
  std::vector<api::FetchPartition> asked;
  for (int i = 0; i < 9000; ++i) asked.push_back(From(Named("big"), i));
  EXPECT_THAT(Fetch(Ask(asked)).results, SizeIs(9000));
  asked.resize(20);
  fake_.even.async_reads = fake_.odd.async_reads = true;
  EXPECT_THAT(Fetch(Ask(asked)).results, SizeIs(20));
}

TEST_F(FetchHandlerTest, MaxBytesIsSpentInTheOrderAsked) {
  for (int i = 0; i < 4; ++i) fake_.Store(fake_.A(i), Large(1000));
  api::FetchRequest request =
      Ask({From(Named("a"), 2), From(Named("a"), 1), From(Named("a"), 0),
           From(Named("a"), 3)});
  request.max_bytes = 2500;
  const auto response = Fetch(request);
  EXPECT_THAT(response.results[0].batches, SizeIs(1));
  EXPECT_THAT(response.results[1].batches, SizeIs(1));
  // Did not fit, and neither does what follows: they say where they are.
  EXPECT_THAT(response.results[2].batches, IsEmpty());
  EXPECT_EQ(response.results[2].next_offset, Offset(0));
  EXPECT_THAT(response.results[3].batches, IsEmpty());
  EXPECT_EQ(response.results[3].high_watermark, Offset(1));
}

TEST_F(FetchHandlerTest, TheFirstBatchComesWholeHoweverLarge) {
  fake_.Store(fake_.A(0), Large(50'000));
  fake_.Store(fake_.A(0), Large(10));
  api::FetchRequest request = Ask({From(Named("a"), 0, 0, 10)});
  request.max_bytes = 1;
  const auto response = Fetch(request);
  EXPECT_THAT(response.results[0].batches, SizeIs(1));
  EXPECT_EQ(response.results[0].next_offset, Offset(1));
}

TEST_F(FetchHandlerTest, SizesOutOfRangeAreClamped) {
  api::FetchRequest request = Ask({From(Named("a"), 0, 0, -5),
                                   From(Named("a"), 2, 0, INT32_MAX)});
  request.max_bytes = INT32_MAX;
  request.min_bytes = -3;
  Fetch(request);
  EXPECT_THAT(fake_.even.read_sizes,
              ElementsAre(FetchHandler::kPartitionBytesDefault,
                          FetchHandler::kMaxBytesMax));
}

// ---- Errors ----

TEST_F(FetchHandlerTest, ErrorsStayWithTheirPartitionsAndEndTheWait) {
  fake_.even.Lose(fake_.A(0), ErrorCode::kNotLeader);
  Send(Ask({From(Named("a"), 0), From(Named("nope"), 0),
            From(ById(TopicId(Uuid(7, 7))), 0), From(Named("a"), 9),
            From(Named("a"), 1), From(Named("a"), 3, -1)},
           10'000));
  fake_.Run();  // no waiting
  ASSERT_EQ(answered_.times, 1);
  const auto& results = answered_.response.results;
  EXPECT_EQ(results[0].error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(results[0].leader->leader_id, NodeId(2));
  EXPECT_EQ(results[1].error.code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(results[2].error.code, ErrorCode::kUnknownTopicId);
  EXPECT_EQ(results[3].error.code, ErrorCode::kUnknownTopicOrPartition);
  EXPECT_TRUE(results[4].error.ok());
  EXPECT_EQ(results[5].error.code, ErrorCode::kOffsetOutOfRange);
}

TEST_F(FetchHandlerTest, AnswersWhenEveryPartitionIsRefused) {
  const auto response = Fetch(Ask({From(Named("nope"), 0)}, 10'000));
  EXPECT_TRUE(answered_.status.ok());
  EXPECT_THAT(response.results, SizeIs(1));
}

TEST_F(FetchHandlerTest, RefusesWholeRequestsByName) {
  const auto refused = [&](api::FetchRequest request) {
    EXPECT_THAT(Fetch(std::move(request)).results, IsEmpty());
    return CodeOf(answered_.status);
  };
  EXPECT_EQ(refused(Ask({})), ErrorCode::kInvalidRequest);
  EXPECT_EQ(refused(Ask({From(Named("a"), 0), From(ById(fake_.a), 0)})),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(refused(Ask({From(Named("a"), 0)}, -1)),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(refused(Ask(std::vector(kPartitionsPerRequestMax + 1,
                                    From(Named("a"), 0)))),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(fake_.even.reads, 0);
}

// ---- Waiting ----

TEST_F(FetchHandlerTest, WaitsForDataOnAnyShard) {
  Send(Ask({From(Named("a"), 0), From(Named("a"), 1)}, 10'000));
  fake_.world.RunFor(1'000'000);
  EXPECT_EQ(answered_.times, 0);
  EXPECT_EQ(Waits(), 2u);
  EXPECT_EQ(handler_.waiting(), 1);
  fake_.Store(fake_.A(1));
  fake_.Run();
  ASSERT_EQ(answered_.times, 1);
  EXPECT_THAT(answered_.response.results[0].batches, IsEmpty());
  EXPECT_THAT(answered_.response.results[1].batches, SizeIs(1));
  EXPECT_EQ(Waits(), 0u);  // nothing is left behind
  EXPECT_EQ(handler_.waiting(), 0);
}

TEST_F(FetchHandlerTest, AnswersWithNothingWhenTheWaitIsOver) {
  Send(Ask({From(Named("a"), 0)}, 300));
  fake_.world.RunFor(299'000);
  EXPECT_EQ(answered_.times, 0);
  fake_.world.RunFor(2'000);
  ASSERT_EQ(answered_.times, 1);
  EXPECT_TRUE(answered_.status.ok());
  EXPECT_TRUE(answered_.response.results[0].error.ok());
  EXPECT_EQ(Waits(), 0u);
}

TEST_F(FetchHandlerTest, WaitsNoLongerThanTheCallersDeadlineOrTheLimit) {
  context_.deadline_us = 200'000;
  Send(Ask({From(Named("a"), 0)}, 10'000));
  fake_.world.RunFor(200'000 - kDeadlineMarginUs);
  EXPECT_EQ(answered_.times, 1);

  context_.deadline_us = INT64_MAX;
  Send(Ask({From(Named("a"), 0)}, INT32_MAX));
  fake_.world.RunFor(FetchHandler::kMaxWaitMsMax * 1000LL);
  EXPECT_EQ(answered_.times, 1);
}

TEST_F(FetchHandlerTest, CollectsUntilMinBytesAreThere) {
  api::FetchRequest request =
      Ask({From(Named("a"), 0), From(Named("a"), 1)}, 10'000);
  request.min_bytes = 3000;
  Send(request);
  for (int i = 0; i < 2; ++i) {
    fake_.Store(fake_.A(i), Large(1000));
    fake_.Run();
    EXPECT_EQ(answered_.times, 0);
  }
  fake_.Store(fake_.A(0), Large(1000));
  fake_.Run();
  ASSERT_EQ(answered_.times, 1);
  EXPECT_THAT(answered_.response.results[0].batches, SizeIs(2));
  EXPECT_EQ(answered_.response.results[0].next_offset, Offset(2));
  EXPECT_THAT(answered_.response.results[1].batches, SizeIs(1));
}

TEST_F(FetchHandlerTest, AnAnswerThatIsFullDoesNotWaitForMore) {
  fake_.Store(fake_.A(0), Large(900));
  fake_.Store(fake_.A(1), Large(900));
  api::FetchRequest request =
      Ask({From(Named("a"), 0), From(Named("a"), 1)}, 10'000);
  request.min_bytes = request.max_bytes = 1200;
  Send(request);
  fake_.Run();
  EXPECT_EQ(answered_.times, 1);
}

TEST_F(FetchHandlerTest, PartitionsThatHaveTheirShareDoNotSpin) {
  fake_.Store(fake_.A(0), Large(900));
  fake_.Store(fake_.A(0), Large(900));
  api::FetchRequest request = Ask({From(Named("a"), 0, 0, 500)}, 10'000);
  request.min_bytes = 5000;
  Send(request);
  fake_.Run();
  // Nothing more may come: waiting would be for nothing.
  EXPECT_EQ(answered_.times, 1);
  EXPECT_EQ(fake_.even.reads, 1);
}

TEST_F(FetchHandlerTest, LosingALeaderEndsTheWaitWithItsError) {
  Send(Ask({From(Named("a"), 0), From(Named("a"), 1)}, 10'000));
  fake_.Run();
  fake_.odd.Lose(fake_.A(1), ErrorCode::kNotLeader);
  fake_.Run();
  ASSERT_EQ(answered_.times, 1);
  EXPECT_EQ(answered_.response.results[1].error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(Waits(), 0u);
}

TEST_F(FetchHandlerTest, CancellingReleasesEverything) {
  Send(Ask({From(Named("a"), 0), From(Named("a"), 1)}, 10'000));
  fake_.Run();
  EXPECT_EQ(Waits(), 2u);
  cancel_();
  fake_.Run();
  EXPECT_EQ(answered_.times, 1);
  EXPECT_EQ(answered_.status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Waits(), 0u);
  EXPECT_EQ(handler_.waiting(), 0);
  cancel_();  // harmless
  fake_.Run();
  EXPECT_EQ(answered_.times, 1);
}

TEST_F(FetchHandlerTest, CancellingDuringAReadEndsTheCallAfterIt) {
  fake_.even.async_reads = true;
  Send(Ask({From(Named("a"), 0)}, 10'000));
  fake_.world.RunFor(500);
  cancel_();
  fake_.world.RunFor(100);
  EXPECT_EQ(answered_.times, 0);
  fake_.world.RunFor(2'000);
  EXPECT_EQ(answered_.times, 1);
}

TEST_F(FetchHandlerTest, WaitingFetchesAreBounded) {
  FetchHandler handler(fake_.deps(), 1);
  Answered<api::FetchResponse> first, second;
  const auto a =
      handler.Fetch(context_, Ask({From(Named("a"), 0)}, 1000), first.Expect());
  const auto b = handler.Fetch(context_, Ask({From(Named("a"), 0)}, 1000),
                               second.Expect());
  fake_.Run();
  EXPECT_EQ(first.times, 0);
  ASSERT_EQ(second.times, 1);
  EXPECT_EQ(CodeOf(second.status), ErrorCode::kBusy);
}

TEST_F(FetchHandlerTest, APartitionWithoutRoomForWaitersAnswersAtOnce) {
  fake_.even.waits_max = 0;
  Send(Ask({From(Named("a"), 0), From(Named("a"), 1)}, 10'000));
  fake_.Run();
  EXPECT_EQ(answered_.times, 1);
  EXPECT_TRUE(answered_.status.ok());
  EXPECT_EQ(Waits(), 0u);
}

// ---- The RECORDS form ----

TEST_F(FetchHandlerTest, RecordsBeginAtTheOffsetAskedFor) {
  fake_.Store(fake_.A(0), {5, Codec::kLz4, "v"});
  api::FetchRequest request = Ask({From(Named("a"), 0, 3)});
  request.form = api::PayloadForm::kRecords;
  const auto result = Fetch(request).results.at(0);
  EXPECT_THAT(result.batches, IsEmpty());
  ASSERT_THAT(result.records, SizeIs(2));
  EXPECT_EQ(result.records[0].offset, Offset(3));
  EXPECT_EQ(result.records[0].value, "v");
  EXPECT_EQ(result.records[0].key, std::nullopt);
  EXPECT_EQ(result.records[0].timestamp_ms, 1003);
  EXPECT_EQ(result.records[1].offset, Offset(4));
  EXPECT_EQ(result.next_offset, Offset(5));
}

TEST_F(FetchHandlerTest, DecodedBytesAreBoundedAcrossPartitions) {
  // Repetitive: small as stored, large as records.
  for (int i = 0; i < 3; ++i) {
    fake_.Store(fake_.A(i), {10, Codec::kLz4, std::string(1000, 'z')});
  }
  api::FetchRequest request = Ask(
      {From(Named("a"), 0), From(Named("a"), 1), From(Named("a"), 2)});
  request.form = api::PayloadForm::kRecords;
  request.max_bytes = 15'500;
  const auto results = Fetch(request).results;
  EXPECT_THAT(results[0].records, SizeIs(10));
  EXPECT_THAT(results[1].records, SizeIs(5));  // the rest next time
  EXPECT_EQ(results[1].next_offset, Offset(5));
  EXPECT_LE(results[2].records.size(), 1u);
  EXPECT_EQ(results[2].next_offset,
            Offset(static_cast<int64_t>(results[2].records.size())));
}

TEST_F(FetchHandlerTest, ABatchThatCannotBeDecodedIsAnError) {
  auto& partition = fake_.even.partitions[fake_.A(0)];
  fake_.Store(fake_.A(0), {3, Codec::kLz4, "value"});
  std::string bytes(partition.log[0].batch.view());
  bytes[kBatchHeaderBytes + 2] ^= 0x55;
  partition.log[0].batch = Buffer::Take(bytes);
  api::FetchRequest request = Ask({From(Named("a"), 0)});
  request.form = api::PayloadForm::kRecords;
  const auto result = Fetch(request).results.at(0);
  EXPECT_EQ(result.error.code, ErrorCode::kCorruptMessage);
  EXPECT_THAT(result.records, IsEmpty());
}

TEST(RecordDecodingTest, KeepsHeadersKeysAndNulls) {
  BatchBuilder builder({});
  const RecordHeaderView headers[] = {{"h", "1"}, {"null", std::nullopt}};
  RecordView record;
  record.key = "k";
  record.headers = headers;
  record.timestamp_ms = 7;
  ASSERT_TRUE(builder.Add(record));
  const Buffer batch = (*builder.Finish()).Publish();
  const auto decoded = DecodeRecords({batch}, Offset(0), 1000);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ASSERT_THAT(decoded->records, SizeIs(1));
  const api::Record& out = decoded->records[0];
  EXPECT_EQ(out.key, "k");
  EXPECT_EQ(out.value, std::nullopt);
  ASSERT_THAT(out.headers, SizeIs(2));
  EXPECT_EQ(out.headers[0].value, "1");
  EXPECT_EQ(out.headers[1].value, std::nullopt);
  EXPECT_EQ(decoded->stopped_at, kNoOffset);
}

TEST(RecordDecodingTest, TheFirstRecordComesHoweverLarge) {
  const Buffer batch =
      MakeStoredBatch(Offset(5), LeaderEpoch(1), {3, Codec::kNone, "large"});
  const auto decoded = DecodeRecords({batch}, Offset(6), 1);
  ASSERT_TRUE(decoded.ok());
  EXPECT_THAT(decoded->records, SizeIs(1));
  EXPECT_EQ(decoded->stopped_at, Offset(7));
}

}  // namespace
}  // namespace sluice
