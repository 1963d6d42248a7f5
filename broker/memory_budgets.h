// How much memory a broker gives to each kind of work.
#pragma once

#include <cstdint>

namespace sluice {

// Bounds over all clients, or followers; a client's work beyond one is refused
// with BUSY, a follower's stream gets a smaller window. The caches of logs'
// tails are apart (Broker::Deps::tail_cache_bytes_per_shard).
struct MemoryBudgets {
  // Room for a few of the largest requests, or answers.
  static constexpr int64_t kProduceBytesMin = 32 << 20;
  static constexpr int64_t kFetchBytesMin = 32 << 20;
  static constexpr int64_t kSubscribeBytesMin = 8 << 20;
  // Both streams of one follower.
  static constexpr int64_t kReplicationBytesMin = 12 << 20;

  int64_t produce_bytes = 256 << 20;    // requests that are not answered
  int64_t fetch_bytes = 256 << 20;      // answers that are not on the wire
  int64_t subscribe_bytes = 128 << 20;  // pushes that are not on the wire
  // Batches shipped to followers that have not acknowledged them: the windows
  // of all their streams.
  int64_t replication_bytes = 256 << 20;
};

}  // namespace sluice
