#include "controller/metadata/record_codec.h"

#include "common/base/str_cat.h"

namespace sluice {

internal::v1::PartitionRecord ToRecord(const TopicPartition& tp,
                                       const PartitionImage& partition) {
  internal::v1::PartitionRecord record;
  record.set_topic_id(tp.topic_id.ToBytes());
  record.set_partition(tp.partition.value());
  SetNodes(partition.replicas, record.mutable_replicas());
  for (const DirectoryId& id : partition.directories) {
    record.add_directories(BytesOf(id));
  }
  SetNodes(partition.isr, record.mutable_isr());
  SetNodes(partition.elr, record.mutable_elr());
  SetNodes(partition.unverified_elr, record.mutable_unverified_elr());
  SetNodes(partition.last_full_isr, record.mutable_last_full_isr());
  record.set_leader(partition.leader.value());
  record.set_leader_epoch(partition.leader_epoch.value());
  record.set_partition_epoch(partition.partition_epoch.value());
  record.set_last_unclean_leader_epoch(
      partition.last_unclean_leader_epoch.value());
  SetNodes(partition.adding_replicas, record.mutable_adding_replicas());
  SetNodes(partition.removing_replicas, record.mutable_removing_replicas());
  return record;
}

std::string NodesText(const std::vector<NodeId>& nodes) {
  std::string text = "[";
  for (size_t i = 0; i < nodes.size(); ++i) {
    text += StrCat(i == 0 ? "" : ",", nodes[i]);
  }
  return text + "]";
}

}  // namespace sluice
