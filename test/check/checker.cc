#include "test/check/checker.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "common/base/str_cat.h"
#include "controller/metadata/delta.h"
#include "test/check/isr_invariants.h"
#include "test/check/metadata_invariants.h"
#include "test/check/raft_invariants.h"
#include "test/check/replication_invariants.h"
#include "test/check/storage_invariants.h"

namespace sluice::check {

struct Checker::Parts {
  explicit Parts(Deps given)
      : deps(std::move(given)),
        raft(deps.findings, &cluster),
        replication(deps.findings, &cluster),
        isr(deps.findings, &cluster, &replication),
        storage(deps.findings, &cluster),
        metadata(deps.findings, &cluster),
        producers(deps.findings, &cluster, &replication),
        groups(deps.findings, &cluster) {
    cluster.configs = deps.configs;
    cluster.lies = deps.lies;
  }

  void OnGroups(const NodeView& node, const LiveNode& live,
                const ReplicaChange& change);
  void RereadView();
  void OnRaft(const NodeView& node, const LiveNode& live,
              const Changes& changes);
  void Fold(const LiveNode& live);
  void FoldEntry(const raft::Entry& entry);
  void OnImages(const NodeView& node, const Changes& changes);
  void NoteLost(const NodeView& node, bool wiped);
  void NoteCreated(const MetadataChanges& changes);
  void NoteJoined(const MetadataChanges& changes);
  void CheckUncleanElections(const MetadataImage& before,
                             const MetadataChanges& changes);

  const Deps deps;
  Cluster cluster;
  RaftInvariants raft;
  ReplicationInvariants replication;
  IsrInvariants isr;
  StorageInvariants storage;
  MetadataInvariants metadata;
  ProducerInvariants producers;
  GroupInvariants groups;

  std::map<NodeId, LiveNode> live;
  LogIndex folded{0};
  // Where a node's copy is not to be relied on: memory mode and a power cut, or
  // a wiped disk, and not in the ISR since.
  std::map<TopicPartition, std::set<NodeId>> lost;
  // Registered processes whose machine has lost that since; true: all of it.
  std::map<IncarnationId, bool> lost_behind;
  std::set<TopicId> altered;  // their configs were, at some time
  // Whose log is read anew in the next full scan.
  size_t next_reread = 0;
  size_t next_view = 0;
  // What each process showed last.
  std::map<NodeId, std::shared_ptr<const MetadataImage>> shown_by_controller;
  std::map<NodeId, std::shared_ptr<const MetadataImage>> shown_by_broker;
};

Checker::Checker(Deps deps)
    : parts_(std::make_unique<Parts>(std::move(deps))) {}
Checker::~Checker() = default;

// ---- What happens to nodes ----

void Checker::OnBoot(NodeId id, const Process& process) {
  NodeView& node = parts_->cluster.nodes[id];
  const int64_t life = node.life + 1;
  node = NodeView();
  node.id = id;
  node.up = true;
  node.life = life;
  node.has_broker = process.broker != nullptr;
  parts_->shown_by_controller.erase(id);
  parts_->shown_by_broker.erase(id);
  parts_->live.erase(id);
  parts_->live.emplace(id, LiveNode(process, &node));
}

void Checker::OnEnd(NodeId id, End how) {
  NodeView& node = parts_->cluster.nodes[id];
  node.id = id;
  parts_->raft.OnEnd(node);
  parts_->storage.OnEnd(node, how);
  parts_->metadata.OnEnd(node, how);
  node.up = false;
  parts_->live.erase(id);
  if (how == End::kPowerCut) parts_->NoteLost(node, /*wiped=*/false);
}

void Checker::OnWiped(NodeId id) {
  NodeView& node = parts_->cluster.nodes[id];
  node.id = id;
  // A Raft log that went along comes back as another voter's (RA12).
  parts_->storage.OnWiped(id);
  parts_->metadata.OnWiped(id);
  parts_->NoteLost(node, /*wiped=*/true);
}

void Checker::OnSyncFailed(NodeId id) {
  const auto found = parts_->cluster.nodes.find(id);
  if (found != parts_->cluster.nodes.end()) {
    parts_->storage.OnSyncFailed(found->second);
  }
}

void Checker::Parts::NoteLost(const NodeView& node, bool wiped) {
  if (const BrokerImage* known = cluster.committed->FindBroker(node.id)) {
    bool& all = lost_behind[known->incarnation];
    all = all || wiped;
  }
  for (const auto& [id, topic] : cluster.committed->topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (!wiped && cluster.PromisesDisk({id, index})) continue;
      if (Contains(partition->replicas, node.id)) {
        lost[{id, index}].insert(node.id);
      }
    }
  }
}

