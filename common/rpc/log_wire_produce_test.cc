// Produce, as one call and as a stream: what is sent is what arrives.
#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "common/rpc/log_wire.h"
#include "common/rpc/log_wire_testing.h"

namespace sluice::rpc {
namespace {

api::ProducePartition Batches(const std::string& topic, int32_t partition,
                              const std::string& bytes) {
  api::ProducePartition out;
  out.topic.name = topic;
  out.partition = PartitionIndex(partition);
  out.payload = MutableBuffer::CopyOf(bytes);
  return out;
}

std::string_view PayloadOf(const api::ProducePartition& partition) {
  return std::get<MutableBuffer>(partition.payload).view();
}

// ---- Produce ----

TEST(LogWireTest, ProduceRequestsOfBatchesArriveAsTheyWere) {
  // Below and above what is copied, and a length whose varint is long.
  for (const size_t size : {0u, 1u, 127u, 128u, 2048u, 2049u, 3'000'000u}) {
    const std::string bytes = BytesOfSize(size, 'a');
    api::ProduceRequest sent;
    sent.acks = 1;
    sent.timeout_ms = 1234;
    sent.transactional_id = "tx";
    sent.partitions.push_back(Batches("orders", 3, bytes));
    sent.partitions.push_back(Batches("", 0, BytesOfSize(5000, 'z')));
    sent.partitions[1].topic.id = kTopicId;
    sent.partitions[1].leader_epoch = LeaderEpoch(7);
    sent.partitions[1].producer_id = ProducerId(8);
    sent.partitions[1].producer_epoch = 9;
    sent.partitions[1].base_sequence = 10;

    auto message = Parse<v1::ProduceRequest>(
        EncodeProduceRequest(std::move(sent), "me"));
    EXPECT_EQ(message.client_id(), "me");
    const auto got = ProduceRequestFromProto(std::move(message));

    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->acks, 1);
    EXPECT_EQ(got->timeout_ms, 1234);
    EXPECT_EQ(got->transactional_id, "tx");
    ASSERT_EQ(got->partitions.size(), 2u);
    EXPECT_EQ(got->partitions[0].topic.name, "orders");
    EXPECT_EQ(got->partitions[0].partition, PartitionIndex(3));
    EXPECT_EQ(PayloadOf(got->partitions[0]), bytes);
    EXPECT_FALSE(got->partitions[0].leader_epoch.has_value());
    EXPECT_EQ(got->partitions[1].topic.id, kTopicId);
    EXPECT_EQ(PayloadOf(got->partitions[1]), BytesOfSize(5000, 'z'));
    EXPECT_EQ(got->partitions[1].leader_epoch, LeaderEpoch(7));
    EXPECT_EQ(got->partitions[1].producer_id, ProducerId(8));
    EXPECT_EQ(got->partitions[1].producer_epoch, 9);
    EXPECT_EQ(got->partitions[1].base_sequence, 10);
  }
}

TEST(LogWireTest, ProduceRequestsOfRecordsKeepNullAndEmptyApart) {
  api::ProduceRequest sent;
  sent.partitions.emplace_back();
  sent.partitions[0].topic.name = "t";
  api::Record record;
  record.key = "";
  record.value = std::nullopt;
  record.headers = {{"h1", std::nullopt}, {"h2", "v"}};
  record.timestamp_ms = 55;
  sent.partitions[0].payload = std::vector<api::Record>{record};

  const auto got = ProduceRequestFromProto(
      Parse<v1::ProduceRequest>(EncodeProduceRequest(std::move(sent), "")));

  ASSERT_TRUE(got.ok());
  EXPECT_FALSE(got->partitions[0].partition.has_value());
  const auto& records =
      std::get<std::vector<api::Record>>(got->partitions[0].payload);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].key, "");
  EXPECT_EQ(records[0].value, std::nullopt);
  EXPECT_EQ(records[0].timestamp_ms, 55);
  ASSERT_EQ(records[0].headers.size(), 2u);
  EXPECT_EQ(records[0].headers[0].value, std::nullopt);
  EXPECT_EQ(records[0].headers[1].value, "v");
}

TEST(LogWireTest, AnUnsetAcksMeansAll) {
  v1::ProduceRequest message;
  EXPECT_EQ(ProduceRequestFromProto(message)->acks, -1);
  message.set_acks(0);
  EXPECT_EQ(ProduceRequestFromProto(message)->acks, 0);
  message.set_acks(17);
  EXPECT_EQ(ProduceRequestFromProto(message)->acks, 17)
      << "the handler refuses it";
}

