// The client's side of log_wire.h.
#include <utility>
#include <variant>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/log_wire.h"
#include "common/rpc/log_wire_parts.h"
#include "common/rpc/slice_writer.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {
namespace {

// All but a payload of batches.
void SmallPartOf(api::ProducePartition& from, v1::ProducePartition* to) {
  TopicRefToProto(from.topic, to->mutable_topic());
  if (from.partition.has_value()) to->set_partition(from.partition->value());
  if (auto* records = std::get_if<std::vector<api::Record>>(&from.payload)) {
    RecordsToProto(std::move(*records), to->mutable_records());
  }
  if (from.leader_epoch.has_value()) {
    to->set_leader_epoch(from.leader_epoch->value());
  }
  if (from.producer_id.has_value()) {
    to->set_producer_id(from.producer_id->value());
  }
  if (from.producer_epoch.has_value()) {
    to->set_producer_epoch(*from.producer_epoch);
  }
  if (from.base_sequence.has_value()) {
    to->set_base_sequence(*from.base_sequence);
  }
}

absl::StatusOr<std::vector<api::ProduceResult>> ProduceResultsFromProto(
    google::protobuf::RepeatedPtrField<v1::ProduceResult>& from_all) {
  std::vector<api::ProduceResult> results;
  results.reserve(from_all.size());
  for (v1::ProduceResult& from : from_all) {
    api::ProduceResult& to = results.emplace_back();
    RETURN_IF_ERROR(ResultHeadFromProto(from, to.topic, to.partition, to.error,
                                        to.leader));
    to.base_offset = Offset(from.base_offset());
    to.log_append_time_ms = from.log_append_time_ms();
    to.log_start_offset = Offset(from.log_start_offset());
    for (v1::RecordError& error : *from.mutable_record_errors()) {
      to.record_errors.push_back(
          {error.record_index(), std::move(*error.mutable_message())});
    }
    to.record_count = from.record_count();
    to.durability = std::move(*from.mutable_durability());
    to.below_min_isr = from.below_min_isr();
    to.duplicate = from.duplicate();
    to.record_indexes.assign(from.record_indexes().begin(),
                             from.record_indexes().end());
  }
  return results;
}

template <class Message>
void PreferredFromProto(const Message& from, api::FetchResult& to) {
  to.preferred_replica = NodeId(from.preferred_replica());
  to.preferred_endpoint = {from.preferred_replica_endpoint().host(),
                           from.preferred_replica_endpoint().port()};
}

v1::ListOffsetsPartition::Position PositionToProto(
    api::OffsetPosition position) {
  switch (position) {
    case api::OffsetPosition::kEarliest:
      return v1::ListOffsetsPartition::POSITION_EARLIEST;
    case api::OffsetPosition::kLatest:
      return v1::ListOffsetsPartition::POSITION_LATEST;
    case api::OffsetPosition::kTimestamp:
      return v1::ListOffsetsPartition::POSITION_TIMESTAMP;
    case api::OffsetPosition::kMaxTimestamp:
      return v1::ListOffsetsPartition::POSITION_MAX_TIMESTAMP;
    case api::OffsetPosition::kInvalid:
      break;
  }
  return v1::ListOffsetsPartition::POSITION_UNSPECIFIED;
}

void SubscribePartitionToProto(const api::SubscribePartition& from,
                               v1::SubscribePartition* to) {
  TopicRefToProto(from.topic, to->mutable_topic());
  to->set_partition(from.partition.value());
  if (from.leader_epoch.has_value()) {
    to->set_leader_epoch(from.leader_epoch->value());
  }
  if (const Offset* offset = std::get_if<Offset>(&from.start)) {
    to->set_offset(offset->value());
  } else {
    to->set_position(std::get<api::StartPosition>(from.start) ==
                             api::StartPosition::kLatest
                         ? v1::SubscribePartition::START_LATEST
                         : v1::SubscribePartition::START_EARLIEST);
  }
}

}  // namespace

grpc::ByteBuffer EncodeProduceRequest(api::ProduceRequest request,
                                      const std::string& client_id) {
  constexpr int kPartitions = v1::ProduceRequest::kPartitionsFieldNumber;
  constexpr int kBatches = v1::ProducePartition::kBatchesFieldNumber;
  SliceWriter writer;
  v1::ProducePartition small;
  for (api::ProducePartition& partition : request.partitions) {
    small.Clear();
    SmallPartOf(partition, &small);
    auto* const buffer = std::get_if<MutableBuffer>(&partition.payload);
    if (buffer == nullptr) {
      writer.AppendFieldHead(kPartitions, small.ByteSizeLong());
      writer.Append(small);
      continue;
    }
    // Written even when empty: which form was meant must arrive.
    const Buffer batches = std::move(*buffer).Publish();
    writer.AppendFieldHead(
        kPartitions, small.ByteSizeLong() +
                         SliceWriter::FieldSize(kBatches, batches.size()));
    writer.Append(small);
    writer.AppendFieldHead(kBatches, batches.size());
    writer.Append(batches);
  }
  v1::ProduceRequest rest;
  rest.set_acks(request.acks);
  rest.set_timeout_ms(request.timeout_ms);
  rest.set_client_id(client_id);
  rest.set_transactional_id(request.transactional_id);
  rest.set_route(RouteToProto(request.route));
  writer.Append(rest);
  return std::move(writer).Finish();
}

