// ST1, ST4, ST5, ST7, ST8, ST11, RP10 across lives: what a disk gives back.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/views.h"

namespace sluice::check {

class StorageInvariants {
 public:
  StorageInvariants(Findings* findings, const Cluster* cluster)
      : findings_(*findings), cluster_(*cluster) {}

  // The process is gone; its views are of its last moment. May come again for
  // a machine that loses its power when its process was killed before.
  void OnEnd(const NodeView& node, End how);
  void OnWiped(NodeId node) {
    disks_.erase(node);
    // As a follower of what it once led it need not remember it (RP10).
    std::erase_if(led_, [node](const auto& led) {
      return led.first.first == node;
    });
  }
  void OnSyncFailed(const NodeView& node);
  void OnChange(const NodeView& node, const ReplicaChange& change);
  // Every log that this process found has been opened.
  void OnRecovered(const NodeView& node);
  // What was read of a replica's log past its view.
  void OnReread(const NodeView& node, const TopicPartition& tp,
                const ReplicaView& view,
                const std::vector<StoredBatch>& batches);

 private:
  // What a process left behind.
  struct Left {
    ReplicaView view;
    End how = End::kKilled;
    bool synced_by_recovery = false;  // found by that process, never used
  };
  using Disk = std::map<TopicPartition, Left>;

  void CheckEndAfterFailedSync(const NodeView& node);
  void CheckFound(const NodeView& node, const TopicPartition& tp,
                  const ReplicaView& now, const Left& left);
  void CheckEpochsLed(const NodeView& node, const TopicPartition& tp,
                      const ReplicaView& now, const ReplicaView& old);

  Findings& findings_;
  const Cluster& cluster_;
  std::map<NodeId, Disk> disks_;
  // In this life of theirs a sync failed; what was durable then.
  struct FailedSync {
    int64_t life = -1;
    std::map<TopicPartition, Offset> durable;
  };
  std::map<NodeId, FailedSync> sync_failed_;
  // The epochs each replica was seen to lead with its start durable.
  std::map<std::pair<NodeId, TopicPartition>, std::set<LeaderEpoch>> led_;
};

}  // namespace sluice::check
