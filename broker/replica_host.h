// What the broker's control side (lifecycle, metadata follower, ISR reporter)
// asks of all shards together, and what shards tell it back.
#pragma once

#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "client/peers/controller_peer.h"
#include "common/base/ids.h"
#include "common/env/executor.h"

namespace sluice {

class MetadataImage;
struct MetadataChanges;

// The answer to one proposed ISR change (kafka-semantics.md 2.4).
struct IsrDecision {
  enum class Outcome {
    kApplied,     // the new partition state comes with the metadata too
    kNotApplied,  // INELIGIBLE_REPLICA, refused before any effect: revert
    kStale,       // FENCED_LEADER_EPOCH, INVALID_UPDATE_VERSION, ...: wait for
                  // the metadata
    kUnknown,     // no answer: it may have been applied; ask again
  };
  TopicPartition tp;
  Outcome outcome = Outcome::kUnknown;
  LeaderEpoch leader_epoch;        // of the proposal
  PartitionEpoch partition_epoch;  // likewise
  PartitionEpoch applied_epoch;    // kApplied: the new one
};

// What became of a log start that a leader asked to have recorded.
struct LogStartDecision {
  TopicPartition tp;
  LeaderEpoch leader_epoch;  // of the question
  Offset log_start;          // asked for
  // OK: it is recorded, and comes with the metadata. Else why it is not.
  absl::Status status;
  // With an error: it may be recorded yet, a question got no answer.
  bool uncertain = false;
};

// An operator's order: the files of a replica that has failed are set aside,
// and it is filled again from its leader.
struct ReplicaReset {
  TopicPartition tp;
  // Also where nobody leads: it begins empty then.
  bool without_leader = false;
  bool validate_only = false;
};

// Implemented by the shards; called on the broker's control executor.
class ReplicaHost {
 public:
  virtual ~ReplicaHost() = default;

  using Verdicts = std::vector<internal::v1::ReplicaVerdict>;

  // Opens and recovers every log found in the data directories, those that
  // somebody wants first. On the control executor `some` runs with verdicts as
  // they come, at most one a replica (Rule T), and `done` behind the last. A
  // log that cannot be used is reported as failed.
  virtual void RecoverLogs(absl::AnyInvocable<void(Verdicts)> some,
                           absl::AnyInvocable<void()> done) = 0;
  // What elections wait for: these come next. Of a replica without files or
  // marks the verdict comes too: it never held anything durable, hence lost
  // nothing.
  virtual void RecoverFirst(std::vector<TopicPartition> wanted) = 0;

  // From the first image that contains the broker's own registration on:
  // creates, changes and removes replicas. Images come in order, none is
  // skipped; `changes` is relative to the image before (everything, in the
  // first call).
  virtual void ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                             const MetadataChanges& changes,
                             BrokerEpoch own_epoch) = 0;

  virtual void OnIsrDecisions(std::vector<IsrDecision> decisions) = 0;
  virtual void OnLogStartDecisions(std::vector<LogStartDecision> decisions) = 0;

  // No more appends; flushes every log, writes the marks and the clean
  // markers. `done` runs on the control executor.
  virtual void StopClean(BrokerEpoch own_epoch,
                         absl::AnyInvocable<void(absl::Status)> done) = 0;
};

// Implemented by the control side; called from any shard, never blocks.
class IsrProposals {
 public:
  virtual ~IsrProposals() = default;
  // One in flight a partition. The decision comes back through
  // ReplicaHost::OnIsrDecisions.
  virtual void Propose(internal::v1::AlterPartition proposal) = 0;
};

// Implemented by the control side; called from any shard, never blocks.
class LogStartRecords {
 public:
  virtual ~LogStartRecords() = default;
  // The controllers shall record `wanted`, in the time that is left until
  // `deadline_us` (Clock::MonoMicros). The decision comes through
  // ReplicaHost::OnLogStartDecisions; one for all that are asked of a partition
  // meanwhile, with the highest.
  virtual void Record(internal::v1::AdvanceLogStart wanted,
                      int64_t deadline_us) = 0;
};

// Implemented by the control side; called from any shard, never blocks.
class ReplicaFailures {
 public:
  virtual ~ReplicaFailures() = default;
  // A replica that failed while it was in use: to be told the active
  // controller (ReportReplicas) until it knows, so that the replica leaves ISR
  // and ELR and another one leads.
  virtual void ReportFailed(internal::v1::ReplicaVerdict verdict) = 0;
  // What a replica's log is while nobody leads in its candidate_epoch
  // (design/replication.md 4). May get lost: the shard tells it again until the
  // metadata shows it.
  virtual void TellLog(internal::v1::ReplicaVerdict verdict) = 0;
};

}  // namespace sluice
