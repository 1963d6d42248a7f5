#include "controller/rpc/raft_wire.h"

#include <string>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "controller/raft_driver/bootstrap_codec.h"

namespace sluice {
namespace {

using internal::v1::RaftMessage;

template <class... Parts>
absl::Status Invalid(const Parts&... what) {
  return MakeError(ErrorCode::kInvalidRequest, "raft message: ", what...);
}

std::string BytesOf(const Uuid& id) {
  return id.is_set() ? id.ToBytes() : std::string();
}

template <class Id>
absl::Status ReadUuid(std::string_view name, const std::string& bytes,
                      Id& out) {
  const auto id = Id::FromBytes(bytes);
  if (!id.has_value()) {
    return Invalid(name, " has ", bytes.size(), " bytes, not 16");
  }
  out = *id;
  return absl::OkStatus();
}

absl::Status ReadVoter(std::string_view name, int32_t node,
                       const std::string& directory, raft::VoterId& out) {
  if (node <= 0) return Invalid("node id ", node, " in ", name);
  out.node = NodeId(node);
  return ReadUuid(name, directory, out.directory);
}

bool IsKnown(raft::EntryType type) {
  switch (type) {
    case raft::EntryType::kNoOp:
    case raft::EntryType::kRecords:
    case raft::EntryType::kBootstrap:
      return true;
  }
  return false;
}

absl::Status ReadEntry(internal::v1::RaftEntry& proto, raft::Entry& out) {
  out.term = Term(proto.term());
  out.index = LogIndex(proto.index());
  out.type = static_cast<raft::EntryType>(proto.type());
  if (!IsKnown(out.type)) {
    return Invalid("entry ", out.index, " has type ", proto.type());
  }
  out.payload = Buffer::Take(std::move(*proto.mutable_payload()));
  return absl::OkStatus();
}

}  // namespace

RaftMessage RaftMessageToProto(const raft::Message& message) {
  RaftMessage proto;
  proto.set_type(static_cast<int32_t>(message.type));
  proto.set_cluster_id(BytesOf(message.cluster_id));
  proto.set_from(message.from.node.value());
  proto.set_from_directory(BytesOf(message.from.directory));
  proto.set_to(message.to.node.value());
  proto.set_to_directory(BytesOf(message.to.directory));
  proto.set_term(message.term.value());
  proto.set_log_index(message.log_index.value());
  proto.set_log_term(message.log_term.value());
  proto.set_commit_index(message.commit_index.value());
  proto.set_reject(message.reject);
  proto.set_reject_hint(message.reject_hint.value());
  proto.set_reject_hint_term(message.reject_hint_term.value());
  for (const raft::Entry& entry : message.entries) {
    internal::v1::RaftEntry* out = proto.add_entries();
    out->set_term(entry.term.value());
    out->set_index(entry.index.value());
    out->set_type(static_cast<int32_t>(entry.type));
    out->set_payload(entry.payload.data(), entry.payload.size());
  }
  proto.set_context(message.context);
  proto.set_flag(message.flag);
  if (message.bootstrap.has_value()) {
    proto.set_bootstrap(EncodeBootstrapRecord(*message.bootstrap));
  }
  return proto;
}

absl::StatusOr<raft::Message> RaftMessageFromProto(RaftMessage proto) {
  raft::Message message;
  message.type = static_cast<raft::MessageType>(proto.type());
  if (raft::NameOf(message.type) == "UNKNOWN") {
    return Invalid("type ", proto.type(), " is not known here");
  }
  RETURN_IF_ERROR(
      ReadUuid("cluster_id", proto.cluster_id(), message.cluster_id));
  RETURN_IF_ERROR(
      ReadVoter("from", proto.from(), proto.from_directory(), message.from));
  RETURN_IF_ERROR(
      ReadVoter("to", proto.to(), proto.to_directory(), message.to));
  message.term = Term(proto.term());
  message.log_index = LogIndex(proto.log_index());
  message.log_term = Term(proto.log_term());
  message.commit_index = LogIndex(proto.commit_index());
  message.reject = proto.reject();
  message.reject_hint = LogIndex(proto.reject_hint());
  message.reject_hint_term = Term(proto.reject_hint_term());
  message.entries.resize(static_cast<size_t>(proto.entries_size()));
  for (int i = 0; i < proto.entries_size(); ++i) {
    RETURN_IF_ERROR(ReadEntry(*proto.mutable_entries(i),
                              message.entries[static_cast<size_t>(i)]));
  }
  message.context = proto.context();
  message.flag = proto.flag();
  if (!proto.bootstrap().empty()) {
    ASSIGN_OR_RETURN(message.bootstrap,
                     DecodeBootstrapRecord(proto.bootstrap()));
  }
  return message;
}

}  // namespace sluice
