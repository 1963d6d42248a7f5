// What the assignors have in common.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "common/consumer/assignors.h"

namespace sluice::consumer {

// The topics that exist and that somebody subscribes to.
PartitionCounts SubscribedCounts(const PartitionCounts& counts,
                                 const GroupMembers& members);

std::set<std::string> TopicsOf(const GroupMember& member);

// Static members by instance id, then dynamic ones by member id.
std::vector<std::string> InAssignmentOrder(
    const std::vector<std::string>& member_ids, const GroupMembers& members);

}  // namespace sluice::consumer
