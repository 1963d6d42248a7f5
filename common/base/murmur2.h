// Kafka's key hash: murmur2 with seed 0x9747b28c, so that a key maps to the
// same partition as it does with Kafka's own producers.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/ids.h"

namespace sluice {

int32_t Murmur2(std::string_view key);

// Masked to non-negative, modulo the partition count (> 0).
PartitionIndex PartitionForKey(std::string_view key, int32_t partition_count);

}  // namespace sluice
