// The two ways of the sticky assignors: members that all subscribe to the same
// topics have a fast one; else the general one, which weighs who may read what.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/consumer/assignor_inputs.h"

namespace sluice::consumer {

// What the members say they own, made consistent: only what exists, each
// partition once. Of two that claim one the newer generation has it; of two of
// the same generation neither.
struct Ownership {
  std::map<std::string, std::vector<NamedPartition>> owned;  // by member id
  std::set<NamedPartition> claimed_twice;
  // Owners by claims of an older generation than the newest: the newest of
  // them.
  std::map<NamedPartition, std::string> previous;
};

// The assignment, and the partitions that some other member owned until now.
struct StickyResult {
  Assignments assignments;
  std::map<NamedPartition, std::string> moved;  // to whom
};

StickyResult AssignAlike(const PartitionCounts& counts,
                         const GroupMembers& members,
                         const Ownership& ownership);

Assignments AssignGeneral(const PartitionCounts& counts,
                          const GroupMembers& members,
                          const Ownership& ownership);

}  // namespace sluice::consumer
