// The thread that waits for a disk: what is posted to it takes as long as the
// disk likes, or for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "common/env/executor.h"
#include "common/env/mem_file_system.h"

namespace sluice::sim {

// A disk's speed, kept by the machine; its threads come and go.
struct DiskSpeed {
  // Of each task posted while it is above 0: one round of a group commit, one
  // write of marks, one batch of the Raft log. What the task syncs is durable
  // only at the end, and of what others write only what they wrote before.
  int64_t task_us = 0;
  bool hung = false;
};

class DiskExecutor final : public Executor {
 public:
  // `fs`: what the tasks sync; null: nothing that others write.
  DiskExecutor(std::unique_ptr<Executor> thread,
               std::shared_ptr<DiskSpeed> speed, MemFileSystem* fs)
      : thread_(std::move(thread)), speed_(std::move(speed)), fs_(fs) {}
  ~DiskExecutor() override = default;

  void Post(Task task) override { Enqueue(0, std::move(task)); }
  // Timers wait in the same line once they are due.
  TimerId PostAfter(int64_t delay_us, Task task) override {
    const uint64_t id = next_id_++;
    timers_[id] = thread_->PostAfter(
        delay_us, [this, id, task = std::move(task)]() mutable {
          timers_.erase(id);
          Enqueue(id, std::move(task));
        });
    return id;
  }
  bool Cancel(TimerId timer) override;
  bool IsCurrent() const override { return thread_->IsCurrent(); }

  // The disk answers again, or faster: what waits goes on.
  void Wake();

 private:
  struct Waiting {
    uint64_t id;  // 0: no timer
    Task task;
    // MemFileSystem::change_count when the disk got it.
    std::optional<int64_t> began;
  };

  void Enqueue(uint64_t id, Task task) {
    line_.push_back({id, std::move(task), std::nullopt});
    Begin();
  }
  void Begin();
  void RunFirst();

  const std::unique_ptr<Executor> thread_;
  const std::shared_ptr<DiskSpeed> speed_;
  MemFileSystem* const fs_;
  std::map<uint64_t, TimerId> timers_;
  std::deque<Waiting> line_;
  uint64_t next_id_ = 1;
  bool busy_ = false;
};

}  // namespace sluice::sim
