#include "broker/coordinator/group_log.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "sluice/internal/v1/group_log.pb.h"
#include "storage/batch_builder.h"
#include "storage/record_reader.h"

namespace sluice::coordinator {
namespace {

using internal::v1::CommittedOffsetValue;
using internal::v1::GroupLogKey;
using internal::v1::GroupMemberValue;
using internal::v1::GroupValue;

bool HasUnknown(const google::protobuf::Message& message) {
  return !message.GetReflection()->GetUnknownFields(message).empty();
}

// The messages inside a message by hand, since every replica reads every
// record, and a walk by reflection took as long as the parsing. GroupLogTest
// looks at every message that the log can hold.
bool HasUnknownFields(const GroupLogKey& key) {
  return HasUnknown(key) ||
         (key.has_offset() && HasUnknown(key.offset())) ||
         (key.has_group() && HasUnknown(key.group()));
}
bool HasUnknownFields(const CommittedOffsetValue& value) {
  return HasUnknown(value);
}
bool HasUnknownFields(const GroupValue& value) {
  if (HasUnknown(value)) return true;
  for (const GroupMemberValue& member : value.members()) {
    if (HasUnknown(member)) return true;
    for (const auto& protocol : member.protocols()) {
      if (HasUnknown(protocol)) return true;
    }
  }
  return false;
}

template <class Message>
absl::Status Parse(std::string_view bytes, Message* message) {
  if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return MakeError(ErrorCode::kUnsupportedFormat, bytes.size(),
                     " bytes are no ", message->GetTypeName());
  }
  if (HasUnknownFields(*message)) {
    return MakeError(ErrorCode::kUnsupportedFormat, "a ",
                     message->GetTypeName(),
                     " has fields that this version does not know; run the "
                     "version that wrote it");
  }
  return absl::OkStatus();
}

// Protobuf sorts nothing: fields come in the order of their numbers, and there
// are no maps.
std::string Serialize(const google::protobuf::Message& message) {
  return message.SerializeAsString();
}

// ---- Offsets ----

std::string KeyOf(const offsets::OffsetKey& key) {
  GroupLogKey out;
  auto* offset = out.mutable_offset();
  offset->set_group_id(key.group);
  offset->set_topic_id(key.partition.topic_id.ToBytes());
  offset->set_partition(key.partition.partition.value());
  return Serialize(out);
}

std::string KeyOf(const std::string& group) {
  GroupLogKey out;
  out.mutable_group()->set_group_id(group);
  return Serialize(out);
}

CommittedOffsetValue::Origin OriginToProto(offsets::Origin origin) {
  switch (origin) {
    case offsets::Origin::kMember: return CommittedOffsetValue::ORIGIN_MEMBER;
    case offsets::Origin::kAdmin: return CommittedOffsetValue::ORIGIN_ADMIN;
    case offsets::Origin::kImport: return CommittedOffsetValue::ORIGIN_IMPORT;
  }
  return CommittedOffsetValue::ORIGIN_MEMBER;
}

std::optional<offsets::Origin> OriginFromProto(
    CommittedOffsetValue::Origin origin) {
  switch (origin) {
    case CommittedOffsetValue::ORIGIN_UNSPECIFIED:
    case CommittedOffsetValue::ORIGIN_MEMBER: return offsets::Origin::kMember;
    case CommittedOffsetValue::ORIGIN_ADMIN: return offsets::Origin::kAdmin;
    case CommittedOffsetValue::ORIGIN_IMPORT: return offsets::Origin::kImport;
    default: return std::nullopt;
  }
}

std::string ValueOf(const offsets::CommittedOffset& committed) {
  CommittedOffsetValue out;
  out.set_offset(committed.offset.value());
  out.set_leader_epoch(committed.leader_epoch.value());
  if (committed.metadata.has_value()) out.set_metadata(*committed.metadata);
  out.set_commit_time_ms(committed.time_ms);
  out.set_origin(OriginToProto(committed.origin));
  out.set_member_id(committed.member);
  return Serialize(out);
}

absl::StatusOr<offsets::OffsetKey> OffsetKeyFrom(
    const internal::v1::CommittedOffsetKey& key) {
  const auto topic = TopicId::FromBytes(key.topic_id());
  if (!topic.has_value() || !topic->is_set() || key.partition() < 0 ||
      key.group_id().empty() || key.group_id().size() > UINT16_MAX) {
    return MakeError(ErrorCode::kUnsupportedFormat,
                     "a committed offset of group \"", key.group_id(),
                     "\" has no topic id, partition or group");
  }
  return offsets::OffsetKey{key.group_id(),
                            {*topic, PartitionIndex(key.partition())}};
}

// Used again for each record of a batch: they keep what they have allocated.
struct Scratch {
  GroupLogKey key;
  CommittedOffsetValue value;
};

absl::StatusOr<Change> DecodeOffset(const internal::v1::CommittedOffsetKey& raw,
                                    std::optional<std::string_view> value,
                                    CommittedOffsetValue& message) {
  ASSIGN_OR_RETURN(offsets::OffsetKey key, OffsetKeyFrom(raw));
  if (!value.has_value()) return Change(offsets::OffsetGone{std::move(key)});
  RETURN_IF_ERROR(Parse(*value, &message));
  const auto origin = OriginFromProto(message.origin());
  if (!origin.has_value() || message.offset() < 0) {
    return MakeError(ErrorCode::kUnsupportedFormat,
                     "a committed offset of group \"", key.group,
                     "\" has origin ", static_cast<int>(message.origin()),
                     " and offset ", message.offset());
  }
  offsets::OffsetPut put;
  put.key = std::move(key);
  put.committed.offset = Offset(message.offset());
  put.committed.leader_epoch = LeaderEpoch(message.leader_epoch());
  put.committed.time_ms = message.commit_time_ms();
  put.committed.origin = *origin;
  if (message.has_metadata()) put.committed.metadata = message.metadata();
  put.committed.member = message.member_id();
  return Change(std::move(put));
}

absl::StatusOr<Change> DecodeGroupRecord(
    const internal::v1::GroupKey& key, std::optional<std::string_view> value) {
  if (key.group_id().empty()) {
    return MakeError(ErrorCode::kUnsupportedFormat, "a group without an id");
  }
  if (!value.has_value()) return Change(offsets::GroupGone{key.group_id()});
  RETURN_IF_ERROR(DecodeGroup(*value).status());
  return Change(offsets::GroupPut{key.group_id(), std::string(*value)});
}

// ---- Groups ----

GroupValue::State StateToProto(group::GroupState state) {
  switch (state) {
    case group::GroupState::kCompleting:
      return GroupValue::STATE_COMPLETING_REBALANCE;
    case group::GroupState::kStable: return GroupValue::STATE_STABLE;
    case group::GroupState::kEmpty:
    case group::GroupState::kPreparing:
    case group::GroupState::kDead:
      break;  // the others are not written
  }
  return GroupValue::STATE_EMPTY;
}

std::optional<group::GroupState> StateFromProto(GroupValue::State state) {
  switch (state) {
    case GroupValue::STATE_EMPTY: return group::GroupState::kEmpty;
    case GroupValue::STATE_COMPLETING_REBALANCE:
      return group::GroupState::kCompleting;
    case GroupValue::STATE_STABLE: return group::GroupState::kStable;
    default: return std::nullopt;
  }
}

void PutMember(const group::MemberImage& member, GroupMemberValue* out) {
  out->set_member_id(member.id.ToString());
  out->set_group_instance_id(member.instance.ToString());
  out->set_client_id(member.client_id);
  out->set_client_host(member.client_host);
  out->set_session_timeout_us(member.session_timeout_us);
  out->set_rebalance_timeout_us(member.rebalance_timeout_us);
  for (const group::Protocol& protocol : member.protocols) {
    auto* added = out->add_protocols();
    added->set_name(protocol.name);
    added->set_metadata(protocol.metadata);
  }
  out->set_assignment(member.assignment);
  out->set_join_reason(member.join_reason);
  out->set_stream(member.stream.ToString());
}

group::MemberImage MemberFrom(const GroupMemberValue& member) {
  group::MemberImage out;
  out.id = group::MemberId(member.member_id());
  out.instance = group::InstanceId(member.group_instance_id());
  out.client_id = member.client_id();
  out.client_host = member.client_host();
  out.session_timeout_us = member.session_timeout_us();
  out.rebalance_timeout_us = member.rebalance_timeout_us();
  for (const auto& protocol : member.protocols()) {
    out.protocols.push_back({protocol.name(), protocol.metadata()});
  }
  out.assignment = member.assignment();
  out.join_reason = member.join_reason();
  out.stream = group::StreamSecret(member.stream());
  return out;
}

// A member's word is an int32 of milliseconds.
constexpr int64_t kTimeoutUsMax = int64_t{INT32_MAX} * 1000;

bool IsTimeout(int64_t us) { return us > 0 && us <= kTimeoutUsMax; }

absl::Status CheckMembers(const group::GroupImage& image) {
  std::set<group::InstanceId> instances;
  bool has_leader = false;
  for (size_t i = 0; i < image.members.size(); ++i) {
    const group::MemberImage& member = image.members[i];
    if (member.id.empty() || !IsTimeout(member.session_timeout_us) ||
        !IsTimeout(member.rebalance_timeout_us) ||
        (i > 0 && member.id <= image.members[i - 1].id)) {
      return MakeError(ErrorCode::kUnsupportedFormat, "member \"", member.id,
                       "\" of a group is out of order or has no timeouts");
    }
    if (!member.instance.empty() && !instances.insert(member.instance).second) {
      return MakeError(ErrorCode::kUnsupportedFormat, "instance \"",
                       member.instance, "\" is in its group twice");
    }
    has_leader = has_leader || member.id == image.leader;
  }
  if (has_leader) return absl::OkStatus();
  return MakeError(ErrorCode::kUnsupportedFormat, "the leader \"",
                   image.leader, "\" of a group is none of its members");
}

absl::StatusOr<Change> DecodeInto(Scratch& scratch, std::string_view key,
                                  std::optional<std::string_view> value) {
  GroupLogKey& message = scratch.key;
  RETURN_IF_ERROR(Parse(key, &message));
  switch (message.key_case()) {
    case GroupLogKey::kOffset:
      return DecodeOffset(message.offset(), value, scratch.value);
    case GroupLogKey::kGroup: return DecodeGroupRecord(message.group(), value);
    case GroupLogKey::KEY_NOT_SET: break;
  }
  return MakeError(ErrorCode::kUnsupportedFormat,
                   "a record that is neither an offset nor a group");
}

// What a core is made of, it must be able to go on with.
absl::Status CheckGroup(const group::GroupImage& image) {
  const bool empty = image.state == group::GroupState::kEmpty;
  if (image.generation < group::Generation(0) ||
      image.generation == group::Generation(INT32_MAX) ||
      empty != image.members.empty() || (empty && !image.leader.empty()) ||
      (!empty && image.protocol_name.empty())) {
    return MakeError(ErrorCode::kUnsupportedFormat, "a group in state ",
                     NameOf(image.state), ", generation ", image.generation,
                     ", protocol \"", image.protocol_name, "\" with ",
                     image.members.size(), " members");
  }
  return empty ? absl::OkStatus() : CheckMembers(image);
}

}  // namespace

