// The thread on which a broker reads its logs and makes checkpoints of its
// views. No log is synced there: a sync that fails on it makes nothing untrue of
// what the process calls durable (ST4), so those are counted apart.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "common/env/executor.h"
#include "common/env/mem_file_system.h"

namespace sluice::sim {

class IoExecutor final : public Executor {
 public:
  // `failed_syncs`: of the machine, outlives this.
  IoExecutor(std::unique_ptr<Executor> thread, const MemFileSystem* fs,
             int64_t* failed_syncs)
      : thread_(std::move(thread)), fs_(fs), failed_syncs_(failed_syncs) {}

  void Post(Task task) override { thread_->Post(Counting(std::move(task))); }
  TimerId PostAfter(int64_t delay_us, Task task) override {
    return thread_->PostAfter(delay_us, Counting(std::move(task)));
  }
  bool Cancel(TimerId timer) override { return thread_->Cancel(timer); }
  bool IsCurrent() const override { return thread_->IsCurrent(); }

 private:
  Task Counting(Task task) {
    return [this, task = std::move(task)]() mutable {
      const int64_t before = fs_->failed_sync_count();
      task();
      *failed_syncs_ += fs_->failed_sync_count() - before;
    };
  }

  const std::unique_ptr<Executor> thread_;
  const MemFileSystem* const fs_;
  int64_t* const failed_syncs_;
};

}  // namespace sluice::sim
