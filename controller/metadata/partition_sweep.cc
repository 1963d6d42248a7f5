#include "controller/metadata/partition_sweep.h"

#include <utility>

namespace sluice {

void SweepPartitions(
    const MetadataImage& image, const ConfigRegistry& configs, NodeId concerned,
    absl::FunctionRef<bool(NodeId)> is_active,
    absl::FunctionRef<bool(const TopicPartition&, const PartitionImage&,
                           PartitionChange&)>
        tell,
    internal::v1::MetadataBatch& out) {
  for (const auto& [id, topic] : image.topics()) {
    const ElectionRules rules = configs.ElectionRulesOf(*topic);
    for (const auto& [index, partition] : topic->partitions) {
      if (!Contains(partition->replicas, concerned)) continue;
      const TopicPartition tp{id, index};
      PartitionChange change(tp, *partition, rules);
      change.ShunDemoted(image);
      if (!tell(tp, *partition, change)) continue;
      if (auto record = change.Build(is_active)) {
        *out.add_records()->mutable_partition_change() = *std::move(record);
      }
    }
  }
}

}  // namespace sluice
