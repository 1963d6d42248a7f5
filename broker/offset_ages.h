// Which part of a log is older than some age, by this process's own clock: no
// wall clock has a say (F61), and what was there at the start is as young as
// the start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "common/base/ids.h"

namespace sluice {

// Of one log; lives on its shard. Keeps a sample each `age / kStepsPerAge`.
class OffsetAges {
 public:
  static constexpr int64_t kStepsPerAge = 10;

  explicit OffsetAges(int64_t age_us) : age_us_(age_us) {}

  // The log ends at `leo` now.
  void Note(int64_t now_us, Offset leo) {
    // One sample at least as old as the age is enough.
    while (samples_.size() > 1 && samples_[1].time_us <= now_us - age_us_) {
      samples_.pop_front();
    }
    const bool due = samples_.empty() || now_us - samples_.back().time_us >=
                                             age_us_ / kStepsPerAge;
    if (due) samples_.push_back({now_us, leo});
  }
  // The log was cut to `leo`.
  void Cut(Offset leo) {
    for (Sample& sample : samples_) {
      if (sample.leo > leo) sample.leo = leo;
    }
  }
  // All below was appended at least the age before the last Note; 0 when that
  // is true of nothing.
  Offset OlderThanAge(int64_t now_us) const {
    if (samples_.empty() || samples_.front().time_us > now_us - age_us_) {
      return Offset(0);
    }
    return samples_.front().leo;
  }

 private:
  struct Sample {
    int64_t time_us;
    Offset leo;
  };

  const int64_t age_us_;
  std::deque<Sample> samples_;
};

}  // namespace sluice
