#include "test/sim/fault_atlas.h"

#include <algorithm>
#include <utility>

#include "broker/control/broker_lifecycle.h"
#include "controller/controller.h"

namespace sluice::sim {

void FaultAtlas::Take(std::shared_ptr<const MetadataImage> image) {
  if (image == nullptr || image->offset() <= newest_->offset()) return;
  newest_ = std::move(image);
  for (const auto& [id, topic] : newest_->topics()) {
    const int now = cluster_->configs().MinIsrOf(*topic);
    int& lowest = min_isr_.try_emplace(id, now).first->second;
    lowest = std::min(lowest, now);
  }
}

void FaultAtlas::Learn(const SimNode& node) {
  if (node.controller != nullptr) Take(node.controller->controller().image());
  if (node.broker == nullptr) return;
  Take(node.broker->image());
  epochs_[node.id] =
      std::max(epochs_[node.id], node.broker->lifecycle().epoch());
}

const MetadataImage& FaultAtlas::NewestImage() {
  for (const auto& [id, node] : cluster_->nodes()) Learn(*node);
  return *newest_;
}

bool FaultAtlas::IsIn(const Losses& losses, const PartitionImage& partition,
                      NodeId node) const {
  const auto lossy = losses.find(node);
  if (lossy == losses.end()) return false;
  const BrokerImage* broker = newest_->FindBroker(node);
  return broker == nullptr || broker->epoch <= lossy->second ||
         !Contains(partition.isr, node);
}

bool FaultAtlas::IsTainted(const TopicImage& topic,
                           const PartitionImage& partition, NodeId node) {
  const bool durable = cluster_->configs().PromisesDisk(topic, partition);
  return IsIn(disk_lost_, partition, node) ||
         (!durable && IsIn(memory_lost_, partition, node));
}

bool FaultAtlas::MaySpare(int node, bool memory_only) {
  const NodeId victim(node);
  for (const auto& [id, topic] : NewestImage().topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (memory_only &&
          cluster_->configs().PromisesDisk(*topic, *partition)) {
        continue;
      }
      if (!Contains(partition->replicas, victim)) continue;
      int tainted = 1;
      for (const NodeId replica : partition->replicas) {
        if (replica != victim && IsTainted(*topic, *partition, replica)) {
          ++tainted;
        }
      }
      if (tainted > min_isr_.at(id) - 1) return false;
    }
  }
  return true;
}

bool FaultAtlas::MayLosePower(int node) {
  return !cluster_->is_broker(node) || MaySpare(node, /*memory_only=*/true);
}

bool FaultAtlas::MayWipe(int node) {
  return cluster_->is_broker(node) && MaySpare(node, /*memory_only=*/false);
}

void FaultAtlas::OnLossy(int node, Losses& losses) {
  const BrokerImage* broker = NewestImage().FindBroker(NodeId(node));
  BrokerEpoch& epoch = losses[NodeId(node)];
  epoch = std::max(epoch, epochs_[NodeId(node)]);
  if (broker != nullptr) epoch = std::max(epoch, broker->epoch);
}

}  // namespace sluice::sim
