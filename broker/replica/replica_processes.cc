// Processes of a ReplicaGroup: kills, power cuts, clean stops, restarts.
#include "broker/replica/replica_testing.h"

namespace sluice::replica {

void ReplicaGroup::GoDown(Node& node) {
  for (auto& [ends, link] : links_) {
    if (ends.first == node.id || ends.second == node.id) {
      BreakLink(ends.first.value(), ends.second.value());
    }
  }
  node.core.reset();
  node.disk.clear();
}

void ReplicaGroup::PowerCut(int n, int64_t kept, bool cut_done) {
  if (!up(n)) return;
  Node& node = this->node(n);
  GoDown(node);
  node.log.Crash(kept, cut_done);
  node.worth = ModelController::Restart::kIntact;
  node.lost_power = true;
}

void ReplicaGroup::Kill(int n, bool cut_done) {
  if (!up(n)) return;
  Node& node = this->node(n);
  GoDown(node);
  node.log.Crash(-1, cut_done);
  node.worth = ModelController::Restart::kIntact;
}

void ReplicaGroup::StopClean(int n) {
  if (!up(n)) return;
  Node& node = this->node(n);
  controller_.Stop(node.id);
  while (!node.disk.empty()) CompleteDisk(n);
  node.log.SyncTo(node.log.leo());
  SaveMarks(n);
  GoDown(node);
  node.worth = ModelController::Restart::kClean;
}

void ReplicaGroup::Wipe(int n) {
  node(n).log.Wipe();
  node(n).worth = ModelController::Restart::kLost;
}

void ReplicaGroup::Restart(int n) {
  Node& node = this->node(n);
  if (node.core != nullptr) return;
  Start(node);
  // What a power cut left is worth what the controller knows by now.
  if (std::exchange(node.lost_power, false) &&
      !controller_.now().promises_disk()) {
    node.worth = ModelController::Restart::kLost;
  }
  node.broker_epoch = controller_.Register(node.id, node.worth);
  node.registered_at = controller_.version();
  node.owes_verdict = node.worth != ModelController::Restart::kLost;
  CheckHolders(Offset(0));
}

void ReplicaGroup::ReportVerdict(int n) {
  Node& node = this->node(n);
  if (node.core == nullptr || !node.owes_verdict) return;
  node.owes_verdict = false;
  controller_.Verify(node.id);
  CheckHolders(Offset(0));
}

bool ReplicaGroup::MayUnfence(int n) const {
  const Node& node = nodes_.at(NodeId(n));
  return node.core != nullptr && node.applied >= node.registered_at &&
         controller_.now().brokers.at(node.id).fenced;
}

void ReplicaGroup::DeleteReplica(int n) {
  Node& node = this->node(n);
  GoDown(node);
  node.log.Wipe();
  Start(node);
}

}  // namespace sluice::replica
