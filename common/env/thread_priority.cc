#include "common/env/thread_priority.h"

#include <sched.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {
namespace {

// Not SCHED_RESET_ON_FORK: the kernel resets threads by it as it does
// processes, and then none but this one would have the priority.
int SetPolicy(int policy, int priority) {
  sched_param param{};
  param.sched_priority = priority;
  return sched_setscheduler(0, policy, &param) == 0 ? 0 : errno;
}

}  // namespace

absl::Status RequestRealtimePriority(int priority) {
  const int error = SetPolicy(SCHED_FIFO, priority);
  if (error == 0) return absl::OkStatus();
  if (error != EPERM) {
    return MakeError(ErrorCode::kInvalidConfig, "real-time priority ", priority,
                     " cannot be had: ", std::strerror(error));
  }
  rlimit limit{};
  getrlimit(RLIMIT_RTPRIO, &limit);
  return MakeError(
      ErrorCode::kInvalidConfig, "real-time priority ", priority,
      " is not permitted: it takes CAP_SYS_NICE, or RLIMIT_RTPRIO of that "
      "much, which is ",
      limit.rlim_cur, " here. Set LimitRTPRIO=", priority,
      " in the systemd unit (ulimit -r ", priority,
      " in a shell); where that is set, the control group has no real-time "
      "share (cpu.rt_runtime_us)");
}

void LeaveRealtimePriority() {
  const int policy = sched_getscheduler(0);
  if (policy != SCHED_FIFO && policy != SCHED_RR) return;
  const int error = SetPolicy(SCHED_OTHER, 0);  // less may always be asked for
  INVARIANT(error == 0, "sched_setscheduler: ", std::strerror(error));
}

}  // namespace sluice
