// How long a group waits for a commit while coordinators come and go.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/group/group_admin.h"
#include "test/bench/bench_client.h"
#include "test/bench/coordinators.h"

namespace sluice::bench {

// One group of each partition of __consumer_offsets commits one offset after
// the other, as a standalone consumer of the client library does: through any
// broker, tried again until it is taken.
class CommitProbe {
 public:
  static constexpr int64_t kIntervalUs = 10'000;  // between two of a group
  static constexpr int64_t kCallTimeoutUs = 30'000'000;

  struct Group {
    std::string name;
    Coordinator coordinator;  // when it began
    int64_t acknowledged = 0;
    int64_t failed = 0;
    int64_t last_ack_us = 0;  // CLOCK_MONOTONIC
    // Between two acknowledgements.
    int64_t gap_from_us = 0;
    int64_t gap_to_us = 0;
  };

  // `topic` exists. INVALID_REQUEST when `names` leave a partition out.
  static absl::StatusOr<std::unique_ptr<CommitProbe>> Start(
      BenchClient* client, const std::string& topic, int offsets_partitions);
  // Commits under way are waited for.
  ~CommitProbe();

  // Whether every group has been acknowledged once.
  bool Running();
  std::vector<Group> Seen();

 private:
  CommitProbe(BenchClient* client, std::string topic,
              std::vector<Group> groups);
  void Commit(size_t group);
  void OnAnswer(size_t group,
                const absl::StatusOr<v1::CommitOffsetsResponse>& answer);

  BenchClient* const client_;
  const std::string topic_;
  // On the executor.
  std::unique_ptr<GroupAdmin> admin_;
  std::vector<Group> groups_;
  size_t active_ = 0;
  std::function<void(bool)> stopped_;
};

}  // namespace sluice::bench
