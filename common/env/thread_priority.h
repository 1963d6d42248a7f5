// Threads that go before all that has no real-time priority.
#pragma once

#include "absl/status/status.h"

namespace sluice {

// SCHED_FIFO at `priority` (1 to 99) for the calling thread and those it starts
// from now on, so call it before there are others. INVALID_CONFIG names what
// the system would have to allow; nothing is changed then.
absl::Status RequestRealtimePriority(int priority);

// Back to SCHED_OTHER, this thread and those it starts from now on: for work
// that takes long and that nobody waits for. Does nothing to a thread that has
// no real-time priority.
void LeaveRealtimePriority();

}  // namespace sluice