grpc::ByteBuffer EncodeProduceStreamRequest(api::ProduceStreamRequest request,
                                            const std::string& client_id) {
  v1::ProduceStreamRequest small;
  small.set_correlation_id(request.correlation_id);
  const grpc::ByteBuffer body =
      EncodeProduceRequest(std::move(request.request), client_id);
  SliceWriter writer;
  writer.Append(small);
  writer.AppendFieldHead(v1::ProduceStreamRequest::kRequestFieldNumber,
                         body.Length());
  writer.Append(body);
  return std::move(writer).Finish();
}

grpc::ByteBuffer EncodeFetchRequest(const api::FetchRequest& request,
                                    const std::string& client_id) {
  v1::FetchRequest message;
  for (const api::FetchPartition& from : request.partitions) {
    v1::FetchPartition* to = message.add_partitions();
    TopicRefToProto(from.topic, to->mutable_topic());
    to->set_partition(from.partition.value());
    to->set_offset(from.offset.value());
    to->set_max_bytes(from.max_bytes);
    if (from.leader_epoch.has_value()) {
      to->set_leader_epoch(from.leader_epoch->value());
    }
    if (from.last_fetched_epoch.has_value()) {
      to->set_last_fetched_epoch(from.last_fetched_epoch->value());
    }
  }
  message.set_min_bytes(request.min_bytes);
  message.set_max_wait_ms(request.max_wait_ms);
  message.set_max_bytes(request.max_bytes);
  message.set_isolation(IsolationToProto(request.isolation));
  message.set_form(PayloadFormToProto(request.form));
  message.set_client_id(client_id);
  message.set_rack(request.rack);
  message.set_route(RouteToProto(request.route));
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeListOffsetsRequest(
    const api::ListOffsetsRequest& request) {
  v1::ListOffsetsRequest message;
  for (const api::ListOffsetsPartition& from : request.partitions) {
    v1::ListOffsetsPartition* to = message.add_partitions();
    TopicRefToProto(from.topic, to->mutable_topic());
    to->set_partition(from.partition.value());
    to->set_position(PositionToProto(from.position));
    to->set_timestamp_ms(from.timestamp_ms);
    if (from.leader_epoch.has_value()) {
      to->set_leader_epoch(from.leader_epoch->value());
    }
  }
  message.set_isolation(IsolationToProto(request.isolation));
  message.set_route(RouteToProto(request.route));
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeDeleteRecordsRequest(
    const api::DeleteRecordsRequest& request) {
  v1::DeleteRecordsRequest message;
  for (const api::DeleteRecordsPartition& from : request.partitions) {
    v1::DeleteRecordsPartition* to = message.add_partitions();
    TopicRefToProto(from.topic, to->mutable_topic());
    to->set_partition(from.partition.value());
    to->set_before_offset(from.before_offset.value());
    if (from.leader_epoch.has_value()) {
      to->set_leader_epoch(from.leader_epoch->value());
    }
  }
  message.set_timeout_ms(request.timeout_ms);
  message.set_validate_only(request.validate_only);
  message.set_route(RouteToProto(request.route));
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeOffsetForLeaderEpochRequest(
    const api::OffsetForLeaderEpochRequest& request) {
  v1::OffsetForLeaderEpochRequest message;
  for (const api::OffsetForLeaderEpochPartition& from : request.partitions) {
    v1::OffsetForLeaderEpochPartition* to = message.add_partitions();
    TopicRefToProto(from.topic, to->mutable_topic());
    to->set_partition(from.partition.value());
    to->set_leader_epoch(from.leader_epoch.value());
    if (from.current_leader_epoch.has_value()) {
      to->set_current_leader_epoch(from.current_leader_epoch->value());
    }
  }
  message.set_route(RouteToProto(request.route));
  return ToByteBuffer(message);
}

grpc::ByteBuffer EncodeSubscribeRequest(const api::SubscribeRequest& request,
                                        const std::string& client_id) {
  v1::SubscribeRequest message;
  for (const api::SubscribePartition& from : request.partitions) {
    SubscribePartitionToProto(from, message.add_partitions());
  }
  for (const api::SubscribePartition& from : request.stop) {
    SubscribePartitionToProto(from, message.add_stop());
  }
  message.set_credit_bytes(request.credit_bytes);
  message.set_isolation(IsolationToProto(request.isolation));
  message.set_form(PayloadFormToProto(request.form));
  message.set_client_id(client_id);
  message.set_route(RouteToProto(request.route));
  message.set_rack(request.rack);
  return ToByteBuffer(message);
}

absl::StatusOr<api::ProduceResponse> ProduceResponseFromProto(
    v1::ProduceResponse message) {
  api::ProduceResponse response;
  response.throttle_ms = message.throttle_ms();
  ASSIGN_OR_RETURN(response.results,
                   ProduceResultsFromProto(*message.mutable_results()));
  return response;
}

absl::StatusOr<api::ProduceStreamResponse> ProduceStreamResponseFromProto(
    v1::ProduceStreamResponse message) {
  api::ProduceStreamResponse response;
  response.correlation_id = message.correlation_id();
  response.complete = message.complete();
  if (message.has_error()) response.error = ItemErrorFromProto(message.error());
  response.throttle_ms = message.throttle_ms();
  ASSIGN_OR_RETURN(response.results,
                   ProduceResultsFromProto(*message.mutable_results()));
  return response;
}

absl::StatusOr<api::FetchResponse> FetchResponseFromProto(
    v1::FetchResponse message) {
  api::FetchResponse response;
  response.throttle_ms = message.throttle_ms();
  response.results.reserve(message.results_size());
  for (v1::FetchResult& from : *message.mutable_results()) {
    api::FetchResult& to = response.results.emplace_back();
    RETURN_IF_ERROR(ResultHeadFromProto(from, to.topic, to.partition, to.error,
                                        to.leader));
    to.high_watermark = Offset(from.high_watermark());
    to.last_stable_offset = Offset(from.last_stable_offset());
    to.log_start_offset = Offset(from.log_start_offset());
    to.next_offset = Offset(from.next_offset());
    if (from.has_batches() && !from.batches().empty()) {
      to.batches.push_back(Buffer::Take(std::move(*from.mutable_batches())));
    } else if (from.has_records()) {
      to.records = RecordsFromProto(std::move(*from.mutable_records()));
    }
    PreferredFromProto(from, to);
    for (const auto& aborted : from.aborted_transactions()) {
      to.aborted_transactions.push_back({ProducerId(aborted.producer_id()),
                                         Offset(aborted.first_offset())});
    }
    to.leader_epoch = LeaderEpoch(from.leader_epoch());
    if (from.has_diverging()) {
      to.diverging = EpochEndFromProto(from.diverging());
    }
    to.last_record_epoch = LeaderEpoch(from.last_record_epoch());
  }
  return response;
}

absl::StatusOr<api::ListOffsetsResponse> ListOffsetsResponseFromProto(
    const v1::ListOffsetsResponse& message) {
  api::ListOffsetsResponse response;
  response.results.reserve(message.results_size());
  for (const v1::ListOffsetsResult& from : message.results()) {
    api::ListOffsetsResult& to = response.results.emplace_back();
    RETURN_IF_ERROR(ResultHeadFromProto(from, to.topic, to.partition, to.error,
                                        to.leader));
    to.offset = Offset(from.offset());
    to.leader_epoch = LeaderEpoch(from.leader_epoch());
    to.high_watermark = Offset(from.high_watermark());
    to.last_stable_offset = Offset(from.last_stable_offset());
    to.timestamp_ms = from.timestamp_ms();
  }
  return response;
}

absl::StatusOr<api::DeleteRecordsResponse> DeleteRecordsResponseFromProto(
    const v1::DeleteRecordsResponse& message) {
  api::DeleteRecordsResponse response;
  response.results.reserve(message.results_size());
  for (const v1::DeleteRecordsResult& from : message.results()) {
    api::DeleteRecordsResult& to = response.results.emplace_back();
    RETURN_IF_ERROR(ResultHeadFromProto(from, to.topic, to.partition, to.error,
                                        to.leader));
    to.log_start_offset = Offset(from.log_start_offset());
    to.high_watermark = Offset(from.high_watermark());
  }
  return response;
}

absl::StatusOr<api::OffsetForLeaderEpochResponse>
OffsetForLeaderEpochResponseFromProto(
    const v1::OffsetForLeaderEpochResponse& message) {
  api::OffsetForLeaderEpochResponse response;
  response.results.reserve(message.results_size());
  for (const v1::OffsetForLeaderEpochResult& from : message.results()) {
    auto& to = response.results.emplace_back();
    RETURN_IF_ERROR(ResultHeadFromProto(from, to.topic, to.partition, to.error,
                                        to.leader));
    to.end = EpochEndFromProto(from.end());
    to.log_start_offset = Offset(from.log_start_offset());
  }
  return response;
}

absl::StatusOr<api::SubscribeResponse> SubscribeResponseFromProto(
    v1::SubscribeResponse message) {
  api::SubscribeResponse response;
  response.charged_bytes = message.charged_bytes();
  api::FetchResult& to = response.result;
  RETURN_IF_ERROR(ResultHeadFromProto(message, to.topic, to.partition, to.error,
                                      to.leader));
  to.high_watermark = Offset(message.high_watermark());
  to.log_start_offset = Offset(message.log_start_offset());
  to.next_offset = Offset(message.next_offset());
  if (message.has_batches() && !message.batches().empty()) {
    to.batches.push_back(Buffer::Take(std::move(*message.mutable_batches())));
  } else if (message.has_records()) {
    to.records = RecordsFromProto(std::move(*message.mutable_records()));
  }
  to.leader_epoch = LeaderEpoch(message.leader_epoch());
  PreferredFromProto(message, to);
  return response;
}

}  // namespace sluice::rpc
