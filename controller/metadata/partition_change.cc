#include "controller/metadata/partition_change.h"

#include <algorithm>
#include <utility>

#include "common/base/mutant.h"
#include "controller/metadata/record_codec.h"

namespace sluice {
namespace {

void Remove(std::vector<NodeId>& list, NodeId node) {
  list.erase(std::remove(list.begin(), list.end(), node), list.end());
}

}  // namespace

PartitionChange::PartitionChange(const TopicPartition& tp,
                                 const PartitionImage& before,
                                 const ElectionRules& rules)
    : tp_(tp),
      before_(before),
      min_isr_(rules.min_isr > 0 ? static_cast<size_t>(rules.min_isr) : 1),
      unclean_(rules.unclean),
      next_(before) {}

void PartitionChange::Fail(NodeId node) {
  Drop(node);
  if (!Contains(next_.failed_replicas, node)) {
    next_.failed_replicas.push_back(node);
  }
}

void PartitionChange::ClearFailed(NodeId node) {
  Remove(next_.failed_replicas, node);
}

void PartitionChange::Tell(const CandidateLog& log) {
  ForgetLog(log.node);
  std::vector<CandidateLog> all;
  for (const NodeId node : before_.replicas) {
    if (node == log.node) {
      all.push_back(log);
    } else if (const CandidateLog* other = next_.CandidateOf(node)) {
      all.push_back(*other);
    }
  }
  next_.candidates = std::move(all);
}

void PartitionChange::ForgetLog(NodeId node) {
  std::erase_if(next_.candidates,
                [&](const CandidateLog& log) { return log.node == node; });
}

void PartitionChange::AddReplica(NodeId node, const DirectoryId& directory) {
  next_.replicas.push_back(node);
  next_.directories.push_back(directory);
  if (MUTANT(kAddedReplicaInSync)) next_.isr.push_back(node);
}

void PartitionChange::MoveTo(NodeId node, const DirectoryId& directory) {
  for (size_t i = 0; i < next_.replicas.size(); ++i) {
    if (next_.replicas[i] == node && i < next_.directories.size()) {
      next_.directories[i] = directory;
    }
  }
}

void PartitionChange::ComputeIsr(absl::FunctionRef<bool(NodeId)> is_active) {
  if (target_isr_.has_value()) next_.isr = *target_isr_;
  next_.isr.erase(std::remove_if(next_.isr.begin(), next_.isr.end(),
                                 [&](NodeId node) {
                                   return leaving_.count(node) ||
                                          doubted_.count(node) ||
                                          dropped_.count(node) ||
                                          !is_active(node);
                                 }),
                  next_.isr.end());
}

void PartitionChange::ComputeElr() {
  next_.elr.clear();
  next_.unverified_elr.clear();
  if (next_.isr.size() >= min_isr_ || MUTANT(kElrForgotten)) return;
  // In the order of the replicas, so that equal states have equal records.
  for (const NodeId node : before_.replicas) {
    const bool unverified = Contains(before_.unverified_elr, node);
    const bool holds_all = unverified || Contains(before_.isr, node) ||
                           Contains(before_.elr, node) ||
                           MUTANT(kElrOfOutOfSync);
    if (!holds_all || dropped_.count(node) || Contains(next_.isr, node)) {
      continue;
    }
    const bool doubted =
        doubted_.count(node) || (unverified && !verified_.count(node));
    (doubted ? next_.unverified_elr : next_.elr).push_back(node);
  }
}

void PartitionChange::ShunDemoted(const MetadataImage& image) {
  for (const NodeId node : before_.replicas) {
    if (image.IsDemoted(node)) Shun(node);
  }
}

NodeId PartitionChange::FirstOf(
    absl::FunctionRef<bool(NodeId)> may_lead) const {
  NodeId shunned = kNoNode;
  for (const NodeId node : next_.replicas) {
    if (!may_lead(node)) continue;
    if (!shunned_.contains(node) || MUTANT(kDemotedElected)) return node;
    if (shunned == kNoNode) shunned = node;
  }
  return shunned;
}

void PartitionChange::Elect(absl::FunctionRef<bool(NodeId)> is_active) {
  // Every member of next_.isr is active.
  if (prefer_first_ && Contains(next_.isr, next_.replicas.front())) {
    next_.leader = next_.replicas.front();
    return;
  }
  if (next_.leader != kNoNode && Contains(next_.isr, next_.leader)) {
    if (!shunned_.contains(next_.leader) || MUTANT(kDemotedLeadsOn)) return;
    // Whoever joins with this very change leads with the next.
    const NodeId other = FirstOf([&](NodeId node) {
      return Contains(next_.isr, node) && Contains(before_.isr, node);
    });
    if (!shunned_.contains(other)) next_.leader = other;
    return;
  }
  next_.leader =
      FirstOf([&](NodeId node) { return Contains(next_.isr, node); });
  if (next_.leader != kNoNode) return;
  const NodeId eligible = FirstOf([&](NodeId node) {
    return Contains(next_.elr, node) &&
           (is_active(node) || MUTANT(kDeadLeaderElected));
  });
  if (eligible == kNoNode) return ElectBestLog(is_active);
  Remove(next_.elr, eligible);
  LeadAlone(eligible);
}

void PartitionChange::LeadAlone(NodeId node) {
  next_.leader = node;
  next_.isr = {node};
  if (next_.isr.size() >= min_isr_) {
    next_.elr.clear();
    next_.unverified_elr.clear();
  }
}

void PartitionChange::ElectBestLog(absl::FunctionRef<bool(NodeId)> is_active) {
  // Before a leaderless epoch is committed nobody has told of it.
  if (before_.leader != kNoNode || !MayElectUnclean(is_active)) return;
  const bool any_will_do = unclean_ || next_.unclean_ordered;
  const CandidateLog* best = BestLog([&](NodeId node) {
    // Who told and died since may be back with more than all others.
    return !any_will_do || is_active(node);
  });
  if (best == nullptr || !is_active(best->node)) return;
  // Above its high watermark it may hold what others replaced since.
  UncleanLoss loss{best->node,
                   MUTANT(kLossBeginsAtEnd)
                       ? best->end
                       : std::min(best->high_watermark, best->end),
                   best->end};
  for (const CandidateLog& log : next_.candidates) {
    loss.known_end =
        std::max({loss.known_end, log.end, log.high_watermark});
  }
  // Its high watermark is of the history before an earlier unclean election, and
  // that one's records may be gone too.
  if (best->last_epoch < before_.last_unclean_leader_epoch) {
    loss.first = std::min(loss.first, before_.unclean_loss.first);
  }
  // What a trim had deleted nobody loses.
  loss.first = std::max(loss.first, next_.log_start);
  loss.known_end = std::max(loss.known_end, loss.first);
  next_.unclean_loss = loss;
  if (!MUTANT(kUncleanElectionUnmarked)) {
    next_.last_unclean_leader_epoch = before_.leader_epoch + 1;
  }
  // Their histories end where this one begins.
  next_.elr.clear();
  next_.unverified_elr.clear();
  LeadAlone(best->node);
}

bool PartitionChange::MayElectUnclean(
    absl::FunctionRef<bool(NodeId)> is_active) const {
  if (!next_.AsksForLogs(unclean_)) return false;
  for (const NodeId node : next_.replicas) {
    if (is_active(node) && next_.CandidateOf(node) == nullptr &&
        !MUTANT(kFirstLogElected)) {
      return false;
    }
  }
  return unclean_ || next_.unclean_ordered ||
         MUTANT(kLastFullIsrNotAwaited) || MissingWitnesses(next_).empty();
}

std::vector<NodeId> MissingWitnesses(const PartitionImage& partition) {
  const auto tells = [&](NodeId node) {
    const CandidateLog* log = partition.CandidateOf(node);
    // What a failed log held is for people to judge.
    return log != nullptr && !log->failed;
  };
  const bool emptied = std::any_of(
      partition.last_full_isr.begin(), partition.last_full_isr.end(),
      [&](NodeId node) {
        const CandidateLog* log = partition.CandidateOf(node);
        return log != nullptr && log->end == Offset(0);
      });
  std::vector<NodeId> missing;
  for (const NodeId node : emptied && !MUTANT(kWipedDiskVouches)
                               ? partition.replicas
                               : partition.last_full_isr) {
    if (!tells(node)) missing.push_back(node);
  }
  return missing;
}

const CandidateLog* PartitionChange::BestLog(
    absl::FunctionRef<bool(NodeId)> counts) const {
  const CandidateLog* best = nullptr;
  const auto better = [](const CandidateLog& a, const CandidateLog& b) {
    // The epoch first: a longer log of an older one holds what was cut since.
    if (MUTANT(kLongestLogWhateverEpoch)) return a.end > b.end;
    return std::pair(a.last_epoch, a.end) > std::pair(b.last_epoch, b.end);
  };
  for (const CandidateLog& log : next_.candidates) {
    if (log.failed || !counts(log.node)) continue;
    if (best == nullptr || better(log, *best)) best = &log;
  }
  return best;
}

void PartitionChange::ComputeLastFullIsr() {
  if (next_.isr.size() >= min_isr_) {
    next_.last_full_isr = next_.isr;
  } else if (before_.isr.size() >= min_isr_) {
    next_.last_full_isr = before_.isr;
  }
}

void PartitionChange::ClearWhatIsSettled() {
  if (next_.leader != kNoNode) {
    next_.candidates.clear();
    if (!MUTANT(kOrderOutlivesElection)) next_.unclean_ordered = false;
  }
  for (const NodeId node : next_.isr) ClearFailed(node);
}

std::optional<internal::v1::PartitionChangeRecord> PartitionChange::Build(
    absl::FunctionRef<bool(NodeId)> is_active) {
  ComputeIsr(is_active);
  ComputeElr();
  Elect(is_active);
  ComputeLastFullIsr();
  ClearWhatIsSettled();
  if (next_ == before_) return std::nullopt;
  return Record();
}

internal::v1::PartitionChangeRecord PartitionChange::Record() const {
  internal::v1::PartitionChangeRecord record;
  record.set_topic_id(tp_.topic_id.ToBytes());
  record.set_partition(tp_.partition.value());
  record.set_partition_epoch(before_.partition_epoch.value() + 1);
  if (next_.leader != before_.leader) {
    record.set_leader(next_.leader.value());
    record.set_leader_epoch(before_.leader_epoch.value() + 1);
  }
  const auto put = [](const std::vector<NodeId>& old,
                      const std::vector<NodeId>& now, auto make) {
    if (old != now) SetNodes(now, make()->mutable_ids());
  };
  put(before_.replicas, next_.replicas,
      [&] { return record.mutable_replicas(); });
  put(before_.isr, next_.isr, [&] { return record.mutable_isr(); });
  put(before_.elr, next_.elr, [&] { return record.mutable_elr(); });
  put(before_.unverified_elr, next_.unverified_elr,
      [&] { return record.mutable_unverified_elr(); });
  put(before_.last_full_isr, next_.last_full_isr,
      [&] { return record.mutable_last_full_isr(); });
  put(before_.failed_replicas, next_.failed_replicas,
      [&] { return record.mutable_failed_replicas(); });
  if (next_.directories != before_.directories) {
    for (const DirectoryId& id : next_.directories) {
      record.mutable_directories()->add_ids(BytesOf(id));
    }
  }
  if (next_.durability_settling != before_.durability_settling) {
    record.set_durability_settling(next_.durability_settling);
  }
  if (next_.log_start != before_.log_start) {
    record.set_log_start_offset(next_.log_start.value());
  }
  if (next_.candidates != before_.candidates) {
    auto* list = record.mutable_candidates();
    for (const CandidateLog& log : next_.candidates) {
      *list->add_logs() = ToMessage(log);
    }
  }
  // An order that is carried out at once leaves its trace in the record.
  if (next_.unclean_ordered != before_.unclean_ordered || ordered_) {
    record.set_unclean_ordered(next_.unclean_ordered);
  }
  if (next_.last_unclean_leader_epoch != before_.last_unclean_leader_epoch) {
    record.set_last_unclean_leader_epoch(
        next_.last_unclean_leader_epoch.value());
    *record.mutable_unclean_loss() = ToMessage(next_.unclean_loss);
  }
  return record;
}

}  // namespace sluice
