#include "common/rpc/log_wire.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "common/rpc/log_wire_testing.h"
#include "common/rpc/slice_writer.h"

namespace sluice::rpc {
namespace {

TEST(LogWireTest, FetchRequestsArriveAsTheyWere) {
  api::FetchRequest sent;
  sent.min_bytes = 10;
  sent.max_wait_ms = 20;
  sent.max_bytes = 30;
  sent.isolation = api::Isolation::kReadCommitted;
  sent.form = api::PayloadForm::kBatches;
  sent.partitions.resize(1);
  sent.partitions[0].topic.name = "t";
  sent.partitions[0].partition = PartitionIndex(4);
  sent.partitions[0].offset = Offset(-5);
  sent.partitions[0].max_bytes = 6;
  sent.partitions[0].leader_epoch = LeaderEpoch(0);

  const auto message =
      Parse<v1::FetchRequest>(EncodeFetchRequest(sent, "reader"));
  EXPECT_EQ(message.client_id(), "reader");
  const auto got = FetchRequestFromProto(message);

  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->min_bytes, 10);
  EXPECT_EQ(got->max_wait_ms, 20);
  EXPECT_EQ(got->max_bytes, 30);
  EXPECT_EQ(got->isolation, api::Isolation::kReadCommitted);
  EXPECT_EQ(got->form, api::PayloadForm::kBatches);
  EXPECT_EQ(got->partitions[0].offset, Offset(-5));
  EXPECT_EQ(got->partitions[0].max_bytes, 6);
  EXPECT_EQ(got->partitions[0].leader_epoch, LeaderEpoch(0));
}

TEST(LogWireTest, FetchedBatchesAreSharedAndNotCopied) {
  const Buffer batch = Buffer::Take(BytesOfSize(100'000, 'q'));
  api::FetchResponse response;
  response.results.resize(1);
  response.results[0].batches = {batch};

  grpc::ByteBuffer bytes = EncodeFetchResponse(std::move(response));

  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(bytes.Dump(&slices).ok());
  bool shared = false;
  for (const grpc::Slice& slice : slices) {
    shared |= slice.begin() == reinterpret_cast<const uint8_t*>(batch.data());
  }
  EXPECT_TRUE(shared);
}

TEST(LogWireTest, FetchResponsesArriveAsTheyWere) {
  api::FetchResponse sent;
  sent.throttle_ms = 2;
  sent.results.resize(4);
  api::FetchResult& full = sent.results[0];
  full.topic.name = "t";
  full.partition = PartitionIndex(1);
  full.high_watermark = Offset(10);
  full.last_stable_offset = Offset(9);
  full.log_start_offset = Offset(1);
  full.next_offset = Offset(8);
  full.leader_epoch = LeaderEpoch(4);
  full.preferred_replica = NodeId(3);
  full.aborted_transactions = {{ProducerId(5), Offset(6)}};
  std::string all;
  for (const size_t size : {10u, 3000u, 70'000u, 5u, 0u}) {
    full.batches.push_back(Buffer::Take(BytesOfSize(size, 'b')));
    all += BytesOfSize(size, 'b');
  }
  sent.results[1].topic.id = kTopicId;  // nothing new
  api::FetchResult& typed = sent.results[2];
  typed.records.resize(2);
  typed.records[1].key = "k";
  typed.records[1].offset = Offset(77);
  typed.batches.push_back(Buffer::Take("not sent beside records"));
  sent.results[3].error = api::ItemError(ErrorCode::kOffsetOutOfRange, "x");

  const auto got = FetchResponseFromProto(
      Parse<v1::FetchResponse>(EncodeFetchResponse(sent)));

  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->throttle_ms, 2);
  ASSERT_EQ(got->results.size(), 4u);
  const api::FetchResult& first = got->results[0];
  EXPECT_EQ(first.topic, full.topic);
  EXPECT_EQ(first.high_watermark, Offset(10));
  EXPECT_EQ(first.last_stable_offset, Offset(9));
  EXPECT_EQ(first.log_start_offset, Offset(1));
  EXPECT_EQ(first.next_offset, Offset(8));
  EXPECT_EQ(first.leader_epoch, LeaderEpoch(4));
  EXPECT_EQ(first.preferred_replica, NodeId(3));
  ASSERT_EQ(first.batches.size(), 1u);
  EXPECT_EQ(first.batches[0].view(), all);
  EXPECT_EQ(first.aborted_transactions[0].first_offset, Offset(6));
  EXPECT_TRUE(got->results[1].batches.empty());
  ASSERT_EQ(got->results[2].records.size(), 2u);
  EXPECT_EQ(got->results[2].records[1].key, "k");
  EXPECT_EQ(got->results[2].records[1].offset, Offset(77));
  EXPECT_EQ(got->results[3].error.code, ErrorCode::kOffsetOutOfRange);
}

// ---- ListOffsets and Subscribe ----

TEST(LogWireTest, ListOffsetsArrivesAsItWasBothWays) {
  api::ListOffsetsRequest sent;
  sent.isolation = api::Isolation::kReadCommitted;
  for (const auto position :
       {api::OffsetPosition::kEarliest, api::OffsetPosition::kLatest,
        api::OffsetPosition::kTimestamp, api::OffsetPosition::kMaxTimestamp,
        api::OffsetPosition::kInvalid}) {
    auto& partition = sent.partitions.emplace_back();
    partition.topic.name = "t";
    partition.position = position;
    partition.timestamp_ms = INT64_MIN;
    partition.leader_epoch = LeaderEpoch(3);
  }
  const auto request = ListOffsetsRequestFromProto(
      Parse<v1::ListOffsetsRequest>(EncodeListOffsetsRequest(sent)));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->isolation, api::Isolation::kReadCommitted);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(request->partitions[i].position, sent.partitions[i].position);
    EXPECT_EQ(request->partitions[i].timestamp_ms, INT64_MIN);
    EXPECT_EQ(request->partitions[i].leader_epoch, LeaderEpoch(3));
  }

  api::ListOffsetsResponse answer;
  answer.results.resize(1);
  answer.results[0].offset = Offset(5);
  answer.results[0].leader_epoch = LeaderEpoch(6);
  answer.results[0].high_watermark = Offset(7);
  answer.results[0].last_stable_offset = Offset(8);
  answer.results[0].timestamp_ms = 9;
  const auto response = ListOffsetsResponseFromProto(
      Parse<v1::ListOffsetsResponse>(EncodeListOffsetsResponse(answer)));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->results[0].offset, Offset(5));
  EXPECT_EQ(response->results[0].leader_epoch, LeaderEpoch(6));
  EXPECT_EQ(response->results[0].high_watermark, Offset(7));
  EXPECT_EQ(response->results[0].last_stable_offset, Offset(8));
  EXPECT_EQ(response->results[0].timestamp_ms, 9);
}

