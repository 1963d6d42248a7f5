// What a kill costs: acknowledgements to every partition, a node killed, the
// longest silence of the partitions it led.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/blocking_client.h"
#include "tools/dev_cluster.h"

namespace sluice::cli {

enum class FailoverVictim {
  kLeader,            // leads the most partitions; not the active controller
                      // unless there is no other
  kActiveController,
};

struct FailoverOptions {
  std::string topic;  // exists, with `partitions`
  int32_t partitions = 100;
  int rounds = 3;
  FailoverVictim victim = FailoverVictim::kLeader;
  int64_t interval_us = 20'000;  // between two records of one partition
  int64_t record_bytes = 100;
  int64_t timeout_us = 60'000'000;  // of each phase of a round
  std::string sluiced;
};

struct FailoverRound {
  std::string killed;
  bool was_active_controller = false;
  int led = 0;  // partitions the killed node led
  // Over those, or over all when it led none.
  int64_t longest_gap_us = 0;
  int64_t median_gap_us = 0;
  // Over the partitions that others led.
  int64_t longest_other_gap_us = 0;
  int64_t healthy_again_us = 0;  // from the restart on
};

struct FailoverResult {
  std::vector<FailoverRound> rounds;
  int64_t acknowledged = 0;
  int64_t failed = 0;

  int64_t MedianUs() const;  // of the rounds' longest gaps
  int64_t WorstUs() const;
};

// Runs all rounds; talks on stderr. REQUEST_TIMED_OUT names the phase that did
// not end.
absl::StatusOr<FailoverResult> RunFailoverBench(BlockingClient* client,
                                                const DevCluster& cluster,
                                                const FailoverOptions& options);

// The node to kill: from who leads what, and the active controller's id.
// INVALID_REQUEST when nobody leads anything, or no controller is active.
absl::StatusOr<int32_t> ChooseVictim(FailoverVictim victim,
                                     const std::vector<int32_t>& leaders,
                                     int32_t active_controller);

}  // namespace sluice::cli
