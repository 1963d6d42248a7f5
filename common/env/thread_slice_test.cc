#include "common/env/thread_slice.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "common/base/error.h"

namespace sluice {
namespace {

// As the kernel lays it out: size, policy, flags, nice, priority, runtime...
struct Raw {
  uint32_t words[4];
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns;
  uint64_t rest[2];
};

Raw OfThisThread() {
  Raw raw{};
  EXPECT_EQ(syscall(SYS_sched_getattr, 0, &raw, sizeof(raw), 0), 0);
  return raw;
}

bool KernelHasSlices() {
  utsname name{};
  EXPECT_EQ(uname(&name), 0);
  int major = 0;
  int minor = 0;
  EXPECT_EQ(std::sscanf(name.release, "%d.%d", &major, &minor), 2);
  return major > 6 || (major == 6 && minor >= 12);
}

TEST(ThreadSliceTest, HoldsForThisThreadAndThoseItStarts) {
  std::thread([] {
    const int nice_before = OfThisThread().nice;
    const absl::Status asked = RequestThreadSlice(700);
    if (!KernelHasSlices()) {
      EXPECT_EQ(CodeOf(asked), ErrorCode::kUnsupportedVersion);
      EXPECT_NE(asked.message().find("6.12"), absl::string_view::npos);
      return;
    }
    EXPECT_TRUE(asked.ok()) << asked;
    EXPECT_EQ(OfThisThread().runtime_ns, 700'000u);
    EXPECT_EQ(OfThisThread().nice, nice_before);
    std::thread([] { EXPECT_EQ(OfThisThread().runtime_ns, 700'000u); }).join();
  }).join();
}

TEST(ThreadSliceTest, PriorityStays) {
  std::thread([] {
    ASSERT_EQ(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 7), 0);
    const absl::Status asked = RequestThreadSlice(kThreadSliceUsDefault);
    EXPECT_EQ(asked.ok(), KernelHasSlices()) << asked;
    EXPECT_EQ(OfThisThread().nice, 7);
  }).join();
}

TEST(ThreadSliceTest, OutOfBoundsIsRefusedAndChangesNothing) {
  std::thread([] {
    const uint64_t before_ns = OfThisThread().runtime_ns;
    for (const int64_t slice_us : {int64_t{-1}, int64_t{0},
                                   kThreadSliceUsMin - 1,
                                   kThreadSliceUsMax + 1}) {
      EXPECT_EQ(CodeOf(RequestThreadSlice(slice_us)), ErrorCode::kInvalidConfig)
          << slice_us;
    }
    EXPECT_EQ(OfThisThread().runtime_ns, before_ns);
  }).join();
}

}  // namespace
}  // namespace sluice
