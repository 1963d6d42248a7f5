// The cluster as the checks know it: every machine's view and the newest
// committed metadata, folded by the checks themselves.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>

#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "test/check/views.h"

namespace sluice::check {

using Nodes = std::map<NodeId, NodeView>;

struct Cluster {
  Nodes nodes;
  std::shared_ptr<const MetadataImage> committed = MetadataImage::Empty();
  std::shared_ptr<const ConfigRegistry> configs;
  // Of whose changes in the batch that is being committed an operator ordered
  // an unclean election.
  std::set<TopicPartition> ordered;
  // Whether that copy of a partition may be damaged, or cannot be read: it may
  // be quarantined. Null: no disk lies.
  std::function<bool(NodeId, const TopicPartition&)> lies;

  bool Lies(NodeId node, const TopicPartition& tp) const {
    return lies != nullptr && lies(node, tp);
  }

  const NodeView* Find(NodeId id) const {
    const auto found = nodes.find(id);
    return found == nodes.end() ? nullptr : &found->second;
  }
  // What the committed metadata knows of this very process; null: it is not
  // registered, or another one is.
  const BrokerImage* RegistrationOf(const NodeView& node) const {
    if (!node.up || !node.has_broker) return nullptr;
    const BrokerImage* broker = committed->FindBroker(node.id);
    return broker != nullptr && broker->incarnation == node.incarnation
               ? broker
               : nullptr;
  }
  // The process that is registered under this id, when it runs.
  const NodeView* Running(NodeId id) const {
    const NodeView* node = Find(id);
    return node != nullptr && RegistrationOf(*node) != nullptr ? node : nullptr;
  }
  const ReplicaView* FindReplica(NodeId id, const TopicPartition& tp) const {
    const NodeView* node = Find(id);
    if (node == nullptr || !node->up) return nullptr;
    const auto found = node->replicas.find(tp);
    return found == node->replicas.end() ? nullptr : &found->second;
  }
  // What is acknowledged is on disks: positions count once they are durable.
  bool PromisesDisk(const TopicPartition& tp) const {
    const TopicImage* topic = committed->FindTopic(tp.topic_id);
    const PartitionImage* partition =
        topic == nullptr ? nullptr : topic->Find(tp.partition);
    return partition != nullptr && configs->PromisesDisk(*topic, *partition);
  }
  int MinIsrOf(const TopicPartition& tp) const {
    const TopicImage* topic = committed->FindTopic(tp.topic_id);
    return topic == nullptr ? 1 : configs->MinIsrOf(*topic);
  }
};

}  // namespace sluice::check
