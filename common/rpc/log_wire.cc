#include "common/rpc/log_wire.h"

#include <utility>
#include <variant>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/log_wire_parts.h"
#include "common/rpc/slice_writer.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {
namespace {

constexpr int32_t kAcksDefault = -1;

absl::Status Named(int index, const absl::Status& status) {
  return MakeError(CodeOf(status), "partition ", index, " of the request: ",
                   StdView(status.message()));
}

absl::StatusOr<api::ProducePartition> ProducePartitionFromProto(
    v1::ProducePartition& from) {
  api::ProducePartition to;
  ASSIGN_OR_RETURN(to.topic, TopicRefFromProto(from.topic()));
  if (from.has_partition()) to.partition = PartitionIndex(from.partition());
  switch (from.payload_case()) {
    case v1::ProducePartition::kBatches:
      to.payload =
          MutableBuffer::Adopt(std::move(*from.mutable_batches()));
      break;
    case v1::ProducePartition::kRecords:
      to.payload = RecordsFromProto(std::move(*from.mutable_records()));
      break;
    case v1::ProducePartition::PAYLOAD_NOT_SET:
      return MakeError(ErrorCode::kInvalidRequest,
                       "no payload; set `batches` or `records`");
  }
  if (from.has_leader_epoch()) {
    to.leader_epoch = LeaderEpoch(from.leader_epoch());
  }
  if (from.has_producer_id()) to.producer_id = ProducerId(from.producer_id());
  if (from.has_producer_epoch()) to.producer_epoch = from.producer_epoch();
  if (from.has_base_sequence()) to.base_sequence = from.base_sequence();
  return to;
}

absl::StatusOr<api::SubscribePartition> SubscribePartitionFromProto(
    const v1::SubscribePartition& from) {
  api::SubscribePartition to;
  ASSIGN_OR_RETURN(to.topic, TopicRefFromProto(from.topic()));
  to.partition = PartitionIndex(from.partition());
  if (from.has_leader_epoch()) {
    to.leader_epoch = LeaderEpoch(from.leader_epoch());
  }
  switch (from.start_case()) {
    case v1::SubscribePartition::kOffset:
      to.start = Offset(from.offset());
      return to;
    case v1::SubscribePartition::kPosition:
      switch (from.position()) {
        case v1::SubscribePartition::START_UNSPECIFIED:
        case v1::SubscribePartition::START_EARLIEST:
          to.start = api::StartPosition::kEarliest;
          return to;
        case v1::SubscribePartition::START_LATEST:
          to.start = api::StartPosition::kLatest;
          return to;
        default:
          return MakeError(ErrorCode::kInvalidRequest, "start position ",
                           static_cast<int>(from.position()),
                           " is not known; use EARLIEST, LATEST or an offset");
      }
    case v1::SubscribePartition::START_NOT_SET:
      return to;
  }
  return to;
}

api::OffsetPosition PositionFromProto(
    v1::ListOffsetsPartition::Position position) {
  switch (position) {
    case v1::ListOffsetsPartition::POSITION_EARLIEST:
      return api::OffsetPosition::kEarliest;
    case v1::ListOffsetsPartition::POSITION_LATEST:
      return api::OffsetPosition::kLatest;
    case v1::ListOffsetsPartition::POSITION_TIMESTAMP:
      return api::OffsetPosition::kTimestamp;
    case v1::ListOffsetsPartition::POSITION_MAX_TIMESTAMP:
      return api::OffsetPosition::kMaxTimestamp;
    default:
      return api::OffsetPosition::kInvalid;
  }
}

void ToProto(const api::ProduceResult& from, v1::ProduceResult* to) {
  ResultHeadToProto(from.topic, from.partition, from.error, from.leader, to);
  to->set_base_offset(from.base_offset.value());
  to->set_log_append_time_ms(from.log_append_time_ms);
  to->set_log_start_offset(from.log_start_offset.value());
  for (const api::RecordError& error : from.record_errors) {
    v1::RecordError* out = to->add_record_errors();
    out->set_record_index(error.record_index);
    out->set_message(WireText(error.message, error.message.size()));
  }
  to->set_record_count(from.record_count);
  to->set_durability(from.durability);
  to->set_below_min_isr(from.below_min_isr);
  to->mutable_record_indexes()->Add(from.record_indexes.begin(),
                                    from.record_indexes.end());
  to->set_duplicate(from.duplicate);
}

template <class Message>
void PreferredToProto(const api::FetchResult& from, Message* to) {
  to->set_preferred_replica(from.preferred_replica.value());
  if (from.preferred_endpoint.port == 0) return;
  auto* endpoint = to->mutable_preferred_replica_endpoint();
  endpoint->set_host(from.preferred_endpoint.host);
  endpoint->set_port(from.preferred_endpoint.port);
}

// All but a payload of batches.
void SmallPartOf(api::FetchResult& from, v1::FetchResult* to) {
  ResultHeadToProto(from.topic, from.partition, from.error, from.leader, to);
  to->set_high_watermark(from.high_watermark.value());
  to->set_last_stable_offset(from.last_stable_offset.value());
  to->set_log_start_offset(from.log_start_offset.value());
  to->set_next_offset(from.next_offset.value());
  if (!from.records.empty()) {
    RecordsToProto(std::move(from.records), to->mutable_records());
  }
  PreferredToProto(from, to);
  for (const auto& aborted : from.aborted_transactions) {
    auto* out = to->add_aborted_transactions();
    out->set_producer_id(aborted.producer_id.value());
    out->set_first_offset(aborted.first_offset.value());
  }
  to->set_leader_epoch(from.leader_epoch.value());
  if (from.diverging.has_value()) {
    EpochEndToProto(*from.diverging, to->mutable_diverging());
  }
  to->set_last_record_epoch(from.last_record_epoch.value());
}

void SmallPartOf(api::SubscribeResponse& from, v1::SubscribeResponse* to) {
  api::FetchResult& result = from.result;
  ResultHeadToProto(result.topic, result.partition, result.error,
                    result.leader, to);
  to->set_high_watermark(result.high_watermark.value());
  to->set_log_start_offset(result.log_start_offset.value());
  to->set_next_offset(result.next_offset.value());
  if (!result.records.empty()) {
    RecordsToProto(std::move(result.records), to->mutable_records());
  }
  to->set_leader_epoch(result.leader_epoch.value());
  to->set_charged_bytes(from.charged_bytes);
  PreferredToProto(result, to);
}

size_t BytesOf(const std::vector<Buffer>& batches) {
  size_t bytes = 0;
  for (const Buffer& batch : batches) bytes += batch.size();
  return bytes;
}

void AppendBatches(int field_number, const std::vector<Buffer>& batches,
                   size_t bytes, SliceWriter& writer) {
  if (bytes == 0) return;
  writer.AppendFieldHead(field_number, bytes);
  for (const Buffer& batch : batches) writer.Append(batch);
}

}  // namespace