// A topic may be given to a broker whose process is dead and its loss not told
// yet: with its next registration that costs the new topic a copy, too (seed
// 3728).
void Checker::Parts::NoteCreated(const MetadataChanges& changes) {
  for (const TopicPartition& tp : changes.partitions_created) {
    const PartitionImage* partition = cluster.committed->FindPartition(tp);
    if (partition == nullptr) continue;
    for (const NodeId node : partition->replicas) {
      const BrokerImage* known = cluster.committed->FindBroker(node);
      if (known == nullptr) continue;
      const auto found = lost_behind.find(known->incarnation);
      if (found == lost_behind.end()) continue;
      if (found->second || !cluster.PromisesDisk(tp)) lost[tp].insert(node);
    }
  }
}

void Checker::Parts::NoteJoined(const MetadataChanges& changes) {
  for (const TopicPartition& tp : changes.partitions_changed) {
    const auto found = lost.find(tp);
    if (found == lost.end()) continue;
    for (const NodeId node : cluster.committed->FindPartition(tp)->isr) {
      if (cluster.Running(node) == nullptr) continue;
      // Killed before its marks say so, it tells of the old loss once more.
      const ReplicaView* replica = cluster.FindReplica(node, tp);
      if (replica != nullptr && !replica->lossy) found->second.erase(node);
    }
  }
  for (const TopicPartition& tp : changes.partitions_removed) lost.erase(tp);
}

// RP1: nobody orders an election by itself while fewer than min ISR copies were
// destroyed.
void Checker::Parts::CheckUncleanElections(const MetadataImage& before,
                                           const MetadataChanges& changes) {
  for (const TopicPartition& tp : changes.partitions_changed) {
    const PartitionImage& old = *before.FindPartition(tp);
    const PartitionImage& now = *cluster.committed->FindPartition(tp);
    const TopicImage& topic = *cluster.committed->FindTopic(tp.topic_id);
    // Switched to memory behind a power cut, it left the ELR with its registration
    // though its disk lost nothing.
    if (altered.contains(tp.topic_id) ||
        now.last_unclean_leader_epoch == old.last_unclean_leader_epoch ||
        old.unclean_ordered || cluster.ordered.contains(tp) ||
        cluster.configs->ElectionRulesOf(topic).unclean) {
      continue;
    }
    const auto found = lost.find(tp);
    const int copies = static_cast<int>(std::count_if(
        now.replicas.begin(), now.replicas.end(), [&](NodeId node) {
          return cluster.Lies(node, tp) ||
                 (found != lost.end() && found->second.contains(node));
        }));
    deps.findings->Check(Rule::kRP1, copies >= cluster.MinIsrOf(tp), [&] {
      return StrCat("partition ", tp.ToString(), " elected ", now.leader,
                    " unclean in epoch ", now.leader_epoch, " though only ",
                    copies, " copies were destroyed, min ISR is ",
                    cluster.MinIsrOf(tp));
    });
  }
}

// ---- What crosses the edges ----

void Checker::OnRaftSent(NodeId from, const raft::Message& message) {
  parts_->raft.OnSent(from, message);
}

