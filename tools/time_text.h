// Times as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace sluice::cli {

// "500ms", "90s", "15m", "2h", "7d", "1h30m": milliseconds, at most a hundred
// years. INVALID_REQUEST says what is accepted.
absl::StatusOr<int64_t> DurationMsOf(const std::string& text);

// RFC 3339 with its zone ("2026-11-26T10:00:00Z"), relative to now ("-2h", or
// "now"), or milliseconds since 1970. Not before 1970.
absl::StatusOr<int64_t> TimeMsOf(const std::string& text, int64_t now_ms);

// "2026-11-26T10:00:00.000Z"; "-" for a negative time.
std::string TimeText(int64_t time_ms);

// "0 s", "850 ms", "12 s", "3 m", "5.2 h", "2.0 d".
std::string AgeText(int64_t age_ms);

}  // namespace sluice::cli
