#include "common/rpc/log_wire_parts.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {

absl::StatusOr<api::TopicRef> TopicRefFromProto(const v1::TopicRef& ref) {
  api::TopicRef out;
  switch (ref.topic_case()) {
    case v1::TopicRef::kName:
      out.name = ref.name();
      break;
    case v1::TopicRef::kId: {
      const auto id = TopicId::FromBytes(ref.id());
      if (!id.has_value() || !id->is_set()) {
        return MakeError(ErrorCode::kInvalidRequest, "topic id of ",
                         ref.id().size(),
                         " bytes; it has 16, not all of them zero");
      }
      out.id = *id;
      break;
    }
    case v1::TopicRef::TOPIC_NOT_SET:
      break;
  }
  return out;
}

void TopicRefToProto(const api::TopicRef& ref, v1::TopicRef* out) {
  if (ref.by_id()) {
    out->set_id(ref.id.ToBytes());
  } else {
    out->set_name(ref.name);
  }
}

std::optional<api::LeaderHint> LeaderHintFromProto(const v1::LeaderHint& hint) {
  api::LeaderHint out;
  out.leader_id = NodeId(hint.leader_id());
  out.leader_epoch = LeaderEpoch(hint.leader_epoch());
  out.endpoint = {hint.endpoint().host(), hint.endpoint().port()};
  return out;
}

void LeaderHintToProto(const api::LeaderHint& hint, v1::LeaderHint* out) {
  out->set_leader_id(hint.leader_id.value());
  out->set_leader_epoch(hint.leader_epoch.value());
  if (hint.endpoint.host.empty()) return;
  out->mutable_endpoint()->set_host(hint.endpoint.host);
  out->mutable_endpoint()->set_port(hint.endpoint.port);
}

EpochEnd EpochEndFromProto(const v1::EpochEnd& end) {
  return {LeaderEpoch(end.leader_epoch()), Offset(end.end_offset())};
}

void EpochEndToProto(const EpochEnd& end, v1::EpochEnd* out) {
  out->set_leader_epoch(end.epoch.value());
  out->set_end_offset(end.end.value());
}

std::vector<api::Record> RecordsFromProto(v1::RecordList list) {
  std::vector<api::Record> records;
  records.reserve(list.records_size());
  for (v1::Record& from : *list.mutable_records()) {
    api::Record& to = records.emplace_back();
    if (from.has_key()) to.key = std::move(*from.mutable_key());
    if (from.has_value()) to.value = std::move(*from.mutable_value());
    to.timestamp_ms = from.timestamp_ms();
    to.offset = Offset(from.offset());
    to.headers.reserve(from.headers_size());
    for (v1::Header& header : *from.mutable_headers()) {
      api::RecordHeader& into = to.headers.emplace_back();
      into.key = std::move(*header.mutable_key());
      if (header.has_value()) into.value = std::move(*header.mutable_value());
    }
  }
  return records;
}

void RecordsToProto(std::vector<api::Record> records, v1::RecordList* out) {
  out->mutable_records()->Reserve(static_cast<int>(records.size()));
  for (api::Record& from : records) {
    v1::Record* to = out->add_records();
    if (from.key.has_value()) to->set_key(*std::move(from.key));
    if (from.value.has_value()) to->set_value(*std::move(from.value));
    to->set_timestamp_ms(from.timestamp_ms);
    to->set_offset(from.offset.value());
    for (api::RecordHeader& header : from.headers) {
      v1::Header* into = to->add_headers();
      // A header's key is bytes in a batch and text here.
      into->set_key(WireText(header.key, header.key.size()));
      if (header.value.has_value()) into->set_value(*std::move(header.value));
    }
  }
}

absl::StatusOr<api::Isolation> IsolationFromProto(v1::Isolation isolation) {
  switch (isolation) {
    case v1::ISOLATION_UNSPECIFIED:
    case v1::ISOLATION_READ_UNCOMMITTED:
      return api::Isolation::kReadUncommitted;
    case v1::ISOLATION_READ_COMMITTED:
      return api::Isolation::kReadCommitted;
    default:
      return MakeError(ErrorCode::kInvalidRequest, "isolation ",
                       static_cast<int>(isolation),
                       " is not known; use READ_UNCOMMITTED or "
                       "READ_COMMITTED");
  }
}

