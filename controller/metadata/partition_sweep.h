// One event told to every partition that it concerns.
#pragma once

#include "absl/functional/function_ref.h"
#include "common/base/ids.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "controller/metadata/partition_change.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

// Calls `tell` with each partition that `concerned` has as a replica; when it
// returns true the change's record, if any, is added to `out`.
void SweepPartitions(
    const MetadataImage& image, const ConfigRegistry& configs, NodeId concerned,
    absl::FunctionRef<bool(NodeId)> is_active,
    absl::FunctionRef<bool(const TopicPartition&, const PartitionImage&,
                           PartitionChange&)>
        tell,
    internal::v1::MetadataBatch& out);

}  // namespace sluice
