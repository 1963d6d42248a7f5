// Which broker coordinates which group.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "test/bench/bench_client.h"

namespace sluice::bench {

struct Coordinator {
  int32_t node_id = -1;
  api::Endpoint endpoint;
  int32_t partition = -1;  // of __consumer_offsets
};

// In the order of `groups`. Asks again while the topic is made and led, for a
// minute; then the error of the first group that nobody coordinates.
absl::StatusOr<std::vector<Coordinator>> FindCoordinators(
    BenchClient* client, const std::vector<std::string>& groups);

// `count` names after `prefix`.
std::vector<std::string> GroupNames(const std::string& prefix, int count);

}  // namespace sluice::bench
