#include "broker/replica/caught_up_samples.h"

#include <algorithm>

namespace sluice::replica {

CaughtUpSamples::CaughtUpSamples(int64_t lag_time_max_us)
    : spacing_us_(lag_time_max_us / kSamplesPerLimit) {}

void CaughtUpSamples::Note(int64_t now_us, Offset leo) {
  if (!samples_.empty() && samples_.back().leo == leo) {
    samples_.back().at_us = std::max(samples_.back().at_us, now_us);
    return;
  }
  if (!samples_.empty() && now_us - samples_.back().at_us < spacing_us_) return;
  if (samples_.size() == kSamplesMax) samples_.pop_front();
  samples_.push_back({now_us, leo});
}

int64_t CaughtUpSamples::CaughtUpAt(Offset position) const {
  const auto past = std::upper_bound(
      samples_.begin(), samples_.end(), position,
      [](Offset p, const Sample& sample) { return p < sample.leo; });
  return past == samples_.begin() ? -1 : std::prev(past)->at_us;
}

}  // namespace sluice::replica
