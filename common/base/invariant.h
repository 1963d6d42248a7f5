// Our own faults. On in production: a broken invariant stops the process with
// the facts, because going on would break a promise. Never for remote input,
// which is validated and answered with an error.
#pragma once

#include <string_view>

#include "common/base/str_cat.h"

namespace sluice {

[[noreturn]] void InvariantFailed(const char* file, int line,
                                  const char* condition,
                                  std::string_view facts);

}  // namespace sluice

// INVARIANT(hw <= leo, "RP6 hw=", hw.value(), " leo=", leo.value());
#define INVARIANT(condition, ...)                                   \
  do {                                                              \
    if (!(condition)) [[unlikely]] {                                \
      ::sluice::InvariantFailed(__FILE__, __LINE__, #condition,     \
                                ::sluice::StrCat(__VA_ARGS__));       \
    }                                                               \
  } while (false)
