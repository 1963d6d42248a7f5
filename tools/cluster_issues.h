// Whether waiting for a cluster to become healthy makes sense.
#pragma once

#include <algorithm>

#include "sluice/v1/cluster.pb.h"

namespace sluice::cli {

// What an unclean election lost does not come back for waiting: it is told, and
// not waited for.
inline bool HasIssueToMend(const v1::DescribeClusterResponse& cluster) {
  return std::any_of(cluster.issues().begin(), cluster.issues().end(),
                     [](const v1::HealthIssue& issue) {
                       return issue.kind() !=
                              v1::HealthIssue::KIND_UNCLEAN_ELECTION;
                     });
}

}  // namespace sluice::cli