std::string EncodeGroup(const StoredGroup& group) {
  GroupValue out;
  out.set_state(StateToProto(group.image.state));
  out.set_generation_id(group.image.generation.value());
  out.set_protocol_type(group.image.protocol_type);
  out.set_protocol_name(group.image.protocol_name);
  out.set_leader_id(group.image.leader.ToString());
  out.set_rebalance_reason(group.image.rebalance_reason);
  for (const group::MemberImage& member : group.image.members) {
    PutMember(member, out.add_members());
  }
  out.set_time_ms(group.time_ms);
  return Serialize(out);
}

absl::StatusOr<StoredGroup> DecodeGroup(std::string_view record) {
  GroupValue message;
  RETURN_IF_ERROR(Parse(record, &message));
  const auto state = StateFromProto(message.state());
  if (!state.has_value()) {
    return MakeError(ErrorCode::kUnsupportedFormat, "a group in state ",
                     static_cast<int>(message.state()),
                     ", which this version does not know");
  }
  StoredGroup out;
  out.image.state = *state;
  out.image.generation = group::Generation(message.generation_id());
  out.image.protocol_type = message.protocol_type();
  out.image.protocol_name = message.protocol_name();
  out.image.leader = group::MemberId(message.leader_id());
  out.image.rebalance_reason = message.rebalance_reason();
  for (const auto& member : message.members()) {
    out.image.members.push_back(MemberFrom(member));
  }
  out.time_ms = message.time_ms();
  RETURN_IF_ERROR(CheckGroup(out.image));
  return out;
}

