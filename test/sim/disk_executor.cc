#include "test/sim/disk_executor.h"

#include <algorithm>

namespace sluice::sim {

bool DiskExecutor::Cancel(TimerId timer) {
  const auto found = timers_.find(timer);
  if (found != timers_.end()) {
    const bool cancelled = thread_->Cancel(found->second);
    timers_.erase(found);
    return cancelled;
  }
  const auto waiting =
      std::find_if(line_.begin(), line_.end(),
                   [timer](const Waiting& w) { return w.id == timer; });
  // The first of a busy line is with the disk already.
  if (timer == 0 || waiting == line_.end() ||
      (busy_ && waiting == line_.begin())) {
    return false;
  }
  line_.erase(waiting);
  return true;
}

void DiskExecutor::Begin() {
  if (busy_ || line_.empty() || speed_->hung) return;
  busy_ = true;
  std::optional<int64_t>& began = line_.front().began;
  if (fs_ != nullptr && !began.has_value()) began = fs_->change_count();
  thread_->PostAfter(speed_->task_us, [this] { RunFirst(); });
}

void DiskExecutor::RunFirst() {
  busy_ = false;
  if (speed_->hung) return;
  Waiting first = std::move(line_.front());
  line_.pop_front();
  if (first.began.has_value()) fs_->BeginLongSync(*first.began);
  first.task();
  if (first.began.has_value()) fs_->EndLongSync();
  first.task = nullptr;
  Begin();
}

void DiskExecutor::Wake() { Begin(); }

}  // namespace sluice::sim
