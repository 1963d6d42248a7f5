// Commits of offsets in many groups, at a rate or as many as go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "test/bench/bench_client.h"
#include "test/bench/coordinators.h"
#include "tools/latency_histogram.h"

namespace sluice::bench {

struct CommitLoadOptions {
  std::string topic;
  int32_t partitions = 100;  // of the topic
  std::string group_prefix = "g";
  int groups = 10'000;
  int offsets_per_call = 100;
  int64_t calls = 10'000;
  int64_t calls_per_s = 0;  // 0: as many as go
  int in_flight_max = 256;
};

struct CommitLoadResult {
  int64_t calls = 0;      // acknowledged whole
  int64_t failed = 0;     // calls
  int64_t took_us = 0;    // from the first call to the last answer
  absl::Status first_error;
  // From when a call was due (as many as go: from when it was sent).
  cli::LatencyHistogram latencies;
};

// Call i commits for group i mod `groups`, as a standalone consumer, at the
// group's coordinator: no other broker hands it on. Consecutive calls of a
// group go over the topic's partitions. No call is tried again.
absl::StatusOr<std::unique_ptr<CommitLoadResult>> RunCommitLoad(
    BenchClient* client, const CommitLoadOptions& options);

}  // namespace sluice::bench