// ---- A record ----

LogRecord EncodeRecord(const Change& change) {
  struct Encoder {
    LogRecord operator()(const offsets::OffsetPut& put) const {
      return {KeyOf(put.key), ValueOf(put.committed)};
    }
    LogRecord operator()(const offsets::OffsetGone& gone) const {
      return {KeyOf(gone.key), std::nullopt};
    }
    LogRecord operator()(const offsets::GroupPut& put) const {
      return {KeyOf(put.group), put.record};
    }
    LogRecord operator()(const offsets::GroupGone& gone) const {
      return {KeyOf(gone.group), std::nullopt};
    }
  };
  return std::visit(Encoder(), change);
}

absl::StatusOr<Change> DecodeRecord(std::string_view key,
                                    std::optional<std::string_view> value) {
  Scratch scratch;
  return DecodeInto(scratch, key, value);
}

// ---- Batches ----

absl::StatusOr<MutableBuffer> BuildBatch(const std::vector<Change>& changes,
                                         int64_t now_ms) {
  BatchOptions options;
  options.bytes_max = kGroupBatchBytesMax;
  BatchBuilder builder(options);
  for (const Change& change : changes) {
    const LogRecord record = EncodeRecord(change);
    RecordView view;
    view.key = record.key;
    if (record.value.has_value()) view.value = *record.value;
    view.timestamp_ms = now_ms;
    if (!builder.Add(view) || builder.size_bytes() > kGroupBatchBytesMax) {
      return MakeError(ErrorCode::kMessageTooLarge, changes.size(),
                       " changes of a group take more than ",
                       kGroupBatchBytesMax, " bytes");
    }
  }
  return builder.Finish();
}

