// BootstrapRecord as bytes: on disk, as the log's first entry, on the wire.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "controller/raft/types.h"

namespace sluice {

// sluice.internal.v1.BootstrapRecord.
std::string EncodeBootstrapRecord(const raft::BootstrapRecord& record);
// INVALID_REQUEST: not a record, or over BootstrapConfig::kVotersMax voters.
// Unset ids are taken as they are: a probe has them.
absl::StatusOr<raft::BootstrapRecord> DecodeBootstrapRecord(
    std::string_view bytes);

}  // namespace sluice