void Checker::OnAcknowledged(const TopicPartition& tp, Offset next,
                             LeaderEpoch by) {
  parts_->replication.OnAcknowledged(tp, next, by);
}

void Checker::OnProducerAnswered(const ProducerAnswer& answer) {
  parts_->producers.OnAnswered(answer);
}

void Checker::OnProducerIdentified(const IdentityAnswer& answer) {
  parts_->producers.OnIdentified(answer);
}

GroupInvariants& Checker::groups() { return parts_->groups; }

void Checker::OnTopicCreated(const TopicId& id) {
  parts_->metadata.OnTopicCreated(id);
}

// ---- Between events ----

void Checker::AfterEvent(NodeId ran) {
  const auto found = parts_->live.find(ran);
  if (found == parts_->live.end()) return;
  LiveNode& live = found->second;
  const NodeView& node = parts_->cluster.nodes.at(ran);
  const Changes changes = live.Refresh();
  if (changes.raft) parts_->OnRaft(node, live, changes);
  parts_->OnImages(node, changes);
  for (const ReplicaChange& change : changes.replicas) {
    parts_->storage.OnChange(node, change);
    parts_->replication.OnChange(node, change);
    parts_->isr.OnChange(node, change);
    parts_->producers.OnChange(node, change);
    parts_->OnGroups(node, live, change);
  }
  if (changes.logs_recovered) parts_->storage.OnRecovered(node);
  if (changes.released) parts_->metadata.OnReleased(node);
}

void Checker::Parts::OnRaft(const NodeView& node, const LiveNode& live,
                            const Changes& changes) {
  raft.OnChange(node, changes.raft_before);
  if (node.raft->commit > folded) Fold(live);
}

// The checks' own fold of the committed log, one batch after the other: what
// every node's image is compared with, and no state in between is missed.
void Checker::Parts::Fold(const LiveNode& live_node) {
  const LogIndex end(static_cast<int64_t>(raft.committed().size()) + 1);
  const auto entries = live_node.ReadEntries(folded.Next(), end);
  if (!entries.ok()) return;  // the disk has a fault: from another node
  for (const raft::Entry& entry : *entries) {
    FoldEntry(entry);
    folded = entry.index;
  }
}

void Checker::Parts::FoldEntry(const raft::Entry& entry) {
  if (entry.type != raft::EntryType::kRecords) return;
  internal::v1::MetadataBatch batch;
  absl::StatusOr<AppliedBatch> applied =
      batch.ParseFromArray(entry.payload.data(),
                           static_cast<int>(entry.payload.size()))
          ? ApplyBatch(*cluster.committed, batch, entry.index, entry.term)
          : absl::InternalError("no batch");
  if (!deps.findings->Check(Rule::kMD1, applied.ok(), [&] {
        return StrCat("the committed entry ", entry.index,
                      " cannot be applied: ", applied.status().ToString());
      })) {
    return;
  }
  const auto before =
      std::exchange(cluster.committed, std::move(applied->image));
  altered.insert(applied->changes.topics_changed.begin(),
                 applied->changes.topics_changed.end());
  cluster.ordered.clear();
  for (const auto& record : batch.records()) {
    const auto& change = record.partition_change();
    const auto id = TopicId::FromBytes(change.topic_id());
    if (change.has_unclean_ordered() && id.has_value()) {
      cluster.ordered.insert({*id, PartitionIndex(change.partition())});
    }
  }
  metadata.OnCommitted(*before, applied->changes);
  isr.OnCommitted(*before, applied->changes);
  replication.OnCommitted(*before, applied->changes);
  CheckUncleanElections(*before, applied->changes);
  NoteCreated(applied->changes);
  NoteJoined(applied->changes);
}

