// Linearizable reads that wait for a quorum to confirm the leader (RA14).
#pragma once

#include <deque>
#include <vector>

#include "controller/raft/types.h"

namespace sluice::raft {

// A read waits (1) for a heartbeat round that began after the read came, then
// (2) until its index has been handed out as committed. The index is at least
// that of the leader's first entry, so nothing is answered before an entry of
// the own term is committed. Many reads share a round.
class PendingReads {
 public:
  size_t size() const { return reads_.size(); }
  bool empty() const { return reads_.empty(); }

  // `round` is the one that has to be confirmed.
  void Add(uint64_t id, LogIndex index, int64_t round);
  // A read waits for this round or a later one.
  bool NeedsRound(int64_t round) const;
  // Reads of rounds <= `round` with index <= `delivered` leave, in order.
  std::vector<ReadState> Confirmed(int64_t round, LogIndex delivered);
  // Leadership is lost: all leave, not ok.
  std::vector<ReadState> FailAll();

 private:
  struct Read {
    uint64_t id;
    LogIndex index;
    int64_t round;
  };
  std::deque<Read> reads_;  // round and index not falling
};

}  // namespace sluice::raft
