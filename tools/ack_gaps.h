// How long acknowledgements stayed away after something happened.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::cli {

// Fed with the time of each acknowledgement of each partition. A gap is the
// time between two acknowledgements of one partition in a row; it counts when
// it ends after the mark, so the gap that the mark lies in counts whole.
// Not thread-safe.
class AckGaps {
 public:
  explicit AckGaps(int partitions) : partitions_(partitions) {}

  // Times do not go back.
  void Acknowledged(int partition, int64_t at_us);
  // From here on: forgets the gaps before.
  void Mark(int64_t at_us);

  // The longest since the mark, the one still open at `now_us` included; 0 for
  // a partition that never had an acknowledgement.
  int64_t LongestUs(int partition, int64_t now_us) const;
  // The longest closed one.
  int64_t LongestClosedUs(int partition) const {
    return partitions_[partition].longest_us;
  }
  // Of the last acknowledgement; -1: never one.
  int64_t LastUs(int partition) const { return partitions_[partition].last_us; }

 private:
  struct Partition {
    int64_t last_us = -1;  // -1: never
    int64_t longest_us = 0;
  };

  std::vector<Partition> partitions_;
  int64_t mark_us_ = 0;
};

}  // namespace sluice::cli
