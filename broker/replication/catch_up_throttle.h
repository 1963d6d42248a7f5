// How much a shard sends on catch-up streams: bulk copy gives way to clients.
#pragma once

#include <cstdint>

namespace sluice {

// Belongs to a shard. While clients write or read here, no more than a limit a
// second; but never less than a quarter more than what is written, or replicas
// that catch up would fall behind for ever. While no client did for kQuietUs
// there is no limit but the streams' credit.
class CatchUpThrottle {
 public:
  static constexpr int64_t kQuietUs = 1'000'000;

  void SetLimit(int64_t bytes_per_second) { limit_ = bytes_per_second; }

  // Every 100 ms or so: counters that only rise.
  void Tick(int64_t now_us, int64_t written_bytes, int64_t read_bytes);
  // One more frame may be sent.
  bool allows() const { return !busy_ || budget_ > 0; }
  void Spend(int64_t bytes) { budget_ -= bytes; }

 private:
  int64_t limit_ = INT64_MAX;
  bool busy_ = false;
  int64_t budget_ = 0;
  int64_t ticked_us_ = -1;
  int64_t client_us_ = 0;  // when clients last did something
  int64_t written_ = 0;
  int64_t read_ = 0;
};

}  // namespace sluice
