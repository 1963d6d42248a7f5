#include "controller/raft_driver/raft_sim_testing.h"

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/str_cat.h"

namespace sluice {

class SimRaftTransport final : public RaftTransport {
 public:
  SimRaftTransport(SimRaftCluster* cluster, NodeId self)
      : cluster_(cluster), self_(self) {}
  ~SimRaftTransport() override { Stop(); }

  void Start(RaftTransportEvents events) override {
    events_ = std::move(events);
    cluster_->listening_[self_] = &events_;
  }
  void Stop() override {
    const auto mine = cluster_->listening_.find(self_);
    if (mine != cluster_->listening_.end() && mine->second == &events_) {
      cluster_->listening_.erase(mine);
    }
  }
  void Send(NodeId to, raft::Message message) override {
    cluster_->Deliver(self_, to, std::move(message));
  }

 private:
  SimRaftCluster* const cluster_;
  const NodeId self_;
  RaftTransportEvents events_;
};

SimRaftCluster::SimRaftCluster(int nodes, uint64_t seed) : random_(seed) {
  for (int n = 1; n <= nodes; ++n) {
    initial_.push_back({NodeId(n), DirectoryId(), StrCat("host", n, ":9093")});
    auto node = std::make_unique<SimRaftNode>();
    node->id = NodeId(n);
    node->directory = DirectoryId(random_.NextUuid());
    nodes_.emplace(NodeId(n), std::move(node));
  }
}

SimRaftCluster::~SimRaftCluster() {
  for (auto& [id, node] : nodes_) Kill(id.value(), /*silent=*/true);
}

void SimRaftCluster::Boot(int n) {
  SimRaftNode& node = at(n);
  INVARIANT(node.raft == nullptr, "node ", n, " is up");
  node.executor = world_.NewExecutor();
  node.writer = world_.NewExecutor();
  node.transport = std::make_unique<SimRaftTransport>(this, node.id);
  node.clusters.clear();
  node.applied.clear();
  node.roles.clear();
  node.fatal.clear();
  auto store = RaftLogStore::Open(&node.kv, node.directory);
  if (!store.ok()) {
    node.fatal.push_back(store.status());
    return;
  }
  node.store = *std::move(store);
  RaftNodeEvents events;
  events.on_cluster = [&node](const auto& r) { node.clusters.push_back(r); };
  events.apply = [&node](const raft::Entry& entry) {
    if (entry.type != raft::EntryType::kRecords) return;
    node.applied.emplace_back(entry.payload.view());
  };
  events.on_soft_state = [&node](const auto& s) { node.roles.push_back(s); };
  events.on_fatal = [&node](const absl::Status& s) {
    node.fatal.push_back(s);
  };
  RaftNodeOptions options;
  options.node_id = node.id;
  options.directory_id = node.directory;
  options.initial_controllers = initial_;
  node.raft = std::make_unique<RaftNode>(
      RaftNode::Deps{node.executor.get(), node.writer.get(), &world_,
                     node.store.get(), node.transport.get()},
      options, events, random_.Next64());
  const absl::Status started = node.raft->Start();
  INVARIANT(started.ok(), started.ToString());
}

void SimRaftCluster::Kill(int n, bool silent) {
  SimRaftNode& node = at(n);
  // Unfinished work of a dead process never runs.
  node.writer.reset();
  node.raft.reset();
  node.transport.reset();
  node.store.reset();
  node.executor.reset();
  node.kv.Crash();
  if (silent) return;
  for (auto& [id, other] : nodes_) {
    if (other->raft == nullptr) continue;
    other->executor->PostAfter(1000, [this, id = id, dead = node.id] {
      const auto found = listening_.find(id);
      if (found != listening_.end()) found->second->on_link_broken(dead);
    });
  }
}

void SimRaftCluster::Wipe(int n) {
  at(n).kv.Wipe();
  at(n).directory = DirectoryId(random_.NextUuid());
}

void SimRaftCluster::Cut(int a, int b) {
  cuts_.insert({NodeId(a), NodeId(b)});
  cuts_.insert({NodeId(b), NodeId(a)});
}

void SimRaftCluster::Heal() { cuts_.clear(); }

absl::Status SimRaftCluster::Inject(int to, raft::Message message) {
  return listening_.at(NodeId(to))->on_message(std::move(message));
}

void SimRaftCluster::Deliver(NodeId from, NodeId to, raft::Message message) {
  const auto target = nodes_.find(to);
  if (target == nodes_.end() || target->second->executor == nullptr) return;
  if (random_.Below(100) < static_cast<uint64_t>(loss_percent_)) return;
  const int64_t delay_us = 100 + static_cast<int64_t>(random_.Below(400));
  target->second->executor->PostAfter(
      delay_us, [this, from, to, message = std::move(message)]() mutable {
        if (cuts_.count({from, to}) > 0) return;
        const auto found = listening_.find(to);
        if (found == listening_.end()) return;
        (void)found->second->on_message(std::move(message));
      });
}

int SimRaftCluster::Leader() {
  int best = 0;
  Term term(-1);
  for (auto& [id, node] : nodes_) {
    if (node->raft == nullptr || !node->raft->IsLeader()) continue;
    if (node->raft->Status().soft.term > term) {
      term = node->raft->Status().soft.term;
      best = id.value();
    }
  }
  return best;
}

bool SimRaftCluster::AwaitLeader(int64_t limit_ms) {
  return world_.RunUntil([this] { return Leader() != 0; }, limit_ms * 1000);
}

absl::Status SimRaftCluster::ProposeAndWait(const std::string& payload) {
  const int leader = Leader();
  if (leader == 0) return MakeError(ErrorCode::kNotController, "no leader");
  auto answer = std::make_shared<std::optional<absl::Status>>();
  auto id = raft(leader).Propose(
      Buffer::CopyOf(payload), [answer](absl::Status s) { *answer = s; });
  if (!id.ok()) return id.status();
  world_.RunUntil([&] { return answer->has_value(); }, 5000000);
  return answer->value_or(
      MakeError(ErrorCode::kRequestTimedOut, "RA16 never answered"));
}

}  // namespace sluice
