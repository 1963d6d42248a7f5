// One line on a terminal's stderr that tells how far long work is; nothing
// where stderr is no terminal.
#pragma once

#include <cstdint>
#include <string>

#include "common/env/clock.h"

namespace sluice::cli {

// Used by one thread.
class Progress {
 public:
  // `total` 0: unknown, no percentage.
  Progress(const Clock* clock, std::string what, int64_t total);
  ~Progress();  // clears the line

  // Prints at most ten times a second.
  void Update(int64_t done);

 private:
  const Clock* const clock_;
  const std::string what_;
  const int64_t total_;
  const bool shown_;
  int64_t next_us_ = 0;
};

}  // namespace sluice::cli
