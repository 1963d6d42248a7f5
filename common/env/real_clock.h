#pragma once

#include "common/env/clock.h"

namespace sluice {

// CLOCK_MONOTONIC and CLOCK_REALTIME. Thread-safe.
class RealClock final : public Clock {
 public:
  int64_t MonoMicros() const override;
  int64_t WallMillis() const override;
};

}  // namespace sluice
