// Which partition of __consumer_offsets a group lives in: its leader is the
// group's coordinator. Kafka's rule, so that its tools agree.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/base/ids.h"

namespace sluice::offsets {

// Java's String.hashCode: over UTF-16 units. What is no UTF-8 counts as U+FFFD,
// byte by byte.
int32_t JavaStringHash(std::string_view utf8);

// |hash| mod the count, where |INT32_MIN| is 0; the count is positive and never
// changes.
PartitionIndex CoordinatorPartition(std::string_view group_id,
                                    int32_t partition_count);

}  // namespace sluice::offsets
