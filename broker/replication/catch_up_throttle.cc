#include "broker/replication/catch_up_throttle.h"

#include <algorithm>

namespace sluice {

void CatchUpThrottle::Tick(int64_t now_us, int64_t written_bytes,
                           int64_t read_bytes) {
  const int64_t written = written_bytes - written_;
  const bool client = written > 0 || read_bytes > read_;
  const int64_t since_us = ticked_us_ < 0 ? 0 : now_us - ticked_us_;
  written_ = written_bytes;
  read_ = read_bytes;
  ticked_us_ = now_us;
  if (client) client_us_ = now_us;
  const bool was_busy = busy_;
  busy_ = client || (was_busy && now_us - client_us_ < kQuietUs);
  if (!busy_) return;
  if (!was_busy) budget_ = 0;  // what was sent while it was quiet is free
  // Of a pause no more than a second is made good.
  const double seconds = static_cast<double>(std::min(since_us, kQuietUs)) / 1e6;
  const int64_t quantum =
      std::max(static_cast<int64_t>(static_cast<double>(limit_) * seconds),
               written + written / 4);
  // Nothing is saved up beyond one tick; what a frame overdrew is paid back.
  budget_ = std::min(budget_ + quantum, quantum);
}

}  // namespace sluice
