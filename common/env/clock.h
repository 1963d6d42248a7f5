// Time as a value that drivers ask for and cores are given.
#pragma once

#include <cstdint>

namespace sluice {

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back; every timeout, lease and lag is measured with it.
  virtual int64_t MonoMicros() const = 0;
  // Milliseconds since 1970: record timestamps and what people read. May jump.
  virtual int64_t WallMillis() const = 0;
};

}  // namespace sluice
