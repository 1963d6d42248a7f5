#include "common/env/thread_priority.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "common/base/error.h"

namespace sluice {
namespace {

int PolicyHere() { return sched_getscheduler(0); }

int PriorityHere() {
  sched_param param{};
  EXPECT_EQ(sched_getparam(0, &param), 0);
  return param.sched_priority;
}

// Of this thread alone: that is how the kernel keeps capabilities.
void GiveUpCapSysNice() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  ASSERT_EQ(syscall(SYS_capget, &header, data), 0);
  data[0].effective &= ~(1u << CAP_SYS_NICE);
  ASSERT_EQ(syscall(SYS_capset, &header, data), 0);
}

bool Permitted() {
  bool permitted = false;
  std::thread([&] {
    sched_param param{};
    param.sched_priority = 3;
    permitted = sched_setscheduler(0, SCHED_FIFO, &param) == 0;
  }).join();
  return permitted;
}

TEST(ThreadPriorityTest, HoldsForThisThreadAndThoseItStartsUntilTheyLeaveIt) {
  const bool permitted = Permitted();
  std::thread([permitted] {
    const absl::Status asked = RequestRealtimePriority(3);
    if (!permitted) {
      EXPECT_EQ(CodeOf(asked), ErrorCode::kInvalidConfig);
      return;
    }
    EXPECT_TRUE(asked.ok()) << asked;
    EXPECT_EQ(PolicyHere(), SCHED_FIFO);
    std::thread([] {
      EXPECT_EQ(PolicyHere(), SCHED_FIFO);
      EXPECT_EQ(PriorityHere(), 3);
      LeaveRealtimePriority();
      EXPECT_EQ(PolicyHere(), SCHED_OTHER);
      std::thread([] { EXPECT_EQ(PolicyHere(), SCHED_OTHER); }).join();
    }).join();
    EXPECT_EQ(PriorityHere(), 3) << "left by another thread, not by this one";
  }).join();
}

TEST(ThreadPriorityTest, NotPermittedNamesWhatToSetAndChangesNothing) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_RTPRIO, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_RTPRIO, &none), 0);
  std::thread([] {
    GiveUpCapSysNice();
    const absl::Status asked = RequestRealtimePriority(7);
    EXPECT_EQ(CodeOf(asked), ErrorCode::kInvalidConfig);
    for (const char* word : {"CAP_SYS_NICE", "RLIMIT_RTPRIO", "is 0 here",
                             "LimitRTPRIO=7", "ulimit -r 7"}) {
      EXPECT_NE(asked.message().find(word), absl::string_view::npos)
          << word << " in: " << asked;
    }
    EXPECT_EQ(PolicyHere(), SCHED_OTHER);
  }).join();
  ASSERT_EQ(setrlimit(RLIMIT_RTPRIO, &before), 0);
}

TEST(ThreadPriorityTest, OutOfTheKernelsBoundsIsRefused) {
  std::thread([] {
    for (const int priority : {-1, 0, 100}) {
      EXPECT_EQ(CodeOf(RequestRealtimePriority(priority)),
                ErrorCode::kInvalidConfig)
          << priority;
    }
    EXPECT_EQ(PolicyHere(), SCHED_OTHER);
  }).join();
}

TEST(ThreadPriorityTest, WhoHasNoneKeepsHisPolicy) {
  std::thread([] {
    sched_param param{};
    ASSERT_EQ(sched_setscheduler(0, SCHED_BATCH, &param), 0);
    LeaveRealtimePriority();
    EXPECT_EQ(PolicyHere(), SCHED_BATCH);
  }).join();
}

}  // namespace
}  // namespace sluice
