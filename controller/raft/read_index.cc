#include "controller/raft/read_index.h"

#include "common/base/invariant.h"

namespace sluice::raft {

void PendingReads::Add(uint64_t id, LogIndex index, int64_t round) {
  INVARIANT(reads_.empty() || (reads_.back().round <= round &&
                               reads_.back().index <= index),
            "RA14 read ", id, " index ", index, " round ", round);
  reads_.push_back({id, index, round});
}

bool PendingReads::NeedsRound(int64_t round) const {
  return !reads_.empty() && reads_.back().round >= round;
}

std::vector<ReadState> PendingReads::Confirmed(int64_t round,
                                               LogIndex delivered) {
  std::vector<ReadState> result;
  while (!reads_.empty() && reads_.front().round <= round &&
         reads_.front().index <= delivered) {
    result.push_back({reads_.front().id, true, reads_.front().index});
    reads_.pop_front();
  }
  return result;
}

std::vector<ReadState> PendingReads::FailAll() {
  std::vector<ReadState> result;
  for (const Read& read : reads_) {
    result.push_back({read.id, false, read.index});
  }
  reads_.clear();
  return result;
}

}  // namespace sluice::raft
