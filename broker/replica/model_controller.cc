#include "broker/replica/model_controller.h"

#include <algorithm>

namespace sluice::replica {
namespace {

bool Contains(const std::vector<NodeId>& list, NodeId broker) {
  return std::find(list.begin(), list.end(), broker) != list.end();
}

void Remove(std::vector<NodeId>& list, NodeId broker) {
  list.erase(std::remove(list.begin(), list.end(), broker), list.end());
}

}  // namespace

bool ModelMetadata::IsActive(NodeId broker) const {
  const auto found = brokers.find(broker);
  return found != brokers.end() && found->second.active();
}

std::set<NodeId> ModelMetadata::MustHoldCommitted() const {
  std::set<NodeId> result(isr.begin(), isr.end());
  result.insert(elr.begin(), elr.end());
  return result;
}

ModelController::ModelController(int replicas, int min_isr, bool durable) {
  ModelMetadata first;
  first.min_isr = min_isr;
  first.durable = durable;
  for (int n = 1; n <= replicas; ++n) {
    first.replicas.push_back(NodeId(n));
    first.brokers[NodeId(n)] = {BrokerEpoch(n), /*fenced=*/false};
  }
  first.isr = first.replicas;
  first.leader = NodeId(1);
  history_.push_back(first);
}

void ModelController::Elect(ModelMetadata& next) const {
  if (next.leader != kNoNode && Contains(next.isr, next.leader)) return;
  next.leader = kNoNode;
  for (const NodeId node : next.replicas) {
    if (!Contains(next.isr, node)) continue;
    next.leader = node;
    return;
  }
  for (const NodeId node : next.replicas) {
    if (!Contains(next.elr, node) || !next.IsActive(node)) continue;
    next.leader = node;
    next.isr = {node};
    Remove(next.elr, node);
    if (static_cast<int>(next.isr.size()) >= next.min_isr) {
      next.elr.clear();
      next.unverified_elr.clear();
    }
    return;
  }
}

void ModelController::Commit(ModelMetadata next, const Change& change) {
  const ModelMetadata& before = now();
  next.isr.erase(std::remove_if(next.isr.begin(), next.isr.end(),
                                [&](NodeId node) {
                                  return change.leaving.count(node) ||
                                         change.doubted.count(node) ||
                                         change.dropped.count(node) ||
                                         !next.IsActive(node);
                                }),
                 next.isr.end());
  next.elr.clear();
  next.unverified_elr.clear();
  for (const NodeId node : next.replicas) {
    if (static_cast<int>(next.isr.size()) >= next.min_isr) break;
    const bool unverified = Contains(before.unverified_elr, node);
    const bool holds_all = unverified || Contains(before.isr, node) ||
                           Contains(before.elr, node);
    if (!holds_all || change.dropped.count(node) ||
        Contains(next.isr, node)) {
      continue;
    }
    const bool doubted = change.doubted.count(node) ||
                         (unverified && !change.verified.count(node));
    (doubted ? next.unverified_elr : next.elr).push_back(node);
  }
  Elect(next);
  if (next == before) return;
  ModelMetadata unchanged = before;
  // These are in records of their own.
  unchanged.brokers = next.brokers;
  unchanged.min_isr = next.min_isr;
  unchanged.durable = next.durable;
  if (!(next == unchanged) || change.new_epoch) {
    next.partition_epoch = before.partition_epoch + 1;
    if (next.leader != before.leader || change.new_epoch) {
      next.leader_epoch = before.leader_epoch + 1;
    }
  }
  history_.push_back(std::move(next));
}

void ModelController::Fence(NodeId broker) {
  ModelMetadata next = now();
  next.brokers[broker].fenced = true;
  Commit(std::move(next), {});
}

void ModelController::Unfence(NodeId broker) {
  ModelMetadata next = now();
  next.brokers[broker].fenced = false;
  Commit(std::move(next), {});
}

void ModelController::Stop(NodeId broker) {
  ModelMetadata next = now();
  next.brokers[broker].stopping = true;
  Commit(std::move(next), {});
}

BrokerEpoch ModelController::Register(NodeId broker, Restart restart) {
  ModelMetadata next = now();
  // RP19: the place of the record in the log.
  const BrokerEpoch epoch(1000 + version());
  next.brokers[broker] = {epoch, /*fenced=*/true, /*stopping=*/false};
  Change change;
  if (restart == Restart::kIntact) change.doubted.insert(broker);
  if (restart == Restart::kLost) change.dropped.insert(broker);
  Commit(std::move(next), change);
  return epoch;
}

void ModelController::Verify(NodeId broker) {
  Commit(now(), {.verified = {broker}});
}

ModelController::Verdict ModelController::Alter(NodeId sender,
                                                BrokerEpoch sender_epoch,
                                                const ProposeIsr& proposal) {
  const ModelMetadata& before = now();
  if (before.brokers.at(sender).epoch != sender_epoch ||
      proposal.leader_epoch != before.leader_epoch ||
      sender != before.leader ||
      proposal.partition_epoch != before.partition_epoch) {
    return Verdict::kStale;
  }
  for (const auto& [broker, epoch] : proposal.isr) {
    if (!Contains(before.replicas, broker)) return Verdict::kStale;
    if (!before.IsActive(broker) ||
        before.brokers.at(broker).epoch != epoch) {
      return Verdict::kIneligible;
    }
  }
  ModelMetadata next = before;
  if (proposal.settled) {
    if (!before.settling || proposal.isr.size() != before.isr.size()) {
      return Verdict::kStale;
    }
    if (static_cast<int>(before.isr.size()) < before.min_isr) {
      return Verdict::kIneligible;
    }
    next.settling = false;
  }
  next.isr.clear();
  for (const NodeId node : before.replicas) {
    if (proposal.isr.count(node)) next.isr.push_back(node);
  }
  Commit(std::move(next), {});
  return Verdict::kApplied;
}

void ModelController::AdvanceLogStart(NodeId sender, BrokerEpoch sender_epoch,
                                      LeaderEpoch leader_epoch, Offset start) {
  const ModelMetadata& before = now();
  if (before.brokers.at(sender).epoch != sender_epoch ||
      leader_epoch != before.leader_epoch || sender != before.leader ||
      start <= before.log_start) {
    return;
  }
  ModelMetadata next = before;
  next.log_start = start;
  Commit(std::move(next), {});
}

void ModelController::ElectUnclean(NodeId broker) {
  ModelMetadata next = now();
  next.isr = {broker};
  next.leader = broker;
  next.last_unclean_leader_epoch = next.leader_epoch + 1;
  Change change{.new_epoch = true};
  for (const NodeId node : next.replicas) {
    if (node != broker) change.dropped.insert(node);
  }
  Commit(std::move(next), change);
}

void ModelController::Prefer(NodeId broker) {
  ModelMetadata next = now();
  if (!Contains(next.isr, broker)) return;
  next.leader = broker;
  Commit(std::move(next), {});
}

void ModelController::SetMinIsr(int min_isr) {
  ModelMetadata next = now();
  next.min_isr = min_isr;
  Commit(std::move(next), {});
}

void ModelController::SetDurable(bool durable) {
  ModelMetadata next = now();
  if (next.durable == durable) return;
  next.durable = durable;
  next.settling = durable;
  Commit(std::move(next), {});
}

void ModelController::RemoveAndAddAgain(NodeId broker) {
  ModelMetadata next = now();
  Commit(std::move(next), {.dropped = {broker}, .new_epoch = true});
}

}  // namespace sluice::replica
