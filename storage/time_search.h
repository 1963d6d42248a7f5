// Finds a record by its timestamp in batches that are given one after the
// other: headers tell which batch holds it, and only that one is decoded.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/buffer.h"
#include "common/base/ids.h"
#include "storage/batch_header.h"

namespace sluice {

struct TimedRecord {
  Offset offset;
  int64_t timestamp_ms = -1;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;  // of its batch
};

// One thread at a time. Records below `from` and control batches are passed
// over, and records without a timestamp (-1).
class TimeSearch {
 public:
  // The first record, by offset, of `timestamp_ms` (>= 0) or later.
  static TimeSearch FirstAt(int64_t timestamp_ms, Offset from) {
    return TimeSearch(timestamp_ms, from);
  }
  // The first of those with the greatest timestamp.
  static TimeSearch Greatest(Offset from) {
    return TimeSearch(std::nullopt, from);
  }

  // Whole batches, in order. True: found, whatever comes behind them. An
  // error: the batch that should hold it cannot be decoded.
  absl::StatusOr<bool> Look(const Buffer& batches);
  // Of all that was looked at; nullopt: there is none.
  absl::StatusOr<std::optional<TimedRecord>> Found() const;

 private:
  TimeSearch(std::optional<int64_t> at, Offset from) : at_(at), from_(from) {}

  absl::StatusOr<bool> LookAt(const BatchView& batch, const Buffer& batches,
                              size_t position);

  std::optional<int64_t> at_;  // unset: the greatest
  Offset from_;
  std::optional<TimedRecord> found_;  // with at_
  // Without: the greatest so far, and the batch that has it.
  int64_t greatest_ms_ = -1;
  Buffer holds_greatest_;
};

}  // namespace sluice
