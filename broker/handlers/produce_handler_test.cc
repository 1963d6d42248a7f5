#include "broker/handlers/produce_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/handlers/fake_hosts_testing.h"
#include "broker/handlers/topic_resolver.h"
#include "common/base/murmur2.h"
#include "storage/record_reader.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

api::Record Keyed(std::string key, std::string value = "v") {
  api::Record record;
  record.key = std::move(key);
  record.value = std::move(value);
  return record;
}
api::Record Keyless(std::string value) {
  api::Record record;
  record.value = std::move(value);
  return record;
}

class ProduceHandlerTest : public testing::Test {
 protected:
  static api::ProducePartition Batches(const api::TopicRef& topic,
                                       int partition,
                                       const TestBatch& what = {}) {
    api::ProducePartition asked;
    asked.topic = topic;
    asked.partition = PartitionIndex(partition);
    asked.payload = MakeBatch(what);
    return asked;
  }
  static api::ProducePartition Typed(const api::TopicRef& topic,
                                     std::vector<api::Record> records) {
    api::ProducePartition asked;
    asked.topic = topic;
    asked.payload = std::move(records);
    return asked;
  }
  // The answer must be there once everything has run.
  api::ProduceResponse Produce(api::ProduceRequest request) {
    Send(std::move(request));
    fake_.Run();
    EXPECT_EQ(answered_.times, 1);
    EXPECT_EQ(ordered_, 1);
    return std::move(answered_.response);
  }
  api::ProduceResponse ProduceOne(api::ProducePartition asked) {
    api::ProduceRequest request;
    request.partitions.push_back(std::move(asked));
    return Produce(std::move(request));
  }
  void Send(api::ProduceRequest request) {
    answered_ = {};
    ordered_ = 0;
    handler_.Produce(context_, std::move(request), [this] { ++ordered_; },
                     answered_.Expect());
  }
  ErrorCode Refusal(api::ProduceRequest request) {
    const auto response = Produce(std::move(request));
    EXPECT_THAT(response.results, IsEmpty());
    EXPECT_THAT(fake_.even.appends, IsEmpty());
    return CodeOf(answered_.status);
  }
  // Values of a partition's records, in order.
  std::vector<std::string> Stored(const TopicPartition& tp) {
    std::vector<std::string> values;
    for (const auto& entry : fake_.shard(tp).partitions[tp].log) {
      BatchCursor cursor(entry.batch.view());
      while (auto batch = *cursor.Next()) {
        auto reader = *RecordReader::Open(*batch);
        while (auto record = *reader.Next()) {
          values.emplace_back(record->value.value_or("null"));
        }
      }
    }
    return values;
  }

  FakeBroker fake_;
  api::CallContext context_;
  ProduceHandler handler_{fake_.deps(), 1 << 20};
  Answered<api::ProduceResponse> answered_;
  int ordered_ = 0;
};

TEST_F(ProduceHandlerTest, AnswersEveryPartitionInTheOrderAsked) {
  api::ProduceRequest request;
  request.partitions.push_back(Batches(Named("b"), 3, {2}));
  request.partitions.push_back(Batches(Named("a"), 0, {3}));
  request.partitions.push_back(Batches(ById(fake_.a), 1));
  const auto response = Produce(std::move(request));

  ASSERT_TRUE(answered_.status.ok());
  ASSERT_THAT(response.results, SizeIs(3));
  EXPECT_EQ(response.results[0].topic, Named("b"));
  EXPECT_EQ(response.results[0].partition, PartitionIndex(3));
  EXPECT_EQ(response.results[0].record_count, 2);
  EXPECT_EQ(response.results[1].record_count, 3);
  EXPECT_EQ(response.results[2].topic, ById(fake_.a));  // echoed in kind
  for (const auto& result : response.results) {
    EXPECT_TRUE(result.error.ok()) << result.error.message;
    EXPECT_EQ(result.base_offset, Offset(0));
    EXPECT_EQ(result.durability, "disk");
  }
}

