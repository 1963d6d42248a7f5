// An Executor that is one thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "common/env/executor.h"

namespace sluice {

// The thread starts in the constructor and ends in the destructor, which lets
// the running task finish and drops what was queued. Owned by a main or a
// test; never destroyed from its own thread.
class ThreadExecutor final : public Executor {
 public:
  // `name` shows in `top -H`; the kernel keeps 15 characters.
  explicit ThreadExecutor(std::string name);
  ~ThreadExecutor() override;
  ThreadExecutor(const ThreadExecutor&) = delete;
  ThreadExecutor& operator=(const ThreadExecutor&) = delete;

  void Post(Task task) override;
  TimerId PostAfter(int64_t delay_us, Task task) override;
  bool Cancel(TimerId timer) override;
  bool IsCurrent() const override;

  // Ends the thread like the destructor does. Later posts are dropped.
  void Stop();

 private:
  using TimePoint = int64_t;  // CLOCK_MONOTONIC in microseconds

  void Run();

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::deque<Task> ready_;
  std::map<std::pair<TimePoint, TimerId>, Task> timers_;
  std::map<TimerId, TimePoint> timer_times_;
  TimerId next_timer_ = 1;
  bool stopping_ = false;

  std::string name_;
  std::thread thread_;  // last: starts when all else is there
};

}  // namespace sluice
