#include "common/env/sim_world.h"

#include <algorithm>
#include <utility>

#include "common/base/invariant.h"

namespace sluice {

class SimExecutor final : public Executor {
 public:
  SimExecutor(SimWorld* world, SimHost* host, NodeId owner)
      : world_(world), host_(host), owner_(owner) {}
  ~SimExecutor() override { world_->RemoveAllOf(this); }

  void Post(Task task) override { world_->Add(0, this, std::move(task)); }
  TimerId PostAfter(int64_t delay_us, Task task) override {
    if (host_ != nullptr) delay_us = host_->TrueMicrosOf(delay_us);
    return world_->Add(delay_us, this, std::move(task));
  }
  bool Cancel(TimerId timer) override { return world_->Remove(timer); }
  bool IsCurrent() const override { return world_->current_ == this; }

  SimHost* host() const { return host_; }
  NodeId owner() const { return owner_; }

 private:
  SimWorld* const world_;
  SimHost* const host_;  // may be null
  const NodeId owner_;
};

std::unique_ptr<Executor> SimWorld::NewExecutor(NodeId owner) {
  return std::make_unique<SimExecutor>(this, nullptr, owner);
}

TimerId SimWorld::Add(int64_t delay_us, SimExecutor* executor, Task task) {
  uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  slots_[slot].task = std::move(task);
  slots_[slot].executor = executor;
  Push(now_us_ + std::max<int64_t>(0, delay_us), slot);
  return TimerId{slots_[slot].generation} << 32 | (slot + 1);
}

void SimWorld::Push(int64_t when_us, uint32_t slot) {
  heap_.push_back({when_us, next_sequence_++, slot, slots_[slot].generation});
  std::push_heap(heap_.begin(), heap_.end());
}

void SimWorld::Free(uint32_t slot) {
  slots_[slot].executor = nullptr;
  ++slots_[slot].generation;
  free_.push_back(slot);
}

bool SimWorld::Remove(TimerId id) {
  const auto slot = static_cast<uint32_t>(id) - 1;
  if (id == 0 || slot >= slots_.size() || slots_[slot].executor == nullptr ||
      slots_[slot].generation != id >> 32) {
    return false;
  }
  const Task dropped = std::exchange(slots_[slot].task, nullptr);
  Free(slot);
  return true;
}

void SimWorld::RemoveAllOf(const SimExecutor* executor) {
  std::vector<Task> dropped;  // destroyed last: they may post
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (slots_[slot].executor != executor) continue;
    dropped.push_back(std::exchange(slots_[slot].task, nullptr));
    Free(slot);
  }
}

int64_t SimWorld::NextTime() {
  while (!heap_.empty() && !IsLive(heap_.front())) {
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
  }
  return heap_.empty() ? INT64_MAX : heap_.front().when_us;
}

bool SimWorld::Step() {
  if (halted_ || NextTime() == INT64_MAX) return false;
  std::pop_heap(heap_.begin(), heap_.end());
  const Due due = heap_.back();
  heap_.pop_back();
  INVARIANT(due.when_us >= now_us_, "virtual time went back");
  now_us_ = due.when_us;
  SimExecutor* const executor = slots_[due.slot].executor;
  SimHost* const host = executor->host();
  if (host != nullptr && host->paused_) {
    host->stopped_.push_back(due);
    return true;
  }
  const NodeId owner = executor->owner();
  Task task = std::exchange(slots_[due.slot].task, nullptr);
  Free(due.slot);
  ++event_count_;
  current_ = executor;
  task();
  current_ = nullptr;
  task = nullptr;
  if (watcher_) watcher_(owner);
  return true;
}

void SimWorld::RunFor(int64_t duration_us) {
  const int64_t end_us = now_us_ + duration_us;
  while (!halted_ && NextTime() <= end_us) Step();
  now_us_ = end_us;
}

std::unique_ptr<Executor> SimHost::NewExecutor() {
  return std::make_unique<SimExecutor>(world_, this, owner_);
}

int64_t SimHost::MonoMicros() const {
  return base_mono_us_ +
         (world_->now_us_ - base_true_us_) * rate_ppm_ / 1'000'000;
}

int64_t SimHost::WallMillis() const {
  return world_->WallMillis() + wall_offset_ms_;
}

// Rounded up: by the host's own clock no timer is early.
int64_t SimHost::TrueMicrosOf(int64_t delay_us) const {
  if (rate_ppm_ == 1'000'000) return delay_us;
  return static_cast<int64_t>(
      (static_cast<__int128>(delay_us) * 1'000'000 + rate_ppm_ - 1) /
      rate_ppm_);
}

void SimHost::SetDrift(int64_t parts_per_million) {
  Reboot(MonoMicros());
  rate_ppm_ = 1'000'000 + parts_per_million;
}

void SimHost::Reboot(int64_t mono_us) {
  base_true_us_ = world_->now_us_;
  base_mono_us_ = mono_us;
}

void SimHost::Resume() {
  paused_ = false;
  for (const SimWorld::Due& due : std::exchange(stopped_, {})) {
    if (world_->IsLive(due)) world_->Push(world_->now_us_, due.slot);
  }
}

}  // namespace sluice
