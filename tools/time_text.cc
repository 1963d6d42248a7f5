#include "tools/time_text.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "common/base/error.h"

namespace sluice::cli {
namespace {

constexpr int64_t kSecondMs = 1'000;
constexpr int64_t kMinuteMs = 60 * kSecondMs;
constexpr int64_t kHourMs = 60 * kMinuteMs;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kDurationMsMax = 36'525 * kDayMs;

int64_t UnitMsOf(const std::string& unit) {
  if (unit == "ms") return 1;
  if (unit == "s") return kSecondMs;
  if (unit == "m") return kMinuteMs;
  if (unit == "h") return kHourMs;
  if (unit == "d") return kDayMs;
  return 0;
}

}  // namespace

absl::StatusOr<int64_t> DurationMsOf(const std::string& text) {
  constexpr char kDigits[] = "0123456789";
  int64_t sum_ms = 0;
  size_t at = 0;
  while (at < text.size()) {
    const size_t unit_at = text.find_first_not_of(kDigits, at);
    int64_t number = 0;
    if (unit_at == at || unit_at == std::string::npos ||
        !absl::SimpleAtoi(text.substr(at, unit_at - at), &number)) {
      break;
    }
    at = std::min(text.find_first_of(kDigits, unit_at), text.size());
    const int64_t unit_ms = UnitMsOf(text.substr(unit_at, at - unit_at));
    if (unit_ms == 0 || number > (kDurationMsMax - sum_ms) / unit_ms) {
      at = 0;
      break;
    }
    sum_ms += number * unit_ms;
  }
  if (at > 0 && at == text.size()) return sum_ms;
  return MakeError(ErrorCode::kInvalidRequest, "'", text,
                   "' is no duration; write 500ms, 90s, 15m, 2h, 7d or 1h30m, "
                   "at most a hundred years");
}

absl::StatusOr<int64_t> TimeMsOf(const std::string& text, int64_t now_ms) {
  if (text == "now") return now_ms;
  if (!text.empty() && text[0] == '-') {
    const auto back = DurationMsOf(text.substr(1));
    if (!back.ok()) return back;
    if (*back <= now_ms) return now_ms - *back;
  }
  int64_t number = 0;
  if (!text.empty() && text[0] >= '0' && text[0] <= '9' &&
      absl::SimpleAtoi(text, &number)) {
    return number;
  }
  absl::Time time;
  std::string why;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &why) &&
      time >= absl::UnixEpoch()) {
    return absl::ToUnixMillis(time);
  }
  return MakeError(ErrorCode::kInvalidRequest, "'", text,
                   "' is no time; write 2026-11-26T10:00:00Z, -2h (before "
                   "now), now, or milliseconds since 1970");
}

std::string TimeText(int64_t time_ms) {
  if (time_ms < 0) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ",
                          absl::FromUnixMillis(time_ms), absl::UTCTimeZone());
}

std::string AgeText(int64_t age_ms) {
  char text[32];
  const auto put = [&](int64_t unit_ms, const char* unit) {
    std::snprintf(text, sizeof text, "%.1f %s",
                  static_cast<double>(age_ms) / static_cast<double>(unit_ms),
                  unit);
    return std::string(text);
  };
  if (age_ms <= 0) return "0 s";
  if (age_ms < kSecondMs) return std::to_string(age_ms) + " ms";
  if (age_ms < 2 * kMinuteMs) return std::to_string(age_ms / kSecondMs) + " s";
  if (age_ms < 2 * kHourMs) return std::to_string(age_ms / kMinuteMs) + " m";
  return age_ms < 2 * kDayMs ? put(kHourMs, "h") : put(kDayMs, "d");
}

}  // namespace sluice::cli
