// Virtual time and the executors that live in it: one thread, one order, the
// same order every time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/base/ids.h"
#include "common/env/clock.h"
#include "common/env/executor.h"

namespace sluice {

class SimExecutor;

// Owns the event heap. Events run in order of (time, sequence); time moves
// only from one event to the next. Not thread-safe.
class SimWorld final : public Clock {
 public:
  int64_t MonoMicros() const override { return now_us_; }
  // Virtual time begins on 2020-01-01.
  int64_t WallMillis() const override {
    return 1577836800000 + now_us_ / 1000;
  }

  // `owner` says whose events run on it: for Watch.
  std::unique_ptr<Executor> NewExecutor(NodeId owner = kNoNode);

  // Called behind every event with the owner of its executor, kNoNode included:
  // for checks, which change nothing that events see.
  using Watcher = std::function<void(NodeId ran)>;
  void Watch(Watcher watcher) { watcher_ = std::move(watcher); }

  // Runs one event; false when there is none.
  bool Step();
  // Runs every event due up to `now + duration_us`, then stands there.
  void RunFor(int64_t duration_us);
  // Runs until `done` holds or `limit_us` have passed; returns done().
  template <class Predicate>
  bool RunUntil(Predicate done, int64_t limit_us) {
    const int64_t end_us = now_us_ + limit_us;
    while (!done()) {
      if (events_.empty() || events_.begin()->first.first > end_us) {
        now_us_ = end_us;
        return done();
      }
      Step();
    }
    return true;
  }

 private:
  friend class SimExecutor;
  using Key = std::pair<int64_t, TimerId>;  // time, sequence

  struct Event {
    Task task;
    const Executor* executor;
    NodeId owner;
  };

  TimerId Add(int64_t delay_us, const SimExecutor* executor, Task task);
  bool Remove(TimerId id);
  // An executor that goes away takes its events along, as a dead process does.
  void RemoveAllOf(const Executor* executor);

  int64_t now_us_ = 0;
  TimerId next_id_ = 1;
  std::map<Key, Event> events_;
  std::map<TimerId, int64_t> times_;
  const Executor* current_ = nullptr;
  Watcher watcher_;
};

}  // namespace sluice
