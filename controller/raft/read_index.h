// Linearizable reads that wait for a quorum to confirm the leader (RA14).
#pragma once

#include <deque>
#include <vector>

#include "controller/raft/types.h"

namespace sluice::raft {

// A read waits (1) for an entry of the leader's own term to be committed, then
// (2) for a heartbeat round that began after the read came, then (3) until its
// index has been handed out as committed. Many reads share a round.
class PendingReads {
 public:
  size_t size() const { return reads_.size(); }
  bool empty() const { return reads_.empty(); }

  // `round` is the one that has to be confirmed.
  void Add(uint64_t id, LogIndex index, int64_t round);
  // The own-term entry is committed at `commit`: reads that came earlier have
  // to see at least that.
  void RaiseTo(LogIndex commit);
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
