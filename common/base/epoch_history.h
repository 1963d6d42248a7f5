// The leader epochs of one partition and where each began: Kafka's leader
// epoch cache (KIP-101, KIP-279). A value; no I/O.
#pragma once

#include <optional>
#include <vector>

#include "common/base/ids.h"

namespace sluice {

struct EpochStart {
  LeaderEpoch epoch;
  Offset start;  // the first offset that may carry this epoch

  auto operator<=>(const EpochStart&) const = default;
};

// Where an epoch ends in a log: [.., end).
struct EpochEnd {
  LeaderEpoch epoch = kNoLeaderEpoch;  // largest known epoch <= the one asked
  Offset end = kNoOffset;

  auto operator<=>(const EpochEnd&) const = default;
};

// Invariant (RP10): strictly rising in epoch, not falling in offset. An entry
// whose start equals its successor's belongs to a leader that appended
// nothing; it is kept, because a follower of that epoch asks for it (F4).
class EpochHistory {
 public:
  EpochHistory() = default;
  // Entries that break the invariant are refused: nullopt.
  static std::optional<EpochHistory> From(std::vector<EpochStart> starts);

  // Notes that `epoch` begins at `start`. An epoch already known or older
  // than the last one changes nothing and returns false.
  bool Assign(LeaderEpoch epoch, Offset start);
  // Forgets epochs that begin at or after `end`: what a cut to `end` leaves.
  void TruncateTo(Offset end);
  // Forgets epochs that end below `log_start`; the first that is left now
  // starts there. One that ended at it stays, as one that begins at it without
  // a batch does (F4): what a log knows does not depend on whether it was
  // trimmed before or after the next epoch began.
  void TrimTo(Offset log_start);
  void Clear() { starts_.clear(); }

  // The largest known epoch <= `epoch` and where it ends, given the log's end.
  // {-1, -1} when none is known (kafka-semantics 2.5, endOffsetFor).
  EpochEnd EndOf(LeaderEpoch epoch, Offset log_end) const;
  // The epoch that covers `offset`; -1 when none does.
  LeaderEpoch EpochAt(Offset offset) const;
  LeaderEpoch last_epoch() const;
  const std::vector<EpochStart>& starts() const { return starts_; }

  bool operator==(const EpochHistory&) const = default;

 private:
  std::vector<EpochStart> starts_;
};

}  // namespace sluice