TEST(LogWireTest, ProduceResponsesArriveAsTheyWere) {
  api::ProduceResponse sent;
  sent.throttle_ms = 3;
  sent.results.resize(2);
  api::ProduceResult& ok = sent.results[0];
  ok.topic.name = "t";
  ok.partition = PartitionIndex(1);
  ok.base_offset = Offset(100);
  ok.log_append_time_ms = 5;
  ok.log_start_offset = Offset(6);
  ok.record_count = 7;
  ok.durability = "disk";
  ok.below_min_isr = true;
  ok.record_indexes = {0, 2, 4};
  ok.duplicate = true;
  api::ProduceResult& moved = sent.results[1];
  moved.topic.id = kTopicId;
  moved.error = api::ItemError(ErrorCode::kNotLeader, "led by 2");
  moved.leader = api::LeaderHint{NodeId(2), LeaderEpoch(9), {"h", 9001}};
  moved.record_errors = {{3, "bad key"}};

  const auto got = ProduceResponseFromProto(
      Parse<v1::ProduceResponse>(EncodeProduceResponse(sent)));

  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->throttle_ms, 3);
  const api::ProduceResult& first = got->results[0];
  EXPECT_EQ(first.topic, ok.topic);
  EXPECT_TRUE(first.error.ok());
  EXPECT_EQ(first.base_offset, Offset(100));
  EXPECT_EQ(first.log_append_time_ms, 5);
  EXPECT_EQ(first.log_start_offset, Offset(6));
  EXPECT_EQ(first.record_count, 7);
  EXPECT_EQ(first.durability, "disk");
  EXPECT_TRUE(first.below_min_isr);
  EXPECT_EQ(first.record_indexes, (std::vector<int32_t>{0, 2, 4}));
  EXPECT_TRUE(first.duplicate);
  const api::ProduceResult& second = got->results[1];
  EXPECT_EQ(second.topic.id, kTopicId);
  EXPECT_EQ(second.error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(second.leader, moved.leader);
  EXPECT_EQ(second.base_offset, kNoOffset);
  EXPECT_EQ(second.record_errors[0].record_index, 3);
}

// ---- Fetch ----

TEST(LogWireTest, ProduceStreamArrivesAsItWasBothWays) {
  api::ProduceStreamRequest request;
  request.correlation_id = -7;
  request.request.acks = 1;
  request.request.timeout_ms = 1'000;
  for (const size_t size : {size_t{3}, size_t{100'000}}) {
    api::ProducePartition& part = request.request.partitions.emplace_back();
    part.topic.name = "t";
    part.partition = PartitionIndex(static_cast<int>(size));
    part.payload = MutableBuffer::Adopt(std::string(size, 'b'));
  }
  const auto got = ProduceStreamRequestFromProto(
      Parse<v1::ProduceStreamRequest>(
          EncodeProduceStreamRequest(std::move(request), "me")));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->correlation_id, -7);
  EXPECT_EQ(got->request.acks, 1);
  EXPECT_EQ(got->request.timeout_ms, 1'000);
  ASSERT_EQ(got->request.partitions.size(), 2u);
  for (const auto& part : got->request.partitions) {
    EXPECT_EQ(std::get<MutableBuffer>(part.payload).view(),
              std::string(part.partition->value(), 'b'));
  }

  api::ProduceStreamResponse response;
  response.correlation_id = 12;
  response.results.emplace_back().topic.name = "t";
  response.results[0].base_offset = Offset(5);
  response.throttle_ms = 3;
  response.complete = true;
  auto back = ProduceStreamResponseFromProto(Parse<v1::ProduceStreamResponse>(
      EncodeProduceStreamResponse(response)));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->correlation_id, 12);
  EXPECT_EQ(back->results.at(0).base_offset, Offset(5));
  EXPECT_EQ(back->throttle_ms, 3);
  EXPECT_TRUE(back->complete);
  EXPECT_TRUE(back->error.ok());
  response.error = api::ItemError(ErrorCode::kBusy, "full");
  back = ProduceStreamResponseFromProto(Parse<v1::ProduceStreamResponse>(
      EncodeProduceStreamResponse(response)));
  EXPECT_EQ(back->error.code, ErrorCode::kBusy);
}

}  // namespace
}  // namespace sluice::rpc