void Checker::Parts::OnImages(const NodeView& node, const Changes& changes) {
  if (changes.controller_image) {
    auto& last = shown_by_controller[node.id];
    metadata.OnImage(node, *node.controller_image, last.get());
    last = node.controller_image;
  }
  if (changes.broker_image) {
    auto& last = shown_by_broker[node.id];
    metadata.OnImage(node, *node.broker_image, last.get());
    last = node.broker_image;
  }
}

// What the log of __consumer_offsets says is folded as it is committed,
// whichever leader commits it.
void Checker::Parts::OnGroups(const NodeView& node, const LiveNode& live_node,
                              const ReplicaChange& change) {
  if (change.now == nullptr || !change.now->hosted ||
      !groups.IsOffsetsPartition(change.tp)) {
    return;
  }
  const Offset upto = replication.committed(change.tp);
  const Offset from = groups.folded(change.tp);
  if (from < upto && change.now->high_watermark >= upto) {
    const auto batches = live_node.ReadGroupBatches(change.tp, from, upto);
    deps.findings->Check(Rule::kGR7, batches.ok(), [&] {
      return StrCat("the log of ", change.tp.ToString(), " on ", node.id,
                    " holds what cannot be read: ",
                    batches.status().ToString());
    });
    if (batches.ok()) {
      for (const auto& batch : *batches) {
        groups.OnCommitted(change.tp, batch, change.now->leader_epoch);
      }
    }
  }
  if (live_node.views() != nullptr) {
    groups.CheckApplied(node, change.tp, *change.now, *live_node.views());
  }
}

// One at a time, in turn.
void Checker::Parts::RereadView() {
  std::vector<std::pair<NodeId, TopicPartition>> all;
  for (const auto& [id, live_node] : live) {
    if (live_node.views() == nullptr) continue;
    for (const auto& [tp, view] : cluster.nodes.at(id).replicas) {
      if (view.hosted && groups.IsOffsetsPartition(tp)) all.push_back({id, tp});
    }
  }
  if (all.empty()) return;
  const auto& [id, tp] = all[next_view++ % all.size()];
  groups.CheckView(cluster.nodes.at(id), tp, *live.at(id).views());
}

void Checker::FullScan() {
  parts_->replication.FullScan();
  parts_->RereadView();
  // One log at a time, in turn.
  size_t count = 0;
  for (const auto& [id, live] : parts_->live) {
    count += parts_->cluster.nodes.at(id).replicas.size();
  }
  if (count == 0) return;
  size_t turn = parts_->next_reread++ % count;
  for (const auto& [id, live] : parts_->live) {
    const NodeView& node = parts_->cluster.nodes.at(id);
    for (const auto& [tp, view] : node.replicas) {
      if (turn-- > 0) continue;
      if (const auto batches = live.ReadLog(tp)) {
        parts_->storage.OnReread(node, tp, view, *batches);
      }
      return;
    }
  }
}

void Checker::AtEnd() {
  parts_->raft.AtEnd();
  for (const auto& [id, topic] : parts_->cluster.committed->topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      const TopicPartition tp{id, index};
      parts_->replication.CheckConverged(tp);
      for (const NodeId node : partition->replicas) {
        const auto live = parts_->live.find(node);
        const ReplicaView* view = parts_->cluster.FindReplica(node, tp);
        if (live == parts_->live.end() || view == nullptr) continue;
        const NodeView& machine = parts_->cluster.nodes.at(node);
        if (const auto batches = live->second.ReadLog(tp)) {
          parts_->storage.OnReread(machine, tp, *view, *batches);
        }
        if (const auto* known = live->second.FindProducers(tp)) {
          parts_->producers.CheckTable(machine, tp, *view, *known);
        }
        const MemKvStore* views = live->second.views();
        if (views != nullptr && parts_->groups.IsOffsetsPartition(tp)) {
          parts_->groups.CheckConverged(machine, tp, *views);
        }
      }
    }
  }
}

// ---- For runners ----

Offset Checker::committed(const TopicPartition& tp) const {
  return parts_->replication.committed(tp);
}

}  // namespace sluice::check
