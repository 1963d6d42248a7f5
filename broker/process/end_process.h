// How a sluiced process ends when it did not end cleanly.
#pragma once

#include "absl/status/status.h"

namespace sluice {

inline constexpr int kExitClean = 0;
inline constexpr int kExitRefused = 1;  // the start was; nothing has changed
inline constexpr int kExitFatal = 3;    // going on would break a promise

// Any thread; does not return. One line that says why, then the end at once:
// what is not acknowledged never will be, and no destructor may flush what a
// failed sync has put in doubt (ST4).
[[noreturn]] void EndProcess(const absl::Status& why);

}  // namespace sluice
