// All shards together: what the control side sees as one ReplicaHost, handlers
// as PartitionHosts, and replication streams as ports.
#pragma once

#include <memory>
#include <vector>

#include "broker/partition_host.h"
#include "broker/replica_host.h"
#include "broker/replication/replication_port.h"
#include "broker/shard.h"
#include "common/env/executor.h"

namespace sluice {

// ReplicaHost's methods run on the control executor and post to the shards;
// the others may be called from any thread. Destroyed when none of the
// executors runs any more.
class Replicas final : public ReplicaHost,
                       public PartitionHosts,
                       public ReplicationPorts {
 public:
  Replicas(Executor* control, std::vector<LogDirectory*> directories)
      : control_(control), directories_(std::move(directories)) {}

  // While it is put together, before anything runs; in the order of their
  // index.
  void Add(std::unique_ptr<Shard> shard) {
    shards_.push_back(std::move(shard));
  }
  const std::vector<std::unique_ptr<Shard>>& shards() const {
    return shards_;
  }

  // ---- ReplicaHost ----
  void RecoverLogs(absl::AnyInvocable<void(Verdicts)> some,
                   absl::AnyInvocable<void()> done) override;
  void RecoverFirst(std::vector<TopicPartition> wanted) override;
  void ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                     const MetadataChanges& changes,
                     BrokerEpoch own_epoch) override;
  void OnIsrDecisions(std::vector<IsrDecision> decisions) override;
  void OnLogStartDecisions(std::vector<LogStartDecision> decisions) override;
  void StopClean(BrokerEpoch own_epoch,
                 absl::AnyInvocable<void(absl::Status)> done) override;

  // `done` runs on the control executor, see Shard::ResetReplica.
  void ResetReplica(const ReplicaReset& order, Shard::ResetDone done);

  // ---- PartitionHosts ----
  PartitionHost* HostOf(const TopicPartition& tp) override {
    return shards_[IndexOf(tp)].get();
  }

  // ---- ReplicationPorts ----
  size_t port_count() const override { return shards_.size(); }
  ReplicationPort* port(size_t index) override {
    return shards_[index].get();
  }
  size_t IndexOf(const TopicPartition& tp) const override {
    return Shard::IndexOf(tp, shards_.size());
  }

 private:
  void CloseDirectories(BrokerEpoch own_epoch, absl::Status so_far,
                        absl::AnyInvocable<void(absl::Status)> done);

  Executor* const control_;
  const std::vector<LogDirectory*> directories_;
  bool confirmed_ = false;  // the directories know of the registration
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace sluice
