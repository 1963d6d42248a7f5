// Raft's messages on the wire: proto/sluice/internal/v1/raft.proto.
#pragma once

#include "absl/status/statusor.h"
#include "controller/raft/types.h"
#include "sluice/internal/v1/raft.pb.h"

namespace sluice {

// Copies payloads once.
internal::v1::RaftMessage RaftMessageToProto(const raft::Message& message);

// Payloads are moved, not copied. INVALID_REQUEST, naming the field: an id of
// a wrong length, a node id below 1, a type or a bootstrap record that this
// version does not know. What the numbers mean is RaftCore's to judge.
absl::StatusOr<raft::Message> RaftMessageFromProto(
    internal::v1::RaftMessage proto);

}  // namespace sluice