// ---- Histories: epochs, log starts ----

TEST(LogWireTest, AFetchSaysItsLastEpochAndIsToldWhereHistoriesPart) {
  api::FetchRequest sent;
  sent.partitions.resize(2);
  sent.partitions[0].topic.name = sent.partitions[1].topic.name = "t";
  sent.partitions[1].last_fetched_epoch = LeaderEpoch(0);
  const auto request = FetchRequestFromProto(
      Parse<v1::FetchRequest>(EncodeFetchRequest(sent, "me")));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->partitions[0].last_fetched_epoch, std::nullopt);
  EXPECT_EQ(request->partitions[1].last_fetched_epoch, LeaderEpoch(0));

  api::FetchResponse answer;
  answer.results.resize(2);
  answer.results[0].last_record_epoch = LeaderEpoch(4);
  answer.results[1].diverging = EpochEnd{LeaderEpoch(3), Offset(9)};
  const auto response = FetchResponseFromProto(
      Parse<v1::FetchResponse>(EncodeFetchResponse(answer)));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->results[0].last_record_epoch, LeaderEpoch(4));
  EXPECT_EQ(response->results[0].diverging, std::nullopt);
  EXPECT_EQ(response->results[1].diverging,
            (EpochEnd{LeaderEpoch(3), Offset(9)}));
}

