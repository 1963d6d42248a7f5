// How a group fares with a partition, from what it committed lately: the rules
// of LinkedIn's Burrow, which need no threshold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "common/base/ids.h"

namespace sluice::offsets {

enum class LagState {
  kOk,
  kWarn,    // reads, but falls behind
  kStall,   // commits, always the same
  kStop,    // does not commit any more
  kRewind,  // went back and has not caught up
};
std::string_view NameOf(LagState state);

struct CommitSample {
  Offset offset;
  int64_t lag_records = 0;  // at that time
  int64_t time_ms = 0;
};

// The last commits of one partition. Commits in quick succession count as the
// newest of them, else ten of them would span no time.
class CommitWindow {
 public:
  static constexpr size_t kSamples = 10;
  static constexpr int64_t kDistanceMs = 1'000;

  void Add(const CommitSample& sample);
  const std::deque<CommitSample>& samples() const { return samples_; }

 private:
  std::deque<CommitSample> samples_;  // oldest first
};

// `recent_high_watermarks`: of the last minutes; if the last commit had reached
// one of them, the group has only just fallen behind.
LagState EvaluateLag(const CommitWindow& window, int64_t lag_records_now,
                     const std::vector<Offset>& recent_high_watermarks,
                     int64_t now_ms);

}  // namespace sluice::offsets
