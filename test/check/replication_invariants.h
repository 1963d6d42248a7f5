// RP1, RP2, RP4-RP13, RP21-RP24, MD6: what replicas hold, what leaders call
// committed. What the metadata says of the ISR is isr_invariants.h's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "controller/metadata/delta.h"
#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/ledger.h"
#include "test/check/views.h"

namespace sluice::check {

class ReplicationInvariants {
 public:
  ReplicationInvariants(Findings* findings, const Cluster* cluster)
      : findings_(*findings), cluster_(*cluster) {}

  // An event touched a replica of `node`.
  void OnChange(const NodeView& node, const ReplicaChange& change);
  // cluster->committed is new, `before` was the one before it.
  void OnCommitted(const MetadataImage& before,
                   const MetadataChanges& changes);
  // acks=all was answered for what lies below `next`.
  void OnAcknowledged(const TopicPartition& tp, Offset next,
                      LeaderEpoch by = kNoLeaderEpoch);
  void FullScan();
  // Healed and quiet. `lost` says whose copies the run destroyed.
  void CheckConverged(const TopicPartition& tp) const;

  Offset committed(const TopicPartition& tp) const;
  // An unclean election said that what was acknowledged there may be lost.
  bool MayBeLost(const TopicPartition& tp, Offset offset) const;
  // The batch that leaders called committed at `offset`; null: none did.
  const StoredBatch* FindCommitted(const TopicPartition& tp,
                                   Offset offset) const;
  // In the leader epoch, from this incarnation: how far it ever got. kNoOffset:
  // it never asked or fetched in it.
  struct Reach {
    Offset leo = kNoOffset;
    Offset durable = kNoOffset;
  };
  Reach ReachOf(const TopicPartition& tp, NodeId node, BrokerEpoch broker_epoch,
                LeaderEpoch leader_epoch) const;

 private:
  struct Link {
    Offset last;
    uint32_t crc = 0;
    // Of the batch before; nullopt: only seen where a log begins with it.
    std::optional<LeaderEpoch> epoch_before;

    bool Agrees(const Link& other) const {
      return last == other.last && crc == other.crc &&
             (!epoch_before || !other.epoch_before ||
              epoch_before == other.epoch_before);
    }
  };
  struct Replica {
    int64_t life = 0;
    Offset verified_to;  // below it the log holds what is committed
    // The newest epoch that it led, or whose leader has accepted it.
    LeaderEpoch joined = kNoLeaderEpoch;
    std::map<std::pair<BrokerEpoch, LeaderEpoch>, Reach> reach;
  };
  struct Leader {
    NodeId node;
    int64_t life = 0;
    bool operator==(const Leader&) const = default;
  };
  struct Record {
    Ledger ledger;
    std::map<LeaderEpoch, Leader> leaders;
    absl::flat_hash_map<std::pair<Offset, LeaderEpoch>, Link> links;
    std::map<NodeId, Replica> replicas;
    // The newest unclean election, and whether what its leader holds is the
    // ledger yet.
    LeaderEpoch unclean_epoch = kNoLeaderEpoch;
    bool adopted = true;
    Offset lost_from{INT64_MAX};  // the lowest that any election named
    // The highest log start that a leader has shown, and of which epoch.
    Offset shown_start;
    LeaderEpoch shown_epoch = kNoLeaderEpoch;
  };
  // All that a check of one change needs.
  struct Scene {
    const NodeView& node;
    const TopicPartition& tp;
    const PartitionImage& state;
    const ReplicaFacts* before;  // of this life; null: none
    const ReplicaView& now;
    Record& record;
    Replica& own;
  };

  static std::string Where(const Scene& scene);
  // replication_invariants.cc
  void CheckOffsets(const Scene& scene);
  void CheckMonotonous(const Scene& scene);
  void CheckFailed(const Scene& scene);
  void NoteReach(const Scene& scene);
  void CheckAccepted(const Scene& scene);
  void CheckLeads(const Scene& scene);
  void CheckCommit(const Scene& scene);
  void CheckHighWatermarkMove(const Scene& scene);
  void CheckFollowerHighWatermark(const Scene& scene);
  // log_starts.cc
  void CheckLogStart(const Scene& scene);
  // Where it begins once it has followed the metadata: what is below is deleted.
  static Offset LogStartOf(const ReplicaView& view,
                           const PartitionImage& state);
  // unclean_elections.cc
  void OnUncleanElection(const TopicPartition& tp, const PartitionImage& state,
                         Record& record);
  void Adopt(const TopicPartition& tp, const PartitionImage& state,
             const ReplicaView& leader, Record& record);
  static bool IsOfOlderHistory(const Record& record, const ReplicaView& now);
  static bool MayGiveUp(const Scene& scene);
  static void NoteJoined(const Scene& scene);
  void CheckMember(const TopicPartition& tp, const PartitionImage& state,
                   Record& record, NodeId member, Rule rule);
  void CheckMembers(const TopicPartition& tp, const PartitionImage& state,
                    Record& record, Rule rule);
  // replication_batches.cc
  void CheckBatches(const Scene& scene);
  void CheckBatch(const Scene& scene, size_t i);
  void CheckOrigin(const Scene& scene, const StoredBatch& batch);

  Findings& findings_;
  const Cluster& cluster_;
  std::map<TopicPartition, Record> records_;
};

}  // namespace sluice::check
