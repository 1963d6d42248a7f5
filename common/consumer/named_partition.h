// A partition by its topic's name: what members of a group say to each other,
// where topic ids are not known.
#pragma once

#include <compare>
#include <string>

#include "common/base/ids.h"

namespace sluice::consumer {

struct NamedPartition {
  std::string topic;
  PartitionIndex partition;

  auto operator<=>(const NamedPartition&) const = default;
  std::string ToString() const {
    return topic + "-" + std::to_string(partition.value());
  }
};

}  // namespace sluice::consumer