TEST_F(ProduceHandlerTest, CarriesAcksDeadlineEpochAndOrigin) {
  context_.deadline_us = 5'000'000;
  api::ProduceRequest request;
  request.acks = 1;
  request.timeout_ms = 2000;
  request.partitions.push_back(Batches(Named("a"), 0));
  request.partitions[0].leader_epoch = LeaderEpoch(3);
  Produce(std::move(request));
  ASSERT_THAT(fake_.even.appends, SizeIs(1));
  EXPECT_EQ(fake_.even.appends[0].acks, api::Acks::kLeader);
  EXPECT_EQ(fake_.even.appends[0].deadline_us, 2'000'000);
  EXPECT_EQ(fake_.even.appends[0].leader_epoch, LeaderEpoch(3));

  // The caller's deadline comes first: the answer must still reach it.
  request = {};
  request.partitions.push_back(Batches(Named("a"), 0));
  Produce(std::move(request));
  EXPECT_EQ(fake_.even.appends[1].deadline_us, 5'000'000 - kDeadlineMarginUs);
}

TEST_F(ProduceHandlerTest, TimeoutsAreTheDefaultAndAtMostTheLimit) {
  api::ProduceRequest request;
  request.partitions.push_back(Batches(Named("a"), 0));
  Produce(std::move(request));
  EXPECT_EQ(fake_.even.appends[0].deadline_us, 30'000'000);

  const int64_t now_us = fake_.world.MonoMicros();
  request = {};
  request.timeout_ms = INT32_MAX;
  request.partitions.push_back(Batches(Named("a"), 0));
  Produce(std::move(request));
  EXPECT_EQ(fake_.even.appends[1].deadline_us, now_us + 300'000'000);
}

