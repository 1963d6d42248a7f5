// What a debugger would show of a cluster's nodes, as plain values: the checks
// read these and nothing else, so their own tests make them by hand.
// live_views.h fills them from a real Broker and ControllerProcess.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/replica/isr_policy.h"
#include "broker/replica/replica_core.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"
#include "controller/raft/types.h"
#include "storage/producer_table.h"

namespace sluice::check {

// One stored batch, by what names it and what it holds: equal CRCs over equal
// offsets are equal records.
struct StoredBatch {
  Offset base;
  Offset last;
  LeaderEpoch epoch;
  uint32_t crc = 0;
  bool crc_matches = true;
  // Of an idempotent producer; kNoProducerId: of none. Below the CRC.
  ProducerId producer = kNoProducerId;
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;

  bool SameRecords(const StoredBatch& other) const {
    return base == other.base && last == other.last && epoch == other.epoch &&
           crc == other.crc;
  }
};

// The small facts of a replica: copied before and compared after an event.
struct ReplicaFacts {
  // A log that no metadata has claimed yet in this life has no core: what it
  // recovered is in log_start, high_watermark, leo, lossy and epochs.
  bool hosted = false;
  // What the next start will take it for; while not hosted what this one did.
  bool lossy = false;
  replica::State state = replica::State::kWaiting;
  NodeId leader = kNoNode;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  PartitionEpoch partition_epoch;
  Offset log_start;
  Offset high_watermark;
  Offset leo;          // of the log itself
  Offset durable_leo;  // likewise
  // What the core counts: durable LEO, or LEO in memory mode.
  Offset position;
  bool durable_counts = true;
  // What is acknowledged is on disks; with durable_counts, but for the time
  // that a switch to it settles.
  bool promises_disk = true;
  int min_isr = 1;
  bool cutting = false;  // a cut of the log is under way
  bool failed = false;
  bool corrupt = false;  // failed for its own bytes; then also never hosted
  LeaderEpoch last_unclean_leader_epoch = kNoLeaderEpoch;
  // As leader.
  bool leads = false;
  bool hw_is_truth = false;
  Offset epoch_start = kNoOffset;  // LESO
};

struct ReplicaView : ReplicaFacts {
  std::vector<EpochStart> epochs;
  // As leader.
  std::vector<NodeId> isr;  // committed, as it knows
  std::set<NodeId> maximal_isr;
  std::map<NodeId, replica::FollowerState> followers;
  std::optional<replica::Proposal> proposal;
  // The log's batches from its start on, contiguous. Kept up to date by the
  // new ones alone.
  std::vector<StoredBatch> batches;
  // Batches at the front of `batches` that the last event left alone, and how
  // many there were before.
  size_t batches_kept = 0;
  size_t batches_before = 0;
};

// One entry of a Raft log, by what names it and a digest of what it holds.
struct EntryView {
  Term term;
  uint64_t digest = 0;

  bool operator==(const EntryView&) const = default;
};

struct RaftFacts {
  raft::VoterId self;
  raft::Role role = raft::Role::kFollower;
  raft::HardState hard_state;          // in memory
  raft::HardState durable_hard_state;  // as the core believes
  LogIndex commit;
  LogIndex applied;
  LogIndex last;
  LogIndex durable;  // as the core believes
  uint64_t truncations = 0;
  size_t pending_proposals = 0;

  bool operator==(const RaftFacts&) const = default;
};

struct RaftView : RaftFacts {
  std::vector<raft::VoterId> voters;
  std::vector<EntryView> log;  // [0] is index 1
  // Entries at the front of `log` that the last event left alone, and how many
  // there were before.
  size_t log_kept = 0;
  size_t log_before = 0;
};

// How a process ended.
enum class End {
  kStopped,   // clean: RequestStop had done all it wanted
  kKilled,    // the page cache lives
  kPowerCut,  // what was not synced is gone, in part or whole
};

// One machine and the process on it, if any.
struct NodeView {
  NodeId id;
  bool up = false;
  int64_t life = 0;  // of its processes, from 1

  // The controller role; null while it has no cluster.
  std::optional<RaftView> raft;
  std::shared_ptr<const MetadataImage> controller_image;

  // The broker role.
  bool has_broker = false;
  IncarnationId incarnation;
  BrokerEpoch broker_epoch = kNoBrokerEpoch;  // as it was told
  bool logs_recovered = false;
  bool released = false;  // the active controller has allowed it to stop
  bool closing = false;   // it syncs its logs and writes the clean marker
  std::shared_ptr<const MetadataImage> broker_image;
  std::map<TopicPartition, ReplicaView> replicas;
};

// ---- What an event changed ----

// A replica that the last event touched. `before` is unset when it was not
// there, `now` is null when it is gone.
struct ReplicaChange {
  TopicPartition tp;
  std::optional<ReplicaFacts> before;
  const ReplicaView* now = nullptr;
  // What its log knows of idempotent producers, while the event is looked at.
  const ProducerTable* producers = nullptr;
};

struct Changes {
  bool raft = false;
  std::optional<RaftFacts> raft_before;  // unset: the first of this life
  bool controller_image = false;
  bool broker_image = false;
  bool logs_recovered = false;  // became so
  bool released = false;        // became so
  std::vector<ReplicaChange> replicas;
};

}  // namespace sluice::check
