#include "test/sim/sim_network.h"

#include <algorithm>
#include <utility>

#include "common/base/str_cat.h"

namespace sluice::sim {

SimNetwork::SimNetwork(SimWorld* world, uint64_t seed)
    : world_(world), random_(seed), wire_(world->NewExecutor()) {}

SimNetwork::~SimNetwork() = default;

api::Endpoint SimNetwork::EndpointOf(NodeId id) {
  return {StrCat("n", id), 1};
}

api::Endpoint SimNetwork::PublicEndpointOf(NodeId id) {
  return {StrCat("public", id), 1};
}

void SimNetwork::Up(LifePtr life) {
  for (auto& [id, other] : lives_) {
    if (other->raft == nullptr || life->raft == nullptr) continue;
    other->controller_executor->PostAfter(
        Latency(), [other = other, id = life->id] {
          if (other->alive && other->raft != nullptr) other->raft->on_link_up(id);
        });
    life->controller_executor->PostAfter(Latency(), [life, id = id] {
      if (life->alive && life->raft != nullptr) life->raft->on_link_up(id);
    });
  }
  lives_[life->id] = std::move(life);
}

void SimNetwork::Down(const LifePtr& life) {
  life->alive = false;
  life->controller = nullptr;
  life->replication = nullptr;
  life->raft = nullptr;
  life->broker = nullptr;
  lives_.erase(life->id);
  for (auto& [id, other] : lives_) {
    if (other->raft == nullptr) continue;
    other->controller_executor->PostAfter(
        Latency(), [other = other, dead = life->id] {
          if (other->alive && other->raft != nullptr) {
            other->raft->on_link_broken(dead);
          }
        });
  }
  std::vector<Task> broken;
  for (auto it = breaks_.begin(); it != breaks_.end();) {
    const LifePtr a = it->second.a.lock();
    const LifePtr b = it->second.b.lock();
    if (a == life || b == life) {
      broken.push_back(std::move(it->second.broken));
      it = breaks_.erase(it);
    } else {
      ++it;
    }
  }
  for (Task& task : broken) task();
}

void SimNetwork::Cut(NodeId a, NodeId b) {
  cuts_.insert({a, b});
  cuts_.insert({b, a});
}

LifePtr SimNetwork::Find(NodeId id) const {
  const auto found = lives_.find(id);
  return found == lives_.end() ? nullptr : found->second;
}

LifePtr SimNetwork::Find(const api::Endpoint& endpoint) const {
  for (const auto& [id, life] : lives_) {
    if (EndpointOf(id) == endpoint) return life;
  }
  return nullptr;
}

void SimNetwork::Carry(const LifePtr& from, const LifePtr& to,
                       Executor* executor, const std::shared_ptr<Lane>& lane,
                       Task task) {
  int64_t arrives_us = world_->MonoMicros() + Latency();
  if (lane != nullptr) {
    arrives_us = std::max(arrives_us, lane->last_us);
    lane->last_us = arrives_us;
  }
  wire_->PostAfter(
      arrives_us - world_->MonoMicros(),
      [this, from, to, executor, lane, task = std::move(task)]() mutable {
        if (!to->alive) return;
        const bool lost =
            to->hung || from->hung || !Reaches(from->id, to->id);
        if (lane != nullptr && (lost || lane->lost)) {
          if (std::exchange(lane->lost, true)) return;
          if (lane->on_lost) wire_->PostAfter(kKeepaliveUs, lane->on_lost);
          return;
        }
        if (lost) return;
        executor->Post([to, task = std::move(task)]() mutable {
          if (to->alive) task();
        });
      });
}

SimNetwork::BreakId SimNetwork::OnBreak(const LifePtr& a, const LifePtr& b,
                                        Task broken) {
  const BreakId id = next_break_++;
  breaks_.emplace(id, Break{a, b, std::move(broken)});
  return id;
}

}  // namespace sluice::sim
