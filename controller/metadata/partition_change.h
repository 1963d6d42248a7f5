// The one place that computes a partition's next state: who is in the ISR,
// who may still be elected, who leads, which epochs rise.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "common/base/ids.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

// Who has to tell of its log, of one that can be used, before the best log is
// elected without an order (design/replication.md 4): the last full ISR. One of
// them that comes back with nothing may have had its disk replaced; what it
// held, each of the others may have too: then it takes all replicas.
std::vector<NodeId> MissingWitnesses(const PartitionImage& partition);

// Says what happened to a partition, then Build gives the record. Rules
// (design/replication.md 4, kafka-semantics.md 2.5, 2.6):
// - a broker that is not active (fenced or stopping) is in no ISR (MD4);
// - |ISR| >= min ISR: both ELR lists are emptied. Else everyone who leaves the
//   ISR joins the ELR, because the high watermark stands still from there on:
//   in the verified list, or in the unverified one after an unclean stop;
// - the leader stays while it is in the ISR and active. Else the first active
//   replica of the ISR; else, with the ISR empty, the first active one of the
//   verified ELR, which then is the ISR; else the best log that is told of, if
//   the rules allow an unclean election (ElectBestLog); else nobody;
// - who is shunned (a demoted broker) leads only while nobody else can: a
//   leader makes room for a member of the ISR as it was, an election takes the
//   others first;
// - with a leader, candidates and orders are gone: they were for this election;
// - partition_epoch rises with every record, leader_epoch with every change
//   of the leader, to and from "none" too (RP16): a restarted broker, which
//   registers fenced, never leads again in an old leader epoch.
class PartitionChange {
 public:
  // `before` outlives this.
  PartitionChange(const TopicPartition& tp, const PartitionImage& before,
                  const ElectionRules& rules);

  // It leads only what nobody else can.
  void Shun(NodeId node) { shunned_.insert(node); }
  void ShunDemoted(const MetadataImage& image);

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
  // Dropped, and shown as failed until it is in sync or its broker says
  // otherwise.
  void Fail(NodeId node);
  // It can be used, as far as its broker knows.
  void ClearFailed(NodeId node);
  // Nobody leads: what its log is now, in this leader epoch.
  void Tell(const CandidateLog& log);
  // What it told is of a process that is gone.
  void ForgetLog(NodeId node);
  // An operator's: the best log shall lead once it is known, unless somebody
  // comes who holds everything.
  void OrderUnclean() { ordered_ = next_.unclean_ordered = true; }
  // An operator's: the first of the replicas leads, if it is in sync.
  void PreferFirst() { prefer_first_ = true; }
  // One more, behind the others: it is in the ISR once its leader proposes it.
  void AddReplica(NodeId node, const DirectoryId& directory);
  // Its data is in another directory from now on.
  void MoveTo(NodeId node, const DirectoryId& directory);
  // See PartitionImage.
  void SetDurabilitySettling(bool settling) {
    next_.durability_settling = settling;
  }
  // A trim. Not back: that is its caller's to see.
  void AdvanceLogStart(Offset start) { next_.log_start = start; }

  // nullopt when nothing changes. Safe to call once.
  std::optional<internal::v1::PartitionChangeRecord> Build(
      absl::FunctionRef<bool(NodeId)> is_active);

 private:
  void ComputeIsr(absl::FunctionRef<bool(NodeId)> is_active);
  void ComputeElr();
  void Elect(absl::FunctionRef<bool(NodeId)> is_active);
  // The first of the replicas that may and is not shunned, else the first that
  // may; kNoNode: none may.
  NodeId FirstOf(absl::FunctionRef<bool(NodeId)> may_lead) const;
  void LeadAlone(NodeId node);
  // The longest log of the newest epoch leads, when it may: the topic or an
  // operator allows it, or nobody is left who might hold more. "Nobody left":
  // ISR and ELR are empty and every member of the last full ISR has told of a
  // log that can be used; then the best of them all has to be alive. Whoever is
  // alive and has not told is always waited for.
  void ElectBestLog(absl::FunctionRef<bool(NodeId)> is_active);
  bool MayElectUnclean(absl::FunctionRef<bool(NodeId)> is_active) const;
  const CandidateLog* BestLog(absl::FunctionRef<bool(NodeId)> counts) const;
  void ComputeLastFullIsr();
  void ClearWhatIsSettled();
  internal::v1::PartitionChangeRecord Record() const;

  const TopicPartition tp_;
  const PartitionImage& before_;
  const size_t min_isr_;
  const bool unclean_;
  bool prefer_first_ = false;
  bool ordered_ = false;
  std::optional<std::vector<NodeId>> target_isr_;
  std::set<NodeId> leaving_;
  std::set<NodeId> doubted_;
  std::set<NodeId> verified_;
  std::set<NodeId> dropped_;
  std::set<NodeId> shunned_;
  PartitionImage next_;
};

}  // namespace sluice
