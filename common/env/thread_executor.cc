#include "common/env/thread_executor.h"

#include <pthread.h>

#include <chrono>

#include "common/base/invariant.h"

namespace sluice {
namespace {

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

ThreadExecutor::ThreadExecutor(std::string name)
    : name_(std::move(name)), thread_([this] { Run(); }) {}

ThreadExecutor::~ThreadExecutor() { Stop(); }

void ThreadExecutor::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) {
    INVARIANT(!IsCurrent(), "executor ", name_, " stopped from its own thread");
    thread_.join();
  }
  // Dropped tasks may own objects whose destructors post; do not hold the
  // lock while they run.
  std::deque<Task> ready;
  std::map<std::pair<TimePoint, TimerId>, Task> timers;
  {
    std::lock_guard lock(mutex_);
    ready.swap(ready_);
    timers.swap(timers_);
    timer_times_.clear();
  }
}

void ThreadExecutor::Post(Task task) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    ready_.push_back(std::move(task));
    if (ready_.size() > 1) return;  // the thread is awake or was woken
  }
  wake_.notify_one();
}

TimerId ThreadExecutor::PostAfter(int64_t delay_us, Task task) {
  const TimePoint when = NowMicros() + (delay_us > 0 ? delay_us : 0);
  TimerId id;
  bool is_first;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return 0;
    id = next_timer_++;
    timers_.emplace(std::pair(when, id), std::move(task));
    timer_times_.emplace(id, when);
    is_first = timers_.begin()->first.second == id;
  }
  if (is_first) wake_.notify_one();
  return id;
}

bool ThreadExecutor::Cancel(TimerId timer) {
  Task dropped;  // destroyed without the lock
  std::lock_guard lock(mutex_);
  const auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return false;
  const auto entry = timers_.find({found->second, timer});
  dropped = std::move(entry->second);
  timers_.erase(entry);
  timer_times_.erase(found);
  return true;
}

bool ThreadExecutor::IsCurrent() const {
  return std::this_thread::get_id() == thread_.get_id();
}

void ThreadExecutor::Run() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    // Due timers join the queue behind what was posted before.
    if (!timers_.empty()) {
      const TimePoint now = NowMicros();
      while (!timers_.empty() && timers_.begin()->first.first <= now) {
        timer_times_.erase(timers_.begin()->first.second);
        ready_.push_back(std::move(timers_.begin()->second));
        timers_.erase(timers_.begin());
      }
    }
    if (ready_.empty()) {
      if (timers_.empty()) {
        wake_.wait(lock);
      } else {
        const TimePoint when = timers_.begin()->first.first;
        wake_.wait_for(lock, std::chrono::microseconds(when - NowMicros()));
      }
      continue;
    }
    std::deque<Task> batch;
    batch.swap(ready_);
    lock.unlock();
    for (Task& task : batch) {
      task();
      task = nullptr;
    }
    batch.clear();
    lock.lock();
  }
}

}  // namespace sluice
