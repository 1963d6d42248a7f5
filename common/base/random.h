// The only randomness a core may touch: seeded, passed in, never global.
#pragma once

#include <cstdint>

#include "common/base/ids.h"

namespace sluice {

// splitmix64-seeded xoshiro256**. Not for secrets.
class Random {
 public:
  explicit Random(uint64_t seed);

  uint64_t Next64();
  // Uniform in [0, bound); bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [low, high]; low <= high.
  int64_t Between(int64_t low, int64_t high);
  // True once in n; n > 0.
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  // Never the unset uuid.
  Uuid NextUuid();

 private:
  uint64_t state_[4];
};

}  // namespace sluice
