// How long to wait before the next try: doubling, jittered, capped.
#pragma once

#include <cstdint>

#include "common/base/random.h"

namespace sluice {

class Backoff {
 public:
  Backoff(int64_t min_us, int64_t max_us) : min_us_(min_us), max_us_(max_us) {}

  // In [d/2, d] with d = min, 2 min, 4 min, ... max.
  int64_t NextDelayUs(Random& random);
  // After a success.
  void Reset() { tries_ = 0; }

 private:
  int64_t min_us_;
  int64_t max_us_;
  int tries_ = 0;
};

}  // namespace sluice
