// How fast a group reads a partition and how fast the partition grows, from
// what is remembered of both.
#pragma once

#include <deque>

#include "broker/offsets/lag_state.h"
#include "common/base/ids.h"

namespace sluice::offsets {

// Where a partition was when it was asked.
struct HighWatermarkSample {
  Offset offset;
  int64_t time_ms = 0;
};

// 0: not known.
struct LagRates {
  double read_records_per_s = 0;
  double append_records_per_s = 0;
};

// Reading counts what the commits of the window went on; going back is no
// reading. Appending is of the time between the high watermarks (oldest first)
// that enclose the window as closely as they can: they are asked more seldom
// than a busy group commits.
LagRates RatesOf(const CommitWindow& window,
                 const std::deque<HighWatermarkSample>& high_watermarks);

}  // namespace sluice::offsets
