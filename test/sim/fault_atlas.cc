#include "test/sim/fault_atlas.h"

#include <algorithm>

#include "broker/control/broker_lifecycle.h"
#include "controller/controller.h"

namespace sluice::sim {

void FaultAtlas::Learn(const SimNode& node) {
  const auto learn = [this](const std::shared_ptr<const MetadataImage>& image) {
    if (image != nullptr && image->offset() > newest_->offset()) newest_ = image;
  };
  if (node.controller != nullptr) {
    learn(node.controller->controller().image());
  }
  if (node.broker == nullptr) return;
  learn(node.broker->image());
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
  const bool durable = cluster_->configs().SettingsOf(topic).durable;
  return IsIn(disk_lost_, partition, node) ||
         (!durable && IsIn(memory_lost_, partition, node));
}

bool FaultAtlas::MaySpare(int node, bool memory_only) {
  const NodeId victim(node);
  for (const auto& [id, topic] : NewestImage().topics()) {
    const TopicSettings settings = cluster_->configs().SettingsOf(*topic);
    if (memory_only && settings.durable) continue;
    for (const auto& [index, partition] : topic->partitions) {
      if (!Contains(partition->replicas, victim)) continue;
      int tainted = 1;
      for (const NodeId replica : partition->replicas) {
        if (replica != victim && IsTainted(*topic, *partition, replica)) {
          ++tainted;
        }
      }
      if (tainted > settings.min_insync_replicas - 1) return false;
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
