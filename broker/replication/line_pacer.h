// When a log line that would come thousands of times is written.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "common/base/error.h"
#include "common/base/str_cat.h"

namespace sluice {

// A line of each kind of error at once, then one every ten seconds that counts
// what was left out. One owner thread.
class LinePacer {
 public:
  static constexpr int64_t kEveryUs = 10'000'000;

  // nullopt: nothing is written. Else what the line ends with: how many like
  // it were left out since the last.
  std::optional<std::string> Due(ErrorCode kind, int64_t now_us) {
    const auto [found, first] = kinds_.try_emplace(kind);
    Kind& known = found->second;
    if (!first && now_us - known.written_us < kEveryUs) {
      ++known.left_out;
      return std::nullopt;
    }
    const int64_t left_out = known.left_out;
    known = {now_us, 0};
    if (left_out == 0) return std::string();
    return StrCat(" (", left_out,
                  " like it were left out, of any partition)");
  }

 private:
  struct Kind {
    int64_t written_us = 0;
    int64_t left_out = 0;
  };

  std::map<ErrorCode, Kind> kinds_;  // as many as there are codes
};

}  // namespace sluice
