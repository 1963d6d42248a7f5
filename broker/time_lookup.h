// A lookup by timestamp that is under way in a partition's log: a piece of it
// is read and looked at on an I/O thread, then another lookup of the shard has
// its turn.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/partition_host.h"
#include "common/base/ids.h"
#include "storage/time_search.h"

namespace sluice {

// Read at a time, or one batch that is larger.
inline constexpr int64_t kTimeLookupPieceBytes = 1 << 20;
// Under way or waiting for their turn, in a shard; more are BUSY.
inline constexpr size_t kTimeLookupsMax = 20'000;

// INVALID_REQUEST: a timestamp that is negative, or beside a position that has
// none: whoever sets it means something else than would be answered.
absl::Status CheckTimestamp(const OffsetRequest& request);

struct TimeLookup {
  OffsetRequest request;
  absl::AnyInvocable<void(OffsetOutcome)> done;  // once

  // Set when it begins, and anew when the log start passes what it looked at.
  std::optional<TimeSearch> search;
  Offset next;
  uint64_t generation = 0;  // of the log
  bool found = false;
};

}  // namespace sluice
