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
                                 const PartitionImage& before, int min_isr)
    : tp_(tp),
      before_(before),
      min_isr_(min_isr > 0 ? static_cast<size_t>(min_isr) : 1),
      next_(before) {}

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

void PartitionChange::Elect(absl::FunctionRef<bool(NodeId)> is_active) {
  if (next_.leader != kNoNode && Contains(next_.isr, next_.leader)) return;
  next_.leader = kNoNode;
  // Every member of next_.isr is active.
  for (const NodeId node : next_.replicas) {
    if (Contains(next_.isr, node)) {
      next_.leader = node;
      return;
    }
  }
  for (const NodeId node : next_.replicas) {
    if (!Contains(next_.elr, node)) continue;
    if (!is_active(node) && !MUTANT(kDeadLeaderElected)) continue;
    next_.leader = node;
    next_.isr = {node};
    Remove(next_.elr, node);
    if (next_.isr.size() >= min_isr_) {
      next_.elr.clear();
      next_.unverified_elr.clear();
    }
    return;
  }
}

void PartitionChange::ComputeLastFullIsr() {
  if (next_.isr.size() >= min_isr_) {
    next_.last_full_isr = next_.isr;
  } else if (before_.isr.size() >= min_isr_) {
    next_.last_full_isr = before_.isr;
  }
}

std::optional<internal::v1::PartitionChangeRecord> PartitionChange::Build(
    absl::FunctionRef<bool(NodeId)> is_active) {
  ComputeIsr(is_active);
  ComputeElr();
  Elect(is_active);
  ComputeLastFullIsr();
  if (next_ == before_) return std::nullopt;

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
  put(before_.isr, next_.isr, [&] { return record.mutable_isr(); });
  put(before_.elr, next_.elr, [&] { return record.mutable_elr(); });
  put(before_.unverified_elr, next_.unverified_elr,
      [&] { return record.mutable_unverified_elr(); });
  put(before_.last_full_isr, next_.last_full_isr,
      [&] { return record.mutable_last_full_isr(); });
  if (next_.directories != before_.directories) {
    for (const DirectoryId& id : next_.directories) {
      record.mutable_directories()->add_ids(BytesOf(id));
    }
  }
  return record;
}

}  // namespace sluice
