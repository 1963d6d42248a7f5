// The one place that computes a partition's next state: who is in the ISR,
// who may still be elected, who leads, which epochs rise.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

// Says what happened to a partition, then Build gives the record. Rules
// (design/replication.md 4, kafka-semantics.md 2.5, 2.6):
// - a broker that is not active (fenced or stopping) is in no ISR (MD4);
// - |ISR| >= min ISR: both ELR lists are emptied. Else everyone who leaves the
//   ISR joins the ELR, because the high watermark stands still from there on:
//   in the verified list, or in the unverified one after an unclean stop;
// - the leader stays while it is in the ISR and active. Else the first active
//   replica of the ISR; else, with the ISR empty, the first active one of the
//   verified ELR, which then is the ISR; else nobody;
// - partition_epoch rises with every record, leader_epoch with every change
//   of the leader, to and from "none" too (RP16): a restarted broker, which
//   registers fenced, never leads again in an old leader epoch.
class PartitionChange {
 public:
  // `is_active` is asked during Build; `before` outlives this.
  PartitionChange(const TopicPartition& tp, const PartitionImage& before,
                  int min_isr);

  // The leader's proposal. Members that left it may join the ELR.
  void SetIsr(std::vector<NodeId> isr) { target_isr_ = std::move(isr); }
  // Out of the ISR with its log intact as far as is known.
  void LeaveIsr(NodeId node) { leaving_.insert(node); }
  // Stopped unclean: to be believed after its verdict only.
  void Doubt(NodeId node) { doubted_.insert(node); }
  // Its verdict came: it holds everything that it had acknowledged.
  void Verify(NodeId node) { verified_.insert(node); }
  // Its data is lost or unusable: out of the ISR and both ELR lists.
  void Drop(NodeId node) { dropped_.insert(node); }
  // Its data is in another directory from now on.
  void MoveTo(NodeId node, const DirectoryId& directory);

  // nullopt when nothing changes. Safe to call once.
  std::optional<internal::v1::PartitionChangeRecord> Build(
      absl::FunctionRef<bool(NodeId)> is_active);

 private:
  void ComputeIsr(absl::FunctionRef<bool(NodeId)> is_active);
  void ComputeElr();
  void Elect(absl::FunctionRef<bool(NodeId)> is_active);
  void ComputeLastFullIsr();

  const TopicPartition tp_;
  const PartitionImage& before_;
  const size_t min_isr_;
  std::optional<std::vector<NodeId>> target_isr_;
  std::set<NodeId> leaving_;
  std::set<NodeId> doubted_;
  std::set<NodeId> verified_;
  std::set<NodeId> dropped_;
  PartitionImage next_;
};

}  // namespace sluice
