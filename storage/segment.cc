#include "storage/segment.h"

#include <cstdio>

#include "absl/strings/numbers.h"
#include "common/base/str_cat.h"

namespace sluice {

constexpr size_t kOffsetDigits = 20;

std::string SegmentFileName(Offset base, std::string_view suffix) {
  char digits[kOffsetDigits + 1];
  std::snprintf(digits, sizeof digits, "%020lld",
                static_cast<long long>(base.value()));
  return StrCat(digits, suffix);
}

std::optional<Offset> ParseSegmentFileName(std::string_view name,
                                           std::string_view suffix) {
  if (name.size() != kOffsetDigits + suffix.size() ||
      !name.ends_with(suffix)) {
    return std::nullopt;
  }
  const std::string_view digits = name.substr(0, kOffsetDigits);
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  int64_t value = 0;
  if (!absl::SimpleAtoi(AbslView(digits), &value)) return std::nullopt;
  return Offset(value);
}

}  // namespace sluice
