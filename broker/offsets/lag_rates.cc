#include "broker/offsets/lag_rates.h"

#include <algorithm>

namespace sluice::offsets {
namespace {

double PerSecond(int64_t records, int64_t ms) {
  if (ms <= 0 || records <= 0) return 0;
  return static_cast<double>(records) * 1000 / static_cast<double>(ms);
}

}  // namespace

LagRates RatesOf(const CommitWindow& window,
                 const std::deque<HighWatermarkSample>& high_watermarks) {
  LagRates rates;
  const auto& commits = window.samples();
  if (commits.size() < 2) return rates;
  int64_t read = 0;
  for (size_t i = 1; i < commits.size(); ++i) {
    read += std::max<int64_t>(commits[i].offset - commits[i - 1].offset, 0);
  }
  const int64_t begin_ms = commits.front().time_ms;
  const int64_t end_ms = commits.back().time_ms;
  rates.read_records_per_s = PerSecond(read, end_ms - begin_ms);

  if (high_watermarks.size() < 2) return rates;
  size_t from = 0;
  while (from + 1 < high_watermarks.size() &&
         high_watermarks[from + 1].time_ms <= begin_ms) {
    ++from;
  }
  size_t to = high_watermarks.size() - 1;
  while (to > 0 && high_watermarks[to - 1].time_ms >= end_ms) --to;
  // All commits are younger, or older, than what is known.
  if (from >= to) {
    to = std::max<size_t>(from, 1);
    from = to - 1;
  }
  rates.append_records_per_s =
      PerSecond(high_watermarks[to].offset - high_watermarks[from].offset,
                high_watermarks[to].time_ms - high_watermarks[from].time_ms);
  return rates;
}

}  // namespace sluice::offsets
