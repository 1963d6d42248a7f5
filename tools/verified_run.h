// The main job of a cluster, watched: a text goes in line by line, a leader is
// killed half way, everything is read back and judged (run_verifier.h).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "client/blocking_client.h"
#include "tools/dev_cluster.h"
#include "tools/run_verifier.h"

namespace sluice::cli {

struct VerifiedRunOptions {
  std::string file;
  std::string topic;  // new: nothing in it
  int64_t timeout_us = 30'000'000;  // of one call
};

struct VerifiedRunResult {
  RunReport report;
  std::string killed;  // the node's name
  int64_t in_flight_at_kill = 0;
  // The longest time a partition went without an acknowledgement from the
  // kill on, the gap that the kill lies in included.
  int64_t ack_gap_us = 0;
  int64_t batches_retried = 0;
  int64_t batches_deduplicated = 0;  // of those: stored by an earlier attempt
  int64_t bytes = 0;  // keys and values
  int64_t produce_us = 0;
  int64_t consume_us = 0;
};

// One idempotent producer. When half of the lines are acknowledged and requests
// are in flight, the leader of partition 0 gets SIGKILL; it stays down. Talks
// on stderr. Errors: a file without two lines, a node that cannot be killed, a
// log that cannot be read to its end. A line that was not acknowledged within
// the delivery timeout is none: the report shows it.
absl::StatusOr<VerifiedRunResult> RunVerified(BlockingClient* client,
                                              const DevCluster& cluster,
                                              const VerifiedRunOptions& options);

}  // namespace sluice::cli
