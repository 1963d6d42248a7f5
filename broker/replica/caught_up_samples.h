// When did the leader's log end where? For replica.lag.time.max.ms: comparing
// a follower with the current LEO would empty every ISR under load.
#pragma once

#include <cstdint>
#include <deque>

#include "common/base/ids.h"

namespace sluice::replica {

// A few (t, LEO) pairs: at time t the log still ended at LEO. A follower whose
// position reached that LEO was caught up at t. Coarse on the safe side: a
// follower seems to lag earlier than it does, by spacing_us at most.
class CaughtUpSamples {
 public:
  static constexpr size_t kSamplesMax = 32;
  // So that the samples cover twice the time limit.
  static constexpr int64_t kSamplesPerLimit = 16;

  explicit CaughtUpSamples(int64_t lag_time_max_us);

  // The log ends at `leo` at `now_us`, before an append moves it.
  void Note(int64_t now_us, Offset leo);
  // The latest noted time at which the log ended at or below `position`; -1
  // when it never did as far back as the samples go.
  int64_t CaughtUpAt(Offset position) const;

 private:
  struct Sample {
    int64_t at_us;
    Offset leo;
  };

  const int64_t spacing_us_;
  std::deque<Sample> samples_;  // rising in both
};

}  // namespace sluice::replica