v1::Isolation IsolationToProto(api::Isolation isolation) {
  return isolation == api::Isolation::kReadCommitted
             ? v1::ISOLATION_READ_COMMITTED
             : v1::ISOLATION_READ_UNCOMMITTED;
}

absl::StatusOr<api::PayloadForm> PayloadFormFromProto(v1::PayloadForm form) {
  switch (form) {
    case v1::PAYLOAD_FORM_UNSPECIFIED:
    case v1::PAYLOAD_FORM_RECORDS:
      return api::PayloadForm::kRecords;
    case v1::PAYLOAD_FORM_BATCHES:
      return api::PayloadForm::kBatches;
    default:
      return MakeError(ErrorCode::kInvalidRequest, "payload form ",
                       static_cast<int>(form),
                       " is not known; use RECORDS or BATCHES");
  }
}

v1::PayloadForm PayloadFormToProto(api::PayloadForm form) {
  return form == api::PayloadForm::kBatches ? v1::PAYLOAD_FORM_BATCHES
                                            : v1::PAYLOAD_FORM_RECORDS;
}

absl::StatusOr<api::Route> RouteFromProto(v1::Route route) {
  switch (route) {
    case v1::ROUTE_UNSPECIFIED:
    case v1::ROUTE_DIRECT:
      return api::Route::kDirect;
    case v1::ROUTE_FORWARD:
      return api::Route::kForward;
    default:
      return MakeError(ErrorCode::kInvalidRequest, "route ",
                       static_cast<int>(route),
                       " is not known; use DIRECT or FORWARD");
  }
}

v1::Route RouteToProto(api::Route route) {
  return route == api::Route::kForward ? v1::ROUTE_FORWARD
                                       : v1::ROUTE_UNSPECIFIED;
}

template <class Message>
absl::Status ResultHeadFromProto(const Message& message, api::TopicRef& topic,
                                 PartitionIndex& partition,
                                 api::ItemError& error,
                                 std::optional<api::LeaderHint>& leader) {
  ASSIGN_OR_RETURN(topic, TopicRefFromProto(message.topic()));
  partition = PartitionIndex(message.partition());
  if (message.has_error()) error = ItemErrorFromProto(message.error());
  if (message.has_leader()) leader = LeaderHintFromProto(message.leader());
  return absl::OkStatus();
}

template <class Message>
void ResultHeadToProto(const api::TopicRef& topic, PartitionIndex partition,
                       const api::ItemError& error,
                       const std::optional<api::LeaderHint>& leader,
                       Message* message) {
  TopicRefToProto(topic, message->mutable_topic());
  message->set_partition(partition.value());
  if (!error.ok()) ItemErrorToProto(error, message->mutable_error());
  if (leader.has_value()) LeaderHintToProto(*leader, message->mutable_leader());
}

#define SLUICE_RESULT_HEAD(Message)                                           \
  template absl::Status ResultHeadFromProto(                                  \
      const Message&, api::TopicRef&, PartitionIndex&, api::ItemError&,       \
      std::optional<api::LeaderHint>&);                                       \
  template void ResultHeadToProto(const api::TopicRef&, PartitionIndex,       \
                                  const api::ItemError&,                      \
                                  const std::optional<api::LeaderHint>&,      \
                                  Message*);
SLUICE_RESULT_HEAD(v1::ProduceResult)
SLUICE_RESULT_HEAD(v1::FetchResult)
SLUICE_RESULT_HEAD(v1::ListOffsetsResult)
SLUICE_RESULT_HEAD(v1::OffsetForLeaderEpochResult)
SLUICE_RESULT_HEAD(v1::DeleteRecordsResult)
SLUICE_RESULT_HEAD(v1::SubscribeResponse)
#undef SLUICE_RESULT_HEAD

}  // namespace sluice::rpc