absl::StatusOr<offsets::ViewBatch> DecodeBatch(const BatchView& batch) {
  const BatchHeader& header = batch.header();
  offsets::ViewBatch out;
  out.base = header.base_offset;
  out.next = header.next_offset();
  out.epoch = header.leader_epoch;
  out.control = (header.attributes & kControlBit) != 0;
  out.transactional = (header.attributes & kTransactionalBit) != 0;
  out.producer_id = header.producer_id;
  if (out.control) return out;
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
  Scratch scratch;
  // As many as are in it, or some of them: the header is only a header.
  constexpr int32_t kRecordsAtFirst = 4096;
  out.records.reserve(static_cast<size_t>(
      std::clamp(header.record_count, 0, kRecordsAtFirst)));
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<DecodedRecord> record, reader.Next());
    if (!record.has_value()) return out;
    if (!record->key.has_value()) {
      return MakeError(ErrorCode::kUnsupportedFormat, "the record at ",
                       record->offset, " has no key");
    }
    auto change = DecodeInto(scratch, *record->key, record->value);
    if (!change.ok()) {
      return MakeError(CodeOf(change.status()), "the record at ",
                       record->offset, ": ",
                       std::string(change.status().message()));
    }
    out.records.push_back({record->offset, *std::move(change)});
  }
}

}  // namespace sluice::coordinator