absl::StatusOr<api::ProduceRequest> ProduceRequestFromProto(
    v1::ProduceRequest message) {
  api::ProduceRequest request;
  request.acks = message.has_acks() ? message.acks() : kAcksDefault;
  request.timeout_ms = message.timeout_ms();
  request.transactional_id = message.transactional_id();
  ASSIGN_OR_RETURN(request.route, RouteFromProto(message.route()));
  request.partitions.reserve(message.partitions_size());
  for (int i = 0; i < message.partitions_size(); ++i) {
    auto partition = ProducePartitionFromProto(*message.mutable_partitions(i));
    if (!partition.ok()) return Named(i, partition.status());
    request.partitions.push_back(*std::move(partition));
  }
  return request;
}

absl::StatusOr<api::ProduceStreamRequest> ProduceStreamRequestFromProto(
    v1::ProduceStreamRequest message) {
  api::ProduceStreamRequest request;
  request.correlation_id = message.correlation_id();
  ASSIGN_OR_RETURN(
      request.request,
      ProduceRequestFromProto(std::move(*message.mutable_request())));
  return request;
}

absl::StatusOr<api::FetchRequest> FetchRequestFromProto(
    const v1::FetchRequest& message) {
  api::FetchRequest request;
  request.min_bytes = message.min_bytes();
  request.max_wait_ms = message.max_wait_ms();
  request.max_bytes = message.max_bytes();
  ASSIGN_OR_RETURN(request.isolation, IsolationFromProto(message.isolation()));
  ASSIGN_OR_RETURN(request.form, PayloadFormFromProto(message.form()));
  request.rack = message.rack();
  ASSIGN_OR_RETURN(request.route, RouteFromProto(message.route()));
  request.partitions.reserve(message.partitions_size());
  for (int i = 0; i < message.partitions_size(); ++i) {
    const v1::FetchPartition& from = message.partitions(i);
    api::FetchPartition& to = request.partitions.emplace_back();
    auto topic = TopicRefFromProto(from.topic());
    if (!topic.ok()) return Named(i, topic.status());
    to.topic = *std::move(topic);
    to.partition = PartitionIndex(from.partition());
    to.offset = Offset(from.offset());
    to.max_bytes = from.max_bytes();
    if (from.has_leader_epoch()) {
      to.leader_epoch = LeaderEpoch(from.leader_epoch());
    }
    if (from.has_last_fetched_epoch()) {
      to.last_fetched_epoch = LeaderEpoch(from.last_fetched_epoch());
    }
  }
  return request;
}

