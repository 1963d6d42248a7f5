// What is not as it should be with the controllers.
#pragma once

#include <cstdint>
#include <vector>

#include "sluice/v1/cluster.pb.h"

namespace sluice {

// A voter that is silent for so long is down, hung or cut off: a broker's
// session takes as long.
inline constexpr int64_t kVoterSilentMs = 3000;

// One issue per voter that the active controller does not hear. A cluster
// whose records are all safe is one failure closer to having no controller
// without saying so, and a voter whose disk was wiped never comes back.
std::vector<v1::HealthIssue> QuorumIssues(
    const v1::DescribeQuorumResponse& quorum);

}  // namespace sluice