TEST(LogWireTest, EpochsAreAskedAboutAndTheirEndsToldOrUnknown) {
  v1::OffsetForLeaderEpochRequest message;
  auto* asked = message.add_partitions();
  asked->mutable_topic()->set_name("t");
  asked->set_partition(2);
  asked->set_leader_epoch(-5);
  auto request = OffsetForLeaderEpochRequestFromProto(message);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->partitions[0].leader_epoch, LeaderEpoch(-5));
  EXPECT_EQ(request->partitions[0].current_leader_epoch, std::nullopt);
  asked->set_current_leader_epoch(7);
  request = OffsetForLeaderEpochRequestFromProto(message);
  EXPECT_EQ(request->partitions[0].current_leader_epoch, LeaderEpoch(7));
  asked->mutable_topic()->set_id("short");
  EXPECT_EQ(CodeOf(OffsetForLeaderEpochRequestFromProto(message).status()),
            ErrorCode::kInvalidRequest);

  api::OffsetForLeaderEpochResponse answer;
  answer.results.resize(2);
  answer.results[0].end = {LeaderEpoch(3), Offset(9)};
  answer.results[0].log_start_offset = Offset(2);
  const auto sent = Parse<v1::OffsetForLeaderEpochResponse>(
      EncodeOffsetForLeaderEpochResponse(answer));
  EXPECT_EQ(sent.results(0).end().leader_epoch(), 3);
  EXPECT_EQ(sent.results(0).end().end_offset(), 9);
  EXPECT_EQ(sent.results(0).log_start_offset(), 2);
  EXPECT_EQ(sent.results(1).end().leader_epoch(), -1);
  EXPECT_EQ(sent.results(1).end().end_offset(), -1);
}

TEST(LogWireTest, DeleteRecordsArrivesAsItWasBothWays) {
  api::DeleteRecordsRequest sent;
  sent.timeout_ms = 5;
  sent.validate_only = true;
  sent.partitions.resize(1);
  sent.partitions[0].topic.name = "t";
  sent.partitions[0].partition = PartitionIndex(2);
  sent.partitions[0].before_offset = Offset(-1);
  sent.partitions[0].leader_epoch = LeaderEpoch(3);
  const auto request = DeleteRecordsRequestFromProto(
      Parse<v1::DeleteRecordsRequest>(EncodeDeleteRecordsRequest(sent)));
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->timeout_ms, 5);
  EXPECT_TRUE(request->validate_only);
  EXPECT_EQ(request->partitions[0].partition, PartitionIndex(2));
  EXPECT_EQ(request->partitions[0].before_offset, kNoOffset);
  EXPECT_EQ(request->partitions[0].leader_epoch, LeaderEpoch(3));

  api::DeleteRecordsResponse answer;
  answer.results.resize(1);
  answer.results[0].log_start_offset = Offset(5);
  answer.results[0].high_watermark = Offset(7);
  answer.results[0].leader = api::LeaderHint{NodeId(1), LeaderEpoch(2), {}};
  const auto response = DeleteRecordsResponseFromProto(
      Parse<v1::DeleteRecordsResponse>(EncodeDeleteRecordsResponse(answer)));
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->results[0].log_start_offset, Offset(5));
  EXPECT_EQ(response->results[0].high_watermark, Offset(7));
  EXPECT_EQ(response->results[0].leader->leader_id, NodeId(1));
}

TEST(LogWireTest, SubscribeRequestsNameTheirStart) {
  v1::SubscribeRequest message;
  message.set_credit_bytes(-7);
  message.set_form(v1::PAYLOAD_FORM_BATCHES);
  message.set_rack("north");
  auto* by_default = message.add_partitions();
  by_default->mutable_topic()->set_name("t");
  by_default->set_partition(-1);
  message.add_partitions()->set_offset(42);
  message.add_partitions()->set_position(v1::SubscribePartition::START_LATEST);
  message.add_partitions()->set_position(
      v1::SubscribePartition::START_UNSPECIFIED);
  message.add_stop()->set_partition(9);

  const auto got = SubscribeRequestFromProto(message);

  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->credit_bytes, -7) << "the handler refuses it";
  EXPECT_EQ(got->rack, "north");
  EXPECT_EQ(Parse<v1::SubscribeRequest>(EncodeSubscribeRequest(*got, "me"))
                .rack(),
            "north");
  EXPECT_EQ(got->form, api::PayloadForm::kBatches);
  EXPECT_EQ(got->partitions[0].partition, PartitionIndex(-1));
  EXPECT_EQ(std::get<api::StartPosition>(got->partitions[0].start),
            api::StartPosition::kEarliest);
  EXPECT_EQ(std::get<Offset>(got->partitions[1].start), Offset(42));
  EXPECT_EQ(std::get<api::StartPosition>(got->partitions[2].start),
            api::StartPosition::kLatest);
  EXPECT_EQ(std::get<api::StartPosition>(got->partitions[3].start),
            api::StartPosition::kEarliest);
  EXPECT_EQ(got->stop[0].partition, PartitionIndex(9));
}

