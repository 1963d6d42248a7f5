#include "common/rpc/keep_awake.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

namespace sluice::rpc {
namespace {

TEST(KeepAwakeTest, EachTickIsAnEventForTheCallbackThreads) {
  std::mutex mutex;
  std::condition_variable changed;
  int ticks = 0;
  KeepAwake awake([&] {
    std::lock_guard lock(mutex);
    ++ticks;
    changed.notify_all();
  });

  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return ticks >= 3; });

  // Two went out before the third tick.
  EXPECT_GE(awake.events(), 1);
}

TEST(KeepAwakeTest, NoTickRunsOnceItIsDestroyed) {
  int ticks = 0;
  for (int i = 0; i < 50; ++i) {
    KeepAwake awake([&ticks] { ++ticks; });
  }
  EXPECT_LE(ticks, 50);
}

}  // namespace
}  // namespace sluice::rpc
