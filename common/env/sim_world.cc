#include "common/env/sim_world.h"

#include <vector>

#include "common/base/invariant.h"

namespace sluice {

class SimExecutor final : public Executor {
 public:
  SimExecutor(SimWorld* world, NodeId owner) : world_(world), owner_(owner) {}
  ~SimExecutor() override { world_->RemoveAllOf(this); }

  void Post(Task task) override { world_->Add(0, this, std::move(task)); }
  TimerId PostAfter(int64_t delay_us, Task task) override {
    return world_->Add(delay_us, this, std::move(task));
  }
  bool Cancel(TimerId timer) override { return world_->Remove(timer); }
  bool IsCurrent() const override { return world_->current_ == this; }
  NodeId owner() const { return owner_; }

 private:
  SimWorld* const world_;
  const NodeId owner_;
};

std::unique_ptr<Executor> SimWorld::NewExecutor(NodeId owner) {
  return std::make_unique<SimExecutor>(this, owner);
}

TimerId SimWorld::Add(int64_t delay_us, const SimExecutor* executor,
                      Task task) {
  const TimerId id = next_id_++;
  const int64_t when = now_us_ + (delay_us > 0 ? delay_us : 0);
  events_.emplace(Key(when, id), Event{std::move(task), executor, executor->owner()});
  times_.emplace(id, when);
  return id;
}

bool SimWorld::Remove(TimerId id) {
  const auto found = times_.find(id);
  if (found == times_.end()) return false;
  const auto event = events_.find({found->second, id});
  Task dropped = std::move(event->second.task);
  events_.erase(event);
  times_.erase(found);
  return true;
}

void SimWorld::RemoveAllOf(const Executor* executor) {
  std::vector<Task> dropped;  // destroyed last: they may post
  for (auto it = events_.begin(); it != events_.end();) {
    if (it->second.executor == executor) {
      times_.erase(it->first.second);
      dropped.push_back(std::move(it->second.task));
      it = events_.erase(it);
    } else {
      ++it;
    }
  }
}

bool SimWorld::Step() {
  if (events_.empty()) return false;
  auto node = events_.extract(events_.begin());
  INVARIANT(node.key().first >= now_us_, "virtual time went back");
  now_us_ = node.key().first;
  times_.erase(node.key().second);
  current_ = node.mapped().executor;
  node.mapped().task();
  current_ = nullptr;
  if (watcher_) watcher_(node.mapped().owner);
  return true;
}

void SimWorld::RunFor(int64_t duration_us) {
  const int64_t end_us = now_us_ + duration_us;
  while (!events_.empty() && events_.begin()->first.first <= end_us) Step();
  now_us_ = end_us;
}

}  // namespace sluice
