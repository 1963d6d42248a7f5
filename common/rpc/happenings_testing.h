// For tests on several threads.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

namespace sluice::rpc {

// What happened, in order, for a test that waits for it.
class Happenings {
 public:
  void Add(std::string what) {
    std::lock_guard lock(mutex_);
    happened_.push_back(std::move(what));
    changed_.notify_all();
  }
  std::string Next() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(30),
                      [this] { return !happened_.empty(); });
    if (happened_.empty()) return "(nothing)";
    std::string next = std::move(happened_.front());
    happened_.pop_front();
    return next;
  }
  bool empty() {
    std::lock_guard lock(mutex_);
    return happened_.empty();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> happened_;
};

}  // namespace sluice::rpc