TEST(LogWireTest, PushesCarryBatchesRecordsOrAnError) {
  api::SubscribeResponse push;
  push.charged_bytes = 11;
  push.result.topic.name = "t";
  push.result.partition = PartitionIndex(2);
  push.result.high_watermark = Offset(30);
  push.result.log_start_offset = Offset(1);
  push.result.next_offset = Offset(29);
  push.result.leader_epoch = LeaderEpoch(5);
  push.result.batches = {Buffer::Take(BytesOfSize(10'000, 'x')),
                         Buffer::Take(BytesOfSize(9, 'y'))};
  const auto batches =
      Parse<v1::SubscribeResponse>(EncodeSubscribeResponse(push));
  EXPECT_EQ(batches.batches(), BytesOfSize(10'000, 'x') + BytesOfSize(9, 'y'));
  EXPECT_EQ(batches.charged_bytes(), 11);
  EXPECT_EQ(batches.high_watermark(), 30);
  EXPECT_EQ(batches.log_start_offset(), 1);
  EXPECT_EQ(batches.next_offset(), 29);
  EXPECT_EQ(batches.leader_epoch(), 5);

  push.result.records.resize(1);
  push.result.records[0].value = "v";
  const auto records =
      Parse<v1::SubscribeResponse>(EncodeSubscribeResponse(push));
  EXPECT_EQ(records.records().records(0).value(), "v");

  api::SubscribeResponse failed;
  failed.result.topic.id = kTopicId;
  failed.result.error = api::ItemError(ErrorCode::kNotLeader, "moved");
  failed.result.leader = api::LeaderHint{NodeId(1), LeaderEpoch(2), {"h", 3}};
  const auto error =
      Parse<v1::SubscribeResponse>(EncodeSubscribeResponse(failed));
  EXPECT_EQ(error.error().code(), v1::ERROR_CODE_NOT_LEADER);
  EXPECT_EQ(error.leader().endpoint().port(), 3);
  EXPECT_EQ(error.topic().id(), kTopicId.ToBytes());
  EXPECT_EQ(error.payload_case(), v1::SubscribeResponse::PAYLOAD_NOT_SET);

  api::SubscribeResponse nearer;
  nearer.result.topic.name = "t";
  nearer.result.next_offset = Offset(4);
  nearer.result.preferred_replica = NodeId(3);
  nearer.result.preferred_endpoint = {"b3", 7};
  const auto told = SubscribeResponseFromProto(
      Parse<v1::SubscribeResponse>(EncodeSubscribeResponse(nearer)));
  ASSERT_TRUE(told.ok());
  EXPECT_EQ(told->result.preferred_replica, NodeId(3));
  EXPECT_EQ(told->result.preferred_endpoint, (api::Endpoint{"b3", 7}));
  EXPECT_EQ(told->result.next_offset, Offset(4));
}

// ---- Hostile input ----

TEST(LogWireTest, AnIdThatIsNoUuidIsAnInvalidRequest) {
  for (const std::string& id :
       {std::string("short"), std::string(17, 'x'), std::string(16, '\0'),
        std::string()}) {
    v1::ProduceRequest produce;
    produce.add_partitions()->mutable_topic()->set_id(id);
    produce.mutable_partitions(0)->set_batches("b");
    v1::FetchRequest fetch;
    fetch.add_partitions()->mutable_topic()->set_id(id);
    v1::ListOffsetsRequest list;
    list.add_partitions()->mutable_topic()->set_id(id);
    v1::SubscribeRequest subscribe;
    subscribe.add_partitions()->mutable_topic()->set_id(id);
    v1::SubscribeRequest stop;
    stop.add_stop()->mutable_topic()->set_id(id);

    for (const absl::Status& status :
         {ProduceRequestFromProto(produce).status(),
          FetchRequestFromProto(fetch).status(),
          ListOffsetsRequestFromProto(list).status(),
          SubscribeRequestFromProto(subscribe).status(),
          SubscribeRequestFromProto(stop).status()}) {
      EXPECT_EQ(CodeOf(status), ErrorCode::kInvalidRequest) << id.size();
      EXPECT_NE(std::string(status.message()).find("partition 0"),
                std::string::npos);
    }
  }
}

TEST(LogWireTest, AProduceWithoutPayloadIsAnInvalidRequest) {
  v1::ProduceRequest message;
  message.add_partitions()->set_batches("b");
  message.add_partitions()->mutable_topic()->set_name("t");

  const auto got = ProduceRequestFromProto(message);

  EXPECT_EQ(CodeOf(got.status()), ErrorCode::kInvalidRequest);
  EXPECT_NE(std::string(got.status().message()).find("partition 1"),
            std::string::npos);
}

TEST(LogWireTest, UnknownEnumValuesAreInvalidRequests) {
  v1::FetchRequest fetch;
  fetch.set_isolation(static_cast<v1::Isolation>(99));
  EXPECT_EQ(CodeOf(FetchRequestFromProto(fetch).status()),
            ErrorCode::kInvalidRequest);
  fetch.clear_isolation();
  fetch.set_form(static_cast<v1::PayloadForm>(-4));
  EXPECT_EQ(CodeOf(FetchRequestFromProto(fetch).status()),
            ErrorCode::kInvalidRequest);

  v1::SubscribeRequest subscribe;
  subscribe.add_partitions()->set_position(
      static_cast<v1::SubscribePartition::Start>(12));
  EXPECT_EQ(CodeOf(SubscribeRequestFromProto(subscribe).status()),
            ErrorCode::kInvalidRequest);

  v1::ListOffsetsRequest list;
  list.add_partitions()->set_position(
      static_cast<v1::ListOffsetsPartition::Position>(77));
  EXPECT_EQ(ListOffsetsRequestFromProto(list)->partitions[0].position,
            api::OffsetPosition::kInvalid)
      << "refused for that partition alone";
}

TEST(LogWireTest, ExtremeNumbersGoThroughUnharmed) {
  v1::FetchRequest message;
  message.set_max_bytes(INT32_MIN);
  message.set_max_wait_ms(INT32_MIN);
  message.set_min_bytes(INT32_MAX);
  auto* partition = message.add_partitions();
  partition->set_partition(INT32_MIN);
  partition->set_offset(INT64_MIN);
  partition->set_leader_epoch(INT32_MIN);

  const auto got = FetchRequestFromProto(message);

  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->partitions[0].partition, PartitionIndex(INT32_MIN));
  EXPECT_EQ(got->partitions[0].offset, Offset(INT64_MIN));
}

TEST(LogWireTest, AnAnswerWithABrokenIdIsRefusedByTheClient) {
  v1::ProduceResponse produce;
  produce.add_results()->mutable_topic()->set_id("x");
  EXPECT_EQ(CodeOf(ProduceResponseFromProto(produce).status()),
            ErrorCode::kInvalidRequest);
  v1::FetchResponse fetch;
  fetch.add_results()->mutable_topic()->set_id("x");
  EXPECT_EQ(CodeOf(FetchResponseFromProto(fetch).status()),
            ErrorCode::kInvalidRequest);
  v1::ListOffsetsResponse list;
  list.add_results()->mutable_topic()->set_id("x");
  EXPECT_EQ(CodeOf(ListOffsetsResponseFromProto(list).status()),
            ErrorCode::kInvalidRequest);
}

TEST(SliceWriterTest, GarbageIsNoMessage) {
  grpc::Slice garbage(std::string("\xff\xff\xff\xff\xff"));
  grpc::ByteBuffer bytes(&garbage, 1);
  v1::ProduceRequest message;
  EXPECT_FALSE(ParseMessage(&bytes, &message));

  grpc::ByteBuffer nothing;
  EXPECT_FALSE(ParseMessage(&nothing, &message)) << "no message at all";

  grpc::ByteBuffer empty = ToByteBuffer(v1::ProduceRequest());
  EXPECT_TRUE(ParseMessage(&empty, &message)) << "a message without fields";
}

}  // namespace
}  // namespace sluice::rpc
