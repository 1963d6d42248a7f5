// A lookup by timestamp that is under way in a partition's log: a piece of it
// is read and looked at on an I/O thread, then another lookup of the shard has
// its turn.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "broker/partition_host.h"
#include "common/base/ids.h"
#include "storage/time_search.h"

namespace sluice {

// Read at a time, or one batch that is larger.
inline constexpr int64_t kTimeLookupPieceBytes = 1 << 20;
// Under way or waiting for their turn, in a shard; more are BUSY.
inline constexpr size_t kTimeLookupsMax = 20'000;

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
