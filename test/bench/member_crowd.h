// Many members of one group, in one process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/group/group_member.h"
#include "test/bench/bench_client.h"

namespace sluice::bench {

struct CrowdOptions {
  std::string group = "crowd";
  std::string topic;
  int32_t partitions = 1'000;  // of the topic; at least one a member
  int members = 1'000;
  int64_t timeout_us = 120'000'000;
};

struct CrowdResult {
  int64_t stable_us = 0;  // from the first join until all held their share
  int32_t generation = 0;
  int64_t leave_us = 0;   // all of them
};

// All join at once, with memberships of the client library; the group counts as
// stable when every member is in one generation and every partition is given
// out. REQUEST_TIMED_OUT says how far it came.
absl::StatusOr<CrowdResult> RunCrowd(BenchClient* client,
                                     const CrowdOptions& options);

}  // namespace sluice::bench
