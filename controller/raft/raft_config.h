// What a RaftCore is told once. Times are in ticks; a tick is 20 ms.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "controller/raft/types.h"

namespace sluice::raft {

inline constexpr int kTickMs = 20;

struct RaftConfig {
  VoterId self;
  ClusterId cluster_id;
  // Of the bootstrap record. Without `self`: this node observes.
  std::vector<VoterId> voters;

  int heartbeat_ticks = 5;             // 100 ms
  int election_timeout_min_ticks = 20; // 400 ms; also the follower's lease
  int election_timeout_max_ticks = 40; // 800 ms; also the leader's quorum check
  // After the leader's stream broke: 60-140 ms.
  int broken_link_min_ticks = 3;
  int broken_link_max_ticks = 7;

  // One proposal. Atomic metadata batches end at 8 MiB.
  size_t entry_bytes_max = 8 << 20;
  // One append message carries at least one entry, then up to this.
  size_t append_bytes_max = 1 << 20;
  int append_entries_max = 1024;
  // Append messages in flight to one follower.
  int inflight_appends_max = 32;
  // Proposed and not committed; past either, Propose answers BUSY.
  size_t uncommitted_bytes_max = 32 << 20;
  int uncommitted_entries_max = 8192;
  // Committed entries in one Ready.
  size_t apply_bytes_max = 4 << 20;
  int pending_reads_max = 4096;
  // Non-voters that a leader feeds; more are not answered.
  int observers_max = 16;

  // INVALID_CONFIG with the field that is wrong.
  absl::Status Validate() const;
};

}  // namespace sluice::raft
