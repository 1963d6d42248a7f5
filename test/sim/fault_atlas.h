// Which copies of committed records the run itself has destroyed: a fault that
// would destroy the last one is not done, so that a loss is always a bug.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "test/sim/disk_lies.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

// The rule (correctness.md RP1): of the holders of a committed record at most
// min ISR - 1 may be lossy. A node is tainted for a partition from the moment
// it loses bytes until it is in the ISR again under a newer broker epoch: then
// it holds everything committed once more. At most min ISR - 1 replicas of a
// partition are tainted at a time. Nothing is lost, but only as long as each
// committed record is on min ISR replicas, which RP4 promises.
class FaultAtlas final : public ClusterObserver {
 public:
  explicit FaultAtlas(SimCluster* cluster)
      : lies_(cluster), cluster_(cluster) {
    cluster->AddObserver(this);
  }
  ~FaultAtlas() override { cluster_->RemoveObserver(this); }

  // Whether what the node's page cache alone holds may go: no partition of it
  // counts memory, or they can spare it.
  bool MayLosePower(int node);
  // Whether all that its broker's disk holds may go.
  bool MayWipe(int node);
  // It was done.
  void OnPowerLoss(int node) { OnLossy(node, memory_lost_); }
  void OnWipe(int node) { OnLossy(node, disk_lost_); }
  // All power will go. Of what is in memory the best log leads then, once all of
  // the last full ISR have told; one whose log is damaged cannot, and what it
  // held is for people to judge (seed 182): no copy of it is damaged.
  void SpareMemory() { spares_memory_ = true; }
  // Of which partitions the copy on `node` may be damaged.
  std::vector<TopicPartition> MayDamage(int node);
  // Whether what the node's disk holds may be out of reach for a while: where
  // its replicas count for nothing meanwhile nobody else is lossy.
  bool MayBeUnreadable(int node);
  // Which copies are damaged.
  DiskLies& lies() { return lies_; }
  const DiskLies& lies() const { return lies_; }
  bool Lies(NodeId node, const TopicPartition& tp) const {
    return lies_.Lies(node, tp);
  }
  // Whether the copy of a partition on `node` may lack what is committed.
  // The topic is of the newest image.
  bool IsTainted(const TopicImage& topic, PartitionIndex index, NodeId node);

  // The newest committed metadata that any process has or had.
  const MetadataImage& NewestImage();

  void OnBoot(SimNode&) override {}
  void OnEnd(SimNode& node, ProcessEnd) override { Learn(node); }
  void OnWiped(SimNode&) override {}

 private:
  // By node: no later than this was its last broker epoch before its loss.
  using Losses = std::map<NodeId, BrokerEpoch>;

  void Learn(const SimNode& node);
  void OnLossy(int node, Losses& losses);
  void Take(std::shared_ptr<const MetadataImage> image);
  bool MaySpare(int node, bool memory_only);
  // How many replicas of it but that of `node` are tainted.
  int OthersTainted(const TopicImage& topic, PartitionIndex index, NodeId node);
  bool IsIn(const Losses& losses, const PartitionImage& partition,
            NodeId node) const;

  DiskLies lies_;
  SimCluster* const cluster_;
  std::shared_ptr<const MetadataImage> newest_ = MetadataImage::Empty();
  // The lowest min ISR that each topic had: of so many copies at least was a
  // record when it was committed.
  std::map<TopicId, int> min_isr_;
  std::map<NodeId, BrokerEpoch> epochs_;  // the last that each broker knew
  Losses memory_lost_;  // of what is in memory alone
  Losses disk_lost_;
  bool spares_memory_ = false;
};

}  // namespace sluice::sim
