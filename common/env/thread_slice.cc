#include "common/env/thread_slice.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/base/error.h"

namespace sluice {
namespace {

// The kernel's struct sched_attr, first version; glibc 2.36 has none.
struct SchedAttr {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns;
  uint64_t deadline_ns;
  uint64_t period_ns;
};
static_assert(sizeof(SchedAttr) == 48);

// 0: of the calling thread.
long Get(SchedAttr* attr) {
  return syscall(SYS_sched_getattr, 0, attr, sizeof(SchedAttr), 0);
}
long Set(SchedAttr* attr) {
  attr->size = sizeof(SchedAttr);
  return syscall(SYS_sched_setattr, 0, attr, 0);
}

absl::Status Unsupported(const char* what) {
  return MakeError(ErrorCode::kUnsupportedVersion,
                   "this kernel gives no slices by thread: ", what,
                   "; Linux 6.12 and later do; without them threads wake "
                   "later while the processors are busy");
}

}  // namespace

absl::Status RequestThreadSlice(int64_t slice_us) {
  if (slice_us < kThreadSliceUsMin || slice_us > kThreadSliceUsMax) {
    return MakeError(ErrorCode::kInvalidConfig, "a thread's slice of ",
                     slice_us, " us: ", kThreadSliceUsMin, " to ",
                     kThreadSliceUsMax, " us can be asked for");
  }
  SchedAttr attr{};
  if (Get(&attr) != 0) return Unsupported(std::strerror(errno));
  const auto wanted_ns = static_cast<uint64_t>(slice_us) * 1000;
  attr.runtime_ns = wanted_ns;
  if (Set(&attr) != 0) return Unsupported(std::strerror(errno));
  // An older kernel takes the number and does nothing with it.
  SchedAttr now{};
  if (Get(&now) != 0) return Unsupported(std::strerror(errno));
  if (now.runtime_ns != wanted_ns) return Unsupported("it was not kept");
  return absl::OkStatus();
}

}  // namespace sluice
