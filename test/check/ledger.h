// What any presumed leader of a partition ever called committed. A zombie
// counts: its high watermark may have been read.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "test/check/views.h"

namespace sluice::check {

class Ledger {
 public:
  // The true high watermark: where it ends. Falls with an unclean election only.
  Offset end() const { return end_; }
  // The furthest that it ever ended.
  Offset furthest() const { return furthest_; }
  // Of the batches that leaders of `epoch` or an older one committed first.
  Offset EndAsOf(LeaderEpoch epoch) const;

  // A leader of `epoch` with this log has moved its high watermark to `upto`:
  // takes what is new. nullopt: nothing contradicts what was committed before;
  // else what does.
  std::optional<std::string> Commit(LeaderEpoch epoch,
                                    const std::vector<StoredBatch>& log,
                                    Offset from, Offset upto);
  // A leader whose history has ended by an unclean election called all below
  // `upto` committed: it may have been told to clients.
  void NoteZombie(Offset upto) { furthest_ = std::max(furthest_, upto); }
  // An unclean election made [log_start, upto) of `log` the history: forgets
  // what it does not hold. The first offset that is forgotten; nullopt: none.
  std::optional<Offset> Adopt(const std::vector<StoredBatch>& log,
                              Offset log_start, Offset upto);
  // The committed batch that holds `offset`; null: none is.
  const StoredBatch* Find(Offset offset) const;
  // Whether `log`, which starts at `log_start`, holds what is committed in
  // [from, upto); nullopt: it does; else what it lacks.
  std::optional<std::string> Missing(const std::vector<StoredBatch>& log,
                                     Offset log_start, Offset from,
                                     Offset upto) const;

 private:
  struct Entry {
    StoredBatch batch;
    LeaderEpoch by;
  };

  std::vector<Entry> entries_;  // contiguous
  Offset end_{0};
  Offset furthest_{0};
};

// The first batch of `log` that ends at or behind `offset`.
std::vector<StoredBatch>::const_iterator FindBatch(
    const std::vector<StoredBatch>& log, Offset offset);

}  // namespace sluice::check
