// Readers that wait for a partition's visible limit to move.
#pragma once

#include <map>
#include <utility>

#include "broker/partition_host.h"
#include "common/base/ids.h"
#include "common/env/executor.h"

namespace sluice {

// Of one partition; lives on its shard. Wakes are posted, never run inline, so
// that a reader may ask again without recursion.
class Waiters {
 public:
  static constexpr size_t kWaitersMax = 10'000;

  explicit Waiters(Executor* executor) : executor_(executor) {}

  // 0 when there is no room.
  WaitId Add(Offset offset, Task wake) {
    if (wakes_.size() >= kWaitersMax) return 0;
    const WaitId id = next_id_++;
    offsets_.emplace(id, offset);
    wakes_.emplace(std::pair(offset, id), std::move(wake));
    return id;
  }
  // A wake that is posted already still runs.
  void Cancel(WaitId id) {
    const auto found = offsets_.find(id);
    if (found == offsets_.end()) return;
    wakes_.erase({found->second, id});
    offsets_.erase(found);
  }

  // Wakes those that wait for something above an offset below `limit`.
  void Advance(Offset limit) {
    while (!wakes_.empty() && wakes_.begin()->first.first < limit) {
      offsets_.erase(wakes_.begin()->first.second);
      executor_->Post(std::move(wakes_.begin()->second));
      wakes_.erase(wakes_.begin());
    }
  }
  void WakeAll() { Advance(Offset(INT64_MAX)); }

  size_t size() const { return wakes_.size(); }

 private:
  Executor* const executor_;
  std::map<std::pair<Offset, WaitId>, Task> wakes_;
  std::map<WaitId, Offset> offsets_;
  WaitId next_id_ = 1;
};

}  // namespace sluice
