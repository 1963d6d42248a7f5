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
  lies_.Refresh(*newest_);
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

bool FaultAtlas::IsTainted(const TopicImage& topic, PartitionIndex index,
                           NodeId node) {
  const PartitionImage& partition = *topic.Find(index);
  const bool durable = cluster_->configs().PromisesDisk(topic, partition);
  return IsIn(disk_lost_, partition, node) ||
         lies_.Lies(node, {topic.id, index}) ||
         (!durable && IsIn(memory_lost_, partition, node));
}

int FaultAtlas::OthersTainted(const TopicImage& topic, PartitionIndex index,
                              NodeId node) {
  const auto& replicas = topic.Find(index)->replicas;
  return static_cast<int>(
      std::count_if(replicas.begin(), replicas.end(), [&](NodeId other) {
        return other != node && IsTainted(topic, index, other);
      }));
}

std::vector<TopicPartition> FaultAtlas::MayDamage(int node) {
  std::vector<TopicPartition> all;
  for (const auto& [id, topic] : NewestImage().topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (spares_memory_ &&
          !cluster_->configs().PromisesDisk(*topic, *partition)) {
        continue;
      }
      if (Contains(partition->replicas, NodeId(node)) &&
          OthersTainted(*topic, index, NodeId(node)) + 1 <=
              min_isr_.at(id) - 1) {
        all.push_back({id, index});
      }
    }
  }
  return all;
}

bool FaultAtlas::MayBeUnreadable(int node) {
  if (!cluster_->is_broker(node)) return true;
  for (const auto& [id, topic] : NewestImage().topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (Contains(partition->replicas, NodeId(node)) &&
          OthersTainted(*topic, index, NodeId(node)) + 1 >
              std::max(1, min_isr_.at(id) - 1)) {
        return false;
      }
    }
  }
  return true;
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
      if (OthersTainted(*topic, index, victim) + 1 >
          min_isr_.at(id) - 1) {
        return false;
      }
    }
  }
  return true;
}

bool FaultAtlas::MayLosePower(int node) {
  return !cluster_->is_broker(node) ||
         (lies_.MayLosePower(NodeId(node)) &&
          MaySpare(node, /*memory_only=*/true));
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
