// A follower or observer as its leader sees it.
#pragma once

#include <deque>

#include "controller/raft/types.h"

namespace sluice::raft {

// Probe: where the logs meet is not known; one append at a time, the next on
// an answer or a heartbeat's. Replicate: appends are sent ahead of answers, up
// to the window.
// Invariant: match < next; match never falls (RA8).
class Progress {
 public:
  enum class State { kProbe, kReplicate };

  Progress() = default;
  Progress(VoterId id, bool is_voter, LogIndex next, int64_t now_ticks)
      : id(id), is_voter(is_voter), next(next), heard_at(now_ticks) {}

  // May another append be sent?
  bool MaySend(int inflight_max) const;
  void SentAppend(LogIndex last);
  // `index` is durable there. False: known already.
  bool Acked(LogIndex index);
  // An append after `index` was refused; `retry` is where to try next. False:
  // the refusal is stale.
  bool Rejected(LogIndex index, LogIndex retry);
  // What was in flight may be lost.
  void ToProbe();
  // A heartbeat was answered: let one more go, in case answers were lost.
  void Unblock();

  VoterId id;
  bool is_voter = false;
  State state = State::kProbe;
  LogIndex match{0};
  LogIndex next{1};
  LogIndex commit_sent{0};
  bool probe_sent = false;
  std::deque<LogIndex> inflight;  // last index of each append under way
  int64_t heard_at = 0;           // ticks
  bool ever_heard = false;        // in this leadership
  int64_t acked_round = 0;        // of heartbeats
};

}  // namespace sluice::raft
