// How long a thread asks to run at a time.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace sluice {

// The kernel's bounds of what may be asked for.
inline constexpr int64_t kThreadSliceUsMin = 100;
inline constexpr int64_t kThreadSliceUsMax = 100'000;
// Below the kernel's own (1.4 ms on two cores): who asks for less is let onto
// a busy processor sooner when it wakes, and off it sooner when others wait.
// 100 us cost an eighth of the throughput, 600 us a twentieth (measured).
inline constexpr int64_t kThreadSliceUsDefault = 600;

// Asks for a slice for the calling thread and those it starts from now on, so
// call it before there are others. Priority stays. INVALID_CONFIG outside of
// the bounds; UNSUPPORTED_VERSION when the kernel has no such slices (Linux
// before 6.12, or a policy of this thread that has none); nothing is changed
// then.
absl::Status RequestThreadSlice(int64_t slice_us);

}  // namespace sluice
