// What follows the log of one replica on its shard: the view that an internal
// topic has on every replica, and the coordinator that works on it where the
// replica leads.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "broker/partition_host.h"
#include "common/api/log_api.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"
#include "storage/read_plan.h"

namespace sluice {

// The replica, as its observer sees it. On the shard's executor.
class ObservedReplica {
 public:
  virtual ~ObservedReplica() = default;

  virtual Offset log_start() const = 0;
  virtual Offset leo() const = 0;
  virtual Offset durable_leo() const = 0;
  virtual Offset high_watermark() const = 0;
  virtual const EpochHistory& epochs() const = 0;
  // By the metadata that this shard has applied.
  virtual const MetadataImage& image() const = 0;
  virtual LeaderEpoch leader_epoch() const = 0;
  // Appends and answers: the epoch's start is durable.
  virtual bool serves_as_leader() const = 0;
  // Where its epoch begins (LESO); only while it serves as leader.
  virtual Offset epoch_start() const = 0;
  virtual api::LeaderHint leader_hint() const = 0;

  // Whole batches of [from, upto), at least one of them; `from` < `upto`. May
  // answer before it returns.
  virtual void ReadLog(
      Offset from, Offset upto, int64_t bytes_max,
      absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done) = 0;
  // As PartitionHost's: of the replica's own partition.
  virtual void AppendOwn(AppendRequest request,
                         absl::AnyInvocable<void(AppendOutcome)> done) = 0;
};

// Owned by the replica. Never called inside one of the replica's steps but for
// the callbacks that it gave.
class ReplicaObserver {
 public:
  virtual ~ReplicaObserver() = default;

  // Before anything runs: where its high watermark may begin.
  virtual Offset RestartHighWatermark(Offset recovered) = 0;
  // It lives as long as this object.
  virtual void Attach(ObservedReplica* replica) = 0;
  // Something moved, perhaps: high watermark, durable end, leadership,
  // metadata; at least every 100 ms or so.
  virtual void OnProgress() = 0;
  // Some topics are gone from the metadata.
  virtual void OnTopicsRemoved() = 0;
  // The log is about to be cut to `target`; 0: it begins anew, somewhere.
  virtual void OnCut(Offset target) = 0;
  // The replica has failed, or leaves this broker: the last call.
  virtual void OnClosed() = 0;
};

// Gives replicas their observers; on the shard that hosts them.
class ReplicaObservers {
 public:
  virtual ~ReplicaObservers() = default;

  struct Found {
    TopicPartition tp;
    const TopicImage* topic = nullptr;
    std::string directory;  // that its log is in
    // Of the log as it was recovered.
    const EpochHistory* epochs = nullptr;
    Offset leo;
    Executor* executor = nullptr;  // of the shard
  };
  // Null: nobody follows this one.
  virtual std::unique_ptr<ReplicaObserver> Observe(const Found& found) = 0;
  // The replica was removed from this broker; its observer is gone.
  virtual void Forget(const TopicPartition& tp,
                      const std::string& directory) = 0;
};

}  // namespace sluice
