#include "common/rpc/replication_wire.h"

#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/slice_writer.h"
#include "common/rpc/status_wire.h"
#include "sluice/internal/v1/replication.pb.h"

namespace sluice::rpc {
namespace {

namespace pb = internal::v1;

template <class... Parts>
absl::Status Bad(const Parts&... parts) {
  return MakeError(ErrorCode::kInvalidRequest, "replication frame: ",
                   parts...);
}

// Every message about a partition has the same four fields.
template <class In, class Proto>
void PutPartition(const In& in, Proto* out) {
  out->set_topic_id(in.tp.topic_id.ToBytes());
  out->set_partition(in.tp.partition.value());
  out->set_leader_epoch(in.leader_epoch.value());
  out->set_add_number(in.add_number.value());
}

template <class Proto, class Out>
absl::Status TakePartition(const Proto& in, Out* out) {
  const auto topic_id = TopicId::FromBytes(in.topic_id());
  if (!topic_id.has_value() || !topic_id->is_set()) {
    return Bad("a topic id of ", in.topic_id().size(), " bytes; 16 are one");
  }
  if (in.partition() < 0 || in.leader_epoch() < 0 || in.add_number() < 1) {
    return Bad("partition ", in.partition(), ", leader epoch ",
               in.leader_epoch(), ", question ", in.add_number(),
               "; questions count from 1");
  }
  out->tp = {*topic_id, PartitionIndex(in.partition())};
  out->leader_epoch = LeaderEpoch(in.leader_epoch());
  out->add_number = AddNumber(in.add_number());
  return absl::OkStatus();
}

void PutError(const api::ItemError& error, v1::Error* out) {
  ItemErrorToProto(error, out);
}

pb::StreamKind KindToProto(StreamKind kind) {
  return kind == StreamKind::kCatchUp ? pb::STREAM_KIND_CATCH_UP
                                      : pb::STREAM_KIND_MAIN;
}

absl::StatusOr<StreamKind> KindFromProto(pb::StreamKind kind) {
  switch (kind) {
    case pb::STREAM_KIND_UNSPECIFIED:
    case pb::STREAM_KIND_MAIN:
      return StreamKind::kMain;
    case pb::STREAM_KIND_CATCH_UP:
      return StreamKind::kCatchUp;
    default:
      return Bad("a stream of kind ", static_cast<int>(kind));
  }
}

absl::StatusOr<OpenSession> OpenFromProto(const pb::OpenSession& in) {
  OpenSession open;
  const auto cluster = ClusterId::FromBytes(in.cluster_id());
  const auto incarnation = IncarnationId::FromBytes(in.incarnation_id());
  if (!cluster.has_value() || !incarnation.has_value()) {
    return Bad("a cluster id of ", in.cluster_id().size(),
               " bytes, an incarnation id of ", in.incarnation_id().size());
  }
  if (in.broker_id() < 1 || in.leader_id() < 1 || in.broker_epoch() < 0) {
    return Bad("broker ", in.broker_id(), " of epoch ", in.broker_epoch(),
               " to leader ", in.leader_id());
  }
  open.cluster_id = *cluster;
  open.broker_id = NodeId(in.broker_id());
  open.broker_epoch = BrokerEpoch(in.broker_epoch());
  open.incarnation_id = *incarnation;
  open.leader_id = NodeId(in.leader_id());
  ASSIGN_OR_RETURN(open.kind, KindFromProto(in.kind()));
  return open;
}

void OpenToProto(const OpenSession& open, pb::OpenSession* out) {
  out->set_cluster_id(open.cluster_id.ToBytes());
  out->set_broker_id(open.broker_id.value());
  out->set_broker_epoch(open.broker_epoch.value());
  out->set_incarnation_id(open.incarnation_id.ToBytes());
  out->set_leader_id(open.leader_id.value());
  out->set_kind(KindToProto(open.kind));
}

void AddAnswerToProto(const AddAnswer& answer, pb::AddAnswer* out) {
  PutPartition(answer, out);
  if (!answer.error.ok()) PutError(answer.error, out->mutable_error());
  out->set_log_start_offset(answer.log_start_offset.value());
  out->set_diverging(answer.diverging);
  out->set_diverging_epoch(answer.diverging_epoch.value());
  out->set_diverging_end_offset(answer.diverging_end_offset.value());
  out->set_fetch_offset(answer.fetch_offset.value());
}

absl::StatusOr<AddAnswer> AddAnswerFromProto(const pb::AddAnswer& in) {
  AddAnswer answer;
  RETURN_IF_ERROR(TakePartition(in, &answer));
  if (in.has_error()) answer.error = ItemErrorFromProto(in.error());
  answer.log_start_offset = Offset(in.log_start_offset());
  answer.diverging = in.diverging();
  answer.diverging_epoch = LeaderEpoch(in.diverging_epoch());
  answer.diverging_end_offset = Offset(in.diverging_end_offset());
  answer.fetch_offset = Offset(in.fetch_offset());
  return answer;
}

// The small fields; `batches` follows them by reference.
pb::ReplicaData DataHead(const ReplicaData& data) {
  pb::ReplicaData head;
  PutPartition(data, &head);
  head.set_high_watermark(data.high_watermark.value());
  return head;
}

void AppendData(const ReplicaData& data, SliceWriter& out) {
  const pb::ReplicaData head = DataHead(data);
  const size_t bytes = data.batches.size();
  out.AppendFieldHead(
      pb::LeaderFrame::kDataFieldNumber,
      head.ByteSizeLong() +
          SliceWriter::FieldSize(pb::ReplicaData::kBatchesFieldNumber, bytes));
  out.Append(head);
  out.AppendFieldHead(pb::ReplicaData::kBatchesFieldNumber, bytes);
  out.Append(data.batches);
}

absl::StatusOr<ReplicaData> DataFromProto(pb::ReplicaData& in) {
  ReplicaData data;
  RETURN_IF_ERROR(TakePartition(in, &data));
  if (in.high_watermark() < 0) {
    return Bad("high watermark ", in.high_watermark());
  }
  // What was parsed is owned from here on, without another copy.
  data.batches = Buffer::Take(std::move(*in.mutable_batches()));
  data.high_watermark = Offset(in.high_watermark());
  return data;
}

}  // namespace

grpc::ByteBuffer EncodeLeaderFrame(LeaderFrame frame) {
  pb::LeaderFrame small;
  if (!frame.refused.ok()) PutError(frame.refused, small.mutable_refused());
  for (const AddAnswer& answer : frame.add_answers) {
    AddAnswerToProto(answer, small.add_add_answers());
  }
  for (const HighWatermarkMoved& moved : frame.high_watermarks) {
    auto* out = small.add_high_watermarks();
    PutPartition(moved, out);
    out->set_high_watermark(moved.high_watermark.value());
  }
  for (const ReplicaRemoved& removed : frame.removed) {
    auto* out = small.add_removed();
    PutPartition(removed, out);
    PutError(removed.error, out->mutable_error());
  }
  for (const ReplicaMoved& moved : frame.moved) {
    auto* out = small.add_moved();
    PutPartition(moved, out);
    out->set_to(KindToProto(moved.to));
  }
  SliceWriter writer;
  writer.Append(small);
  for (const ReplicaData& data : frame.data) AppendData(data, writer);
  return std::move(writer).Finish();
}

absl::StatusOr<LeaderFrame> DecodeLeaderFrame(grpc::ByteBuffer* bytes) {
  pb::LeaderFrame in;
  if (!ParseMessage(bytes, &in)) return Bad("no LeaderFrame");
  LeaderFrame frame;
  if (in.has_refused()) frame.refused = ItemErrorFromProto(in.refused());
  for (const pb::AddAnswer& answer : in.add_answers()) {
    ASSIGN_OR_RETURN(frame.add_answers.emplace_back(),
                     AddAnswerFromProto(answer));
  }
  for (pb::ReplicaData& data : *in.mutable_data()) {
    ASSIGN_OR_RETURN(frame.data.emplace_back(), DataFromProto(data));
  }
  for (const pb::HighWatermarkMoved& moved : in.high_watermarks()) {
    HighWatermarkMoved& out = frame.high_watermarks.emplace_back();
    RETURN_IF_ERROR(TakePartition(moved, &out));
    if (moved.high_watermark() < 0) {
      return Bad("high watermark ", moved.high_watermark());
    }
    out.high_watermark = Offset(moved.high_watermark());
  }
  for (const pb::ReplicaRemoved& removed : in.removed()) {
    ReplicaRemoved& out = frame.removed.emplace_back();
    RETURN_IF_ERROR(TakePartition(removed, &out));
    out.error = ItemErrorFromProto(removed.error());
  }
  for (const pb::ReplicaMoved& moved : in.moved()) {
    ReplicaMoved& out = frame.moved.emplace_back();
    RETURN_IF_ERROR(TakePartition(moved, &out));
    ASSIGN_OR_RETURN(out.to, KindFromProto(moved.to()));
  }
  return frame;
}

grpc::ByteBuffer EncodeFollowerFrame(const FollowerFrame& frame) {
  pb::FollowerFrame out;
  if (frame.open.has_value()) OpenToProto(*frame.open, out.mutable_open());
  for (const AddReplica& add : frame.adds) {
    auto* to = out.add_adds();
    PutPartition(add, to);
    to->set_fetch_offset(add.fetch_offset.value());
    to->set_last_fetched_epoch(add.last_fetched_epoch.value());
  }
  for (const AckReplica& ack : frame.acks) {
    auto* to = out.add_acks();
    PutPartition(ack, to);
    to->set_appended_offset(ack.appended_leo.value());
    to->set_durable_offset(ack.durable_leo.value());
  }
  for (const RemoveReplica& remove : frame.removes) {
    PutPartition(remove, out.add_removes());
  }
  out.set_credit_bytes(frame.credit_bytes);
  return ToByteBuffer(out);
}

absl::StatusOr<FollowerFrame> DecodeFollowerFrame(grpc::ByteBuffer* bytes) {
  pb::FollowerFrame in;
  if (!ParseMessage(bytes, &in)) return Bad("no FollowerFrame");
  FollowerFrame frame;
  if (in.has_open()) {
    ASSIGN_OR_RETURN(frame.open, OpenFromProto(in.open()));
  }
  if (in.credit_bytes() < 0) return Bad("a credit of ", in.credit_bytes());
  frame.credit_bytes = in.credit_bytes();
  for (const pb::AddReplica& add : in.adds()) {
    AddReplica& out = frame.adds.emplace_back();
    RETURN_IF_ERROR(TakePartition(add, &out));
    if (add.fetch_offset() < 0 || add.last_fetched_epoch() < -1) {
      return Bad("a fetch from ", add.fetch_offset(), " after epoch ",
                 add.last_fetched_epoch());
    }
    out.fetch_offset = Offset(add.fetch_offset());
    out.last_fetched_epoch = LeaderEpoch(add.last_fetched_epoch());
  }
  for (const pb::AckReplica& ack : in.acks()) {
    AckReplica& out = frame.acks.emplace_back();
    RETURN_IF_ERROR(TakePartition(ack, &out));
    if (ack.durable_offset() < 0 ||
        ack.appended_offset() < ack.durable_offset()) {
      return Bad("appended up to ", ack.appended_offset(), ", durable up to ",
                 ack.durable_offset());
    }
    out.appended_leo = Offset(ack.appended_offset());
    out.durable_leo = Offset(ack.durable_offset());
  }
  for (const pb::RemoveReplica& remove : in.removes()) {
    RETURN_IF_ERROR(TakePartition(remove, &frame.removes.emplace_back()));
  }
  return frame;
}

}  // namespace sluice::rpc