TEST_F(ProduceHandlerTest, RefusesWholeRequestsByName) {
  const auto with = [](auto change) {
    api::ProduceRequest request;
    request.partitions.push_back(Batches(Named("a"), 0));
    change(request);
    return request;
  };
  EXPECT_EQ(Refusal(with([](auto& r) { r.acks = 2; })),
            ErrorCode::kInvalidRequiredAcks);
  EXPECT_EQ(Refusal(with([](auto& r) { r.acks = -2; })),
            ErrorCode::kInvalidRequiredAcks);
  EXPECT_EQ(Refusal(with([](auto& r) { r.timeout_ms = -1; })),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(Refusal(with([](auto& r) { r.transactional_id = "t"; })),
            ErrorCode::kInvalidRequest);
  EXPECT_THAT(std::string(answered_.status.message()), HasSubstr("transact"));
  EXPECT_EQ(Refusal(with([](auto& r) { r.partitions.clear(); })),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(Refusal(with([](auto& r) {
              r.partitions.push_back(Batches(Named("a"), 0));
            })),
            ErrorCode::kInvalidRequest);
  EXPECT_EQ(Refusal(with([](auto& r) {
              for (size_t i = 0; i < kPartitionsPerRequestMax; ++i) {
                r.partitions.push_back(
                    Typed(Named("a"), {}));
              }
            })),
            ErrorCode::kInvalidRequest);
}

TEST_F(ProduceHandlerTest, TellsApartTheWaysATopicCanBeWrong) {
  const TopicId unknown(Uuid(7, 7));
  api::TopicRef mismatch = ById(fake_.a);
  mismatch.name = "b";
  const auto code = [&](const api::TopicRef& topic, int partition) {
    return ProduceOne(Batches(topic, partition)).results[0].error.code;
  };
  EXPECT_EQ(code(Named("nope"), 0), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(code(ById(unknown), 0), ErrorCode::kUnknownTopicId);
  EXPECT_EQ(code(mismatch, 0), ErrorCode::kInconsistentTopicId);
  EXPECT_EQ(code(Named("a/b"), 0), ErrorCode::kInvalidTopic);
  EXPECT_EQ(code(api::TopicRef(), 0), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(Named("a"), 4), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_EQ(code(Named("a"), -1), ErrorCode::kUnknownTopicOrPartition);
  EXPECT_THAT(fake_.even.appends, IsEmpty());
}

// What groups are is in it: it is not a client's to write.
TEST_F(ProduceHandlerTest, InternalTopicsAreNotForClients) {
  ASSERT_TRUE(fake_.cluster.EnsureInternal(kConsumerOffsetsTopic).ok());
  fake_.image.Store(fake_.cluster.shared());
  const auto response = ProduceOne(Batches(Named(kConsumerOffsetsTopic), 0));
  ASSERT_THAT(response.results, SizeIs(1));
  EXPECT_EQ(response.results[0].error.code, ErrorCode::kInvalidTopic);
  EXPECT_THAT(fake_.even.appends, IsEmpty());
  EXPECT_THAT(fake_.odd.appends, IsEmpty());
}

TEST_F(ProduceHandlerTest, OneBadPartitionDoesNotSpoilTheOthers) {
  api::ProduceRequest request;
  request.partitions.push_back(Batches(Named("nope"), 0));
  request.partitions.push_back(Batches(Named("a"), 2));
  const auto response = Produce(std::move(request));
  EXPECT_EQ(response.results[0].error.code,
            ErrorCode::kUnknownTopicOrPartition);
  EXPECT_TRUE(response.results[1].error.ok());
}

TEST_F(ProduceHandlerTest, RefusesWhatDoesNotExistYetByName) {
  api::ProducePartition asked = Batches(Named("a"), 0);
  asked.producer_id = ProducerId(7);
  auto result = ProduceOne(std::move(asked)).results[0];
  EXPECT_EQ(result.error.code, ErrorCode::kInvalidRequest);
  EXPECT_THAT(result.error.message, HasSubstr("carry their own"));

  asked = Batches(Named("a"), 0);
  asked.partition.reset();
  result = ProduceOne(std::move(asked)).results[0];
  EXPECT_EQ(result.error.code, ErrorCode::kInvalidRequest);
  EXPECT_EQ(result.partition, PartitionIndex(-1));

  EXPECT_EQ(ProduceOne(Typed(Named("a"), {})).results[0].error.code,
            ErrorCode::kInvalidRecord);
}

TEST_F(ProduceHandlerTest, LeadersSayWhoLeadsInstead) {
  fake_.even.Lose(fake_.A(0), ErrorCode::kNotLeader);
  const auto result = ProduceOne(Batches(Named("a"), 0)).results[0];
  EXPECT_EQ(result.error.code, ErrorCode::kNotLeader);
  ASSERT_TRUE(result.leader.has_value());
  EXPECT_EQ(result.leader->leader_id, NodeId(2));
}

// ---- Typed records ----

TEST_F(ProduceHandlerTest, KeysGoWhereKafkasProducersSendThem) {
  std::vector<api::Record> records;
  std::map<PartitionIndex, std::vector<int32_t>> expected;
  for (int i = 0; i < 20; ++i) {
    const std::string key = "key" + std::to_string(i);
    records.push_back(Keyed(key, std::to_string(i)));
    expected[PartitionForKey(key, 4)].push_back(i);
  }
  const auto response = ProduceOne(Typed(Named("a"), records));
  ASSERT_THAT(response.results, SizeIs(expected.size()));
  size_t count = 0;
  for (const auto& result : response.results) {
    EXPECT_TRUE(result.error.ok()) << result.error.message;
    EXPECT_EQ(result.record_indexes, expected[result.partition]);
    EXPECT_EQ(result.record_count,
              static_cast<int32_t>(result.record_indexes.size()));
    std::vector<std::string> values;
    for (const int32_t i : result.record_indexes) {
      values.push_back(std::to_string(i));
    }
    EXPECT_EQ(Stored({fake_.a, result.partition}), values);
    count += result.record_indexes.size();
  }
  EXPECT_EQ(count, 20u);
}

TEST_F(ProduceHandlerTest, KeylessRecordsTakeTurnsAcrossRequestsPerTopic) {
  for (int i = 0; i < 8; ++i) {
    // Another topic between them has turns of its own.
    for (const char* topic : {"a", "b"}) {
      const auto response = ProduceOne(Typed(Named(topic), {Keyless("x")}));
      EXPECT_EQ(response.results[0].partition, PartitionIndex(i % 4));
    }
  }
}

TEST_F(ProduceHandlerTest, AnExplicitPartitionTakesAllRecords) {
  api::ProducePartition asked =
      Typed(Named("a"), {Keyed("k", "1"), Keyless("2"), Keyed("l", "3")});
  asked.partition = PartitionIndex(1);
  const auto response = ProduceOne(std::move(asked));
  ASSERT_THAT(response.results, SizeIs(1));
  EXPECT_THAT(response.results[0].record_indexes, ElementsAre(0, 1, 2));
  EXPECT_THAT(Stored(fake_.A(1)), ElementsAre("1", "2", "3"));
}

TEST_F(ProduceHandlerTest, ManyRecordsBecomeSeveralBatchesOfOneAppend) {
  api::ProducePartition asked = Typed(Named("a"), {});
  std::vector<api::Record> records;
  for (int i = 0; i < 5; ++i) {
    records.push_back(Keyless(std::string(150'000, 'x')));
  }
  asked.payload = records;
  asked.partition = PartitionIndex(0);
  ProduceHandler handler(fake_.deps());
  handler.Produce(context_, [&] {
    api::ProduceRequest request;
    for (int copy = 0; copy < 3; ++copy) {
      for (const auto& r : records) {
        std::get<std::vector<api::Record>>(asked.payload).push_back(r);
      }
    }
    request.partitions.push_back(std::move(asked));
    return request;
  }(), nullptr, answered_.Expect());
  fake_.Run();
  const auto& result = answered_.response.results.at(0);
  EXPECT_TRUE(result.error.ok()) << result.error.message;
  EXPECT_EQ(result.record_count, 20);
  const auto& log = fake_.even.partitions[fake_.A(0)].log;
  ASSERT_THAT(log, SizeIs(1));
  BatchCursor cursor(log[0].batch.view());
  int batches = 0;
  while (auto batch = *cursor.Next()) {
    EXPECT_LE(batch->header().size_bytes(), 1048588);
    ++batches;
  }
  EXPECT_GT(batches, 1);
}

TEST_F(ProduceHandlerTest, UnsetTimestampsAreTheBrokersClock) {
  api::Record late = Keyless("x");
  late.timestamp_ms = 1577836800123;
  api::ProducePartition asked = Typed(Named("a"), {Keyless("y"), late});
  asked.partition = PartitionIndex(0);
  ProduceOne(std::move(asked));
  const auto& log = fake_.even.partitions[fake_.A(0)].log;
  auto batch = *BatchView::Parse(log.at(0).batch.view());
  auto reader = *RecordReader::Open(batch);
  EXPECT_EQ((*reader.Next())->timestamp_ms, fake_.world.WallMillis() - 1);
  EXPECT_EQ((*reader.Next())->timestamp_ms, 1577836800123);
}

TEST_F(ProduceHandlerTest, RecordErrorsNameTheRequestsRecord) {
  api::Record future = Keyless("x");
  future.timestamp_ms = INT64_MAX / 2;
  const auto response = ProduceOne(Typed(
      Named("a"), {Keyless("0"), future, Keyless("2"), Keyless("3")}));
  for (const auto& result : response.results) {
    if (result.record_indexes != std::vector<int32_t>{1}) {
      EXPECT_TRUE(result.error.ok()) << result.error.message;
      continue;
    }
    EXPECT_EQ(result.error.code, ErrorCode::kInvalidTimestamp);
    for (const auto& error : result.record_errors) {
      EXPECT_EQ(error.record_index, 1);
    }
  }
}

// ---- Order, bounds ----

TEST_F(ProduceHandlerTest, OrderIsFixedWhenAllPartitionsHaveTheirPlaces) {
  fake_.even.hold_order = true;
  fake_.odd.hold_answers = true;
  api::ProduceRequest request;
  request.partitions.push_back(Batches(Named("a"), 0));
  request.partitions.push_back(Batches(Named("a"), 1));
  Send(std::move(request));
  fake_.Run();
  EXPECT_EQ(ordered_, 0);
  fake_.even.Release();
  fake_.Run();
  EXPECT_EQ(ordered_, 1);
  EXPECT_EQ(answered_.times, 0);  // the other is not acknowledged yet
  fake_.odd.Release();
  fake_.Run();
  EXPECT_EQ(ordered_, 1);
  EXPECT_EQ(answered_.times, 1);
}

TEST_F(ProduceHandlerTest, BytesInFlightAreBoundedAndComeBack) {
  fake_.even.hold_answers = true;
  Answered<api::ProduceResponse> first;
  api::ProduceRequest request;
  request.partitions.push_back(
      Batches(Named("a"), 0, {1, Codec::kNone, std::string(700'000, 'x')}));
  handler_.Produce(context_, std::move(request), nullptr, first.Expect());
  fake_.Run();
  EXPECT_GT(handler_.memory().taken(), 700'000);

  const auto response = ProduceOne(
      Batches(Named("a"), 1, {1, Codec::kNone, std::string(700'000, 'y')}));
  ASSERT_THAT(response.results, SizeIs(1));
  EXPECT_EQ(response.results[0].error.code, ErrorCode::kBusy);
  EXPECT_EQ(response.results[0].error.retry_after_ms, kBusyRetryAfterMs);
  EXPECT_THAT(fake_.odd.appends, IsEmpty());

  fake_.even.Release();
  fake_.Run();
  EXPECT_EQ(first.times, 1);
  EXPECT_EQ(handler_.memory().taken(), 0);
  EXPECT_TRUE(ProduceOne(Batches(Named("a"), 1, {1, Codec::kNone,
                                                 std::string(700'000, 'y')}))
                  .results[0]
                  .error.ok());
}

TEST_F(ProduceHandlerTest, TooManyTypedRecordsAreRefused) {
  ProduceHandler handler(fake_.deps());
  api::ProduceRequest request;
  request.partitions.push_back(Typed(
      Named("a"), std::vector<api::Record>(
                      ProduceHandler::kTypedRecordsMax + 1, Keyless(""))));
  handler.Produce(context_, std::move(request), nullptr, answered_.Expect());
  fake_.Run();
  EXPECT_EQ(answered_.response.results.at(0).error.code,
            ErrorCode::kRequestTooLarge);
}

TEST(KeylessRotationTest, RemembersABoundedNumberOfTopics) {
  KeylessRotation rotation;
  const TopicId first(Uuid(1, 1));
  EXPECT_EQ(rotation.Next(first, 3), PartitionIndex(0));
  for (uint64_t i = 2; i <= KeylessRotation::kTopicsMax; ++i) {
    rotation.Next(TopicId(Uuid(1, i)), 3);
  }
  EXPECT_EQ(rotation.Next(first, 3), PartitionIndex(1));
  rotation.Next(TopicId(Uuid(2, 1)), 3);  // one too many: all begin anew
  EXPECT_EQ(rotation.Next(first, 3), PartitionIndex(0));
  EXPECT_EQ(rotation.Next(first, 1), PartitionIndex(0));  // fewer partitions
}

}  // namespace
}  // namespace sluice
