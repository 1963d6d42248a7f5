// What a person who waits is told while records are sent again and again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/client_types.h"

namespace sluice::cli {

// One owner at a time.
class RetryNotice {
 public:
  // A fail-over is shorter, and nobody's business.
  static constexpr int64_t kQuietUs = 2'000'000;
  static constexpr int64_t kEveryUs = 5'000'000;

  // The line to print now, if any. `settled` is how many records have been
  // acknowledged or have failed: while that grows, all is well.
  std::optional<std::string> OnRetry(const NamedPartition& tp,
                                     const absl::Status& why, int64_t settled,
                                     int64_t now_us);

 private:
  int64_t settled_ = -1;
  int64_t since_us_ = 0;
  int64_t told_us_ = 0;
};

}  // namespace sluice::cli
