// Virtual time and the executors that live in it: one thread, one order, the
// same order every time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/ids.h"
#include "common/env/clock.h"
#include "common/env/executor.h"

namespace sluice {

class SimExecutor;
class SimHost;

// Owns the event heap. Events run in order of (time, sequence); time moves
// only from one event to the next. Not thread-safe.
class SimWorld final : public Clock {
 public:
  // Virtual time begins on 2020-01-01.
  static constexpr int64_t kEpochWallMs = 1577836800000;

  int64_t MonoMicros() const override { return now_us_; }
  int64_t WallMillis() const override { return kEpochWallMs + now_us_ / 1000; }

  // On a machine whose clock is right and which never stands still. `owner`
  // says whose events run on it: for Watch.
  std::unique_ptr<Executor> NewExecutor(NodeId owner = kNoNode);

  // Called behind every event with the owner of its executor, kNoNode included:
  // for checks, which change nothing that events see.
  using Watcher = std::function<void(NodeId ran)>;
  void Watch(Watcher watcher) { watcher_ = std::move(watcher); }

  // The run is over: time passes, but no event runs any more.
  void Halt() { halted_ = true; }

  // Runs one event; false when there is none.
  bool Step();
  // Runs every event due up to `now + duration_us`, then stands there.
  void RunFor(int64_t duration_us);
  // Runs until `done` holds or `limit_us` have passed; returns done().
  template <class Predicate>
  bool RunUntil(Predicate done, int64_t limit_us) {
    const int64_t end_us = now_us_ + limit_us;
    while (!done()) {
      if (halted_ || NextTime() > end_us) {
        now_us_ = end_us;
        return done();
      }
      Step();
    }
    return true;
  }

  int64_t event_count() const { return event_count_; }

 private:
  friend class SimExecutor;
  friend class SimHost;

  // A task that waits. A timer's id is its slot and the slot's generation.
  struct Slot {
    Task task;
    SimExecutor* executor = nullptr;  // null: free
    uint32_t generation = 0;
  };
  struct Due {
    int64_t when_us;
    uint64_t sequence;
    uint32_t slot;
    uint32_t generation;

    bool operator<(const Due& other) const {  // the heap's top is the first
      return when_us != other.when_us ? when_us > other.when_us
                                      : sequence > other.sequence;
    }
  };

  TimerId Add(int64_t delay_us, SimExecutor* executor, Task task);
  bool Remove(TimerId id);
  // An executor that goes away takes its events along, as a dead process does.
  void RemoveAllOf(const SimExecutor* executor);
  void Push(int64_t when_us, uint32_t slot);
  bool IsLive(const Due& due) const {
    return slots_[due.slot].generation == due.generation &&
           slots_[due.slot].executor != nullptr;
  }
  void Free(uint32_t slot);
  // INT64_MAX: nothing is due, ever.
  int64_t NextTime();

  int64_t now_us_ = 0;
  uint64_t next_sequence_ = 1;
  int64_t event_count_ = 0;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<Due> heap_;
  const SimExecutor* current_ = nullptr;
  bool halted_ = false;
  Watcher watcher_;
};

// A machine's clock, and the tasks of what runs there: time passes at its own
// rate, the wall clock shows what it likes, and all may stand still (SIGSTOP).
class SimHost final : public Clock {
 public:
  explicit SimHost(SimWorld* world, NodeId owner = kNoNode)
      : world_(world), owner_(owner) {}

  int64_t MonoMicros() const override;
  int64_t WallMillis() const override;
  // Outlived by the host. Delays are measured by its clock.
  std::unique_ptr<Executor> NewExecutor();

  // How much faster than true time the monotonic clock runs, in millionths.
  // Timers that wait already keep the old rate: set it while nothing runs.
  void SetDrift(int64_t parts_per_million);
  // The monotonic clock begins anew, somewhere.
  void Reboot(int64_t mono_us);
  void JumpWall(int64_t by_ms) { wall_offset_ms_ += by_ms; }
  void CorrectWall() { wall_offset_ms_ = 0; }
  void SetWall(int64_t wall_ms) { wall_offset_ms_ += wall_ms - WallMillis(); }

  // What is due while it stands still runs at Resume, at once and in order.
  void Pause() { paused_ = true; }
  void Resume();
  bool paused() const { return paused_; }

 private:
  friend class SimWorld;
  friend class SimExecutor;

  int64_t TrueMicrosOf(int64_t delay_us) const;

  SimWorld* const world_;
  const NodeId owner_;
  int64_t rate_ppm_ = 1'000'000;
  int64_t base_true_us_ = 0;
  int64_t base_mono_us_ = 0;
  int64_t wall_offset_ms_ = 0;
  bool paused_ = false;
  std::vector<SimWorld::Due> stopped_;  // due while it stood still
};

}  // namespace sluice