absl::StatusOr<api::ListOffsetsRequest> ListOffsetsRequestFromProto(
    const v1::ListOffsetsRequest& message) {
  api::ListOffsetsRequest request;
  ASSIGN_OR_RETURN(request.isolation, IsolationFromProto(message.isolation()));
  ASSIGN_OR_RETURN(request.route, RouteFromProto(message.route()));
  request.partitions.reserve(message.partitions_size());
  for (int i = 0; i < message.partitions_size(); ++i) {
    const v1::ListOffsetsPartition& from = message.partitions(i);
    api::ListOffsetsPartition& to = request.partitions.emplace_back();
    auto topic = TopicRefFromProto(from.topic());
    if (!topic.ok()) return Named(i, topic.status());
    to.topic = *std::move(topic);
    to.partition = PartitionIndex(from.partition());
    to.position = PositionFromProto(from.position());
    to.timestamp_ms = from.timestamp_ms();
    if (from.has_leader_epoch()) {
      to.leader_epoch = LeaderEpoch(from.leader_epoch());
    }
  }
  return request;
}

absl::StatusOr<api::OffsetForLeaderEpochRequest>
OffsetForLeaderEpochRequestFromProto(
    const v1::OffsetForLeaderEpochRequest& message) {
  api::OffsetForLeaderEpochRequest request;
  ASSIGN_OR_RETURN(request.route, RouteFromProto(message.route()));
  request.partitions.reserve(message.partitions_size());
  for (int i = 0; i < message.partitions_size(); ++i) {
    const v1::OffsetForLeaderEpochPartition& from = message.partitions(i);
    auto& to = request.partitions.emplace_back();
    auto topic = TopicRefFromProto(from.topic());
    if (!topic.ok()) return Named(i, topic.status());
    to.topic = *std::move(topic);
    to.partition = PartitionIndex(from.partition());
    to.leader_epoch = LeaderEpoch(from.leader_epoch());
    if (from.has_current_leader_epoch()) {
      to.current_leader_epoch = LeaderEpoch(from.current_leader_epoch());
    }
  }
  return request;
}

absl::StatusOr<api::DeleteRecordsRequest> DeleteRecordsRequestFromProto(
    const v1::DeleteRecordsRequest& message) {
  api::DeleteRecordsRequest request;
  request.timeout_ms = message.timeout_ms();
  request.validate_only = message.validate_only();
  ASSIGN_OR_RETURN(request.route, RouteFromProto(message.route()));
  request.partitions.reserve(message.partitions_size());
  for (int i = 0; i < message.partitions_size(); ++i) {
    const v1::DeleteRecordsPartition& from = message.partitions(i);
    api::DeleteRecordsPartition& to = request.partitions.emplace_back();
    auto topic = TopicRefFromProto(from.topic());
    if (!topic.ok()) return Named(i, topic.status());
    to.topic = *std::move(topic);
    to.partition = PartitionIndex(from.partition());
    to.before_offset = Offset(from.before_offset());
    if (from.has_leader_epoch()) {
      to.leader_epoch = LeaderEpoch(from.leader_epoch());
    }
  }
  return request;
}

