#include "tools/ack_gaps.h"

#include <algorithm>

namespace sluice::cli {

void AckGaps::Acknowledged(int partition, int64_t at_us) {
  Partition& p = partitions_[partition];
  if (at_us >= mark_us_ && p.last_us >= 0) {
    p.longest_us = std::max(p.longest_us, at_us - p.last_us);
  }
  p.last_us = at_us;
}

void AckGaps::Mark(int64_t at_us) {
  mark_us_ = at_us;
  for (Partition& p : partitions_) p.longest_us = 0;
}

int64_t AckGaps::LongestUs(int partition, int64_t now_us) const {
  const Partition& p = partitions_[partition];
  if (p.last_us < 0) return 0;
  return std::max(p.longest_us, now_us - p.last_us);
}

}  // namespace sluice::cli