absl::StatusOr<api::SubscribeRequest> SubscribeRequestFromProto(
    const v1::SubscribeRequest& message) {
  api::SubscribeRequest request;
  request.credit_bytes = message.credit_bytes();
  ASSIGN_OR_RETURN(request.isolation, IsolationFromProto(message.isolation()));
  ASSIGN_OR_RETURN(request.form, PayloadFormFromProto(message.form()));
  ASSIGN_OR_RETURN(request.route, RouteFromProto(message.route()));
  request.rack = message.rack();
  request.partitions.reserve(message.partitions_size());
  for (int i = 0; i < message.partitions_size(); ++i) {
    auto partition = SubscribePartitionFromProto(message.partitions(i));
    if (!partition.ok()) return Named(i, partition.status());
    request.partitions.push_back(*std::move(partition));
  }
  request.stop.reserve(message.stop_size());
  for (int i = 0; i < message.stop_size(); ++i) {
    auto partition = SubscribePartitionFromProto(message.stop(i));
    if (!partition.ok()) return Named(i, partition.status());
    request.stop.push_back(*std::move(partition));
  }
  return request;
}

grpc::ByteBuffer EncodeProduceResponse(const api::ProduceResponse& response) {
  v1::ProduceResponse message;
  for (const auto& result : response.results) {
    ToProto(result, message.add_results());
  }
  message.set_throttle_ms(response.throttle_ms);
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeProduceStreamResponse(
    const api::ProduceStreamResponse& response) {
  v1::ProduceStreamResponse message;
  message.set_correlation_id(response.correlation_id);
  for (const auto& result : response.results) {
    ToProto(result, message.add_results());
  }
  message.set_complete(response.complete);
  if (!response.error.ok()) {
    ItemErrorToProto(response.error, message.mutable_error());
  }
  message.set_throttle_ms(response.throttle_ms);
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeFetchResponse(api::FetchResponse response) {
  constexpr int kResults = v1::FetchResponse::kResultsFieldNumber;
  constexpr int kBatches = v1::FetchResult::kBatchesFieldNumber;
  SliceWriter writer;
  v1::FetchResult small;
  for (api::FetchResult& result : response.results) {
    small.Clear();
    const bool typed = !result.records.empty();
    SmallPartOf(result, &small);
    const size_t bytes = typed ? 0 : BytesOf(result.batches);
    writer.AppendFieldHead(
        kResults,
        small.ByteSizeLong() +
            (bytes == 0 ? 0 : SliceWriter::FieldSize(kBatches, bytes)));
    writer.Append(small);
    AppendBatches(kBatches, result.batches, bytes, writer);
  }
  v1::FetchResponse rest;
  rest.set_throttle_ms(response.throttle_ms);
  writer.Append(rest);
  return std::move(writer).Finish();
}

grpc::ByteBuffer EncodeListOffsetsResponse(
    const api::ListOffsetsResponse& response) {
  v1::ListOffsetsResponse message;
  for (const api::ListOffsetsResult& from : response.results) {
    v1::ListOffsetsResult* to = message.add_results();
    ResultHeadToProto(from.topic, from.partition, from.error, from.leader, to);
    to->set_offset(from.offset.value());
    to->set_leader_epoch(from.leader_epoch.value());
    to->set_high_watermark(from.high_watermark.value());
    to->set_last_stable_offset(from.last_stable_offset.value());
    to->set_timestamp_ms(from.timestamp_ms);
  }
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeOffsetForLeaderEpochResponse(
    const api::OffsetForLeaderEpochResponse& response) {
  v1::OffsetForLeaderEpochResponse message;
  for (const api::OffsetForLeaderEpochResult& from : response.results) {
    v1::OffsetForLeaderEpochResult* to = message.add_results();
    ResultHeadToProto(from.topic, from.partition, from.error, from.leader, to);
    EpochEndToProto(from.end, to->mutable_end());
    to->set_log_start_offset(from.log_start_offset.value());
  }
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeDeleteRecordsResponse(
    const api::DeleteRecordsResponse& response) {
  v1::DeleteRecordsResponse message;
  for (const api::DeleteRecordsResult& from : response.results) {
    v1::DeleteRecordsResult* to = message.add_results();
    ResultHeadToProto(from.topic, from.partition, from.error, from.leader, to);
    to->set_log_start_offset(from.log_start_offset.value());
    to->set_high_watermark(from.high_watermark.value());
  }
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeSubscribeResponse(api::SubscribeResponse response) {
  SliceWriter writer;
  v1::SubscribeResponse small;
  const bool typed = !response.result.records.empty();
  SmallPartOf(response, &small);
  writer.Append(small);
  AppendBatches(v1::SubscribeResponse::kBatchesFieldNumber,
                response.result.batches,
                typed ? 0 : BytesOf(response.result.batches), writer);
  return std::move(writer).Finish();
}

}  // namespace sluice::rpc
