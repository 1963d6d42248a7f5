// What any presumed leader of a partition ever called committed. A zombie
// counts: its high watermark may have been read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "test/check/views.h"

namespace sluice::check {

class Ledger {
 public:
  // The true high watermark: where it ends. Never falls.
  Offset end() const { return end_; }
  // Of the batches that leaders of `epoch` or an older one committed first.
  Offset EndAsOf(LeaderEpoch epoch) const;

  // A leader of `epoch` with this log has moved its high watermark to `upto`:
  // takes what is new. nullopt: nothing contradicts what was committed before;
  // else what does.
  std::optional<std::string> Commit(LeaderEpoch epoch,
                                    const std::vector<StoredBatch>& log,
                                    Offset from, Offset upto);
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
};

// The first batch of `log` that ends at or behind `offset`.
std::vector<StoredBatch>::const_iterator FindBatch(
    const std::vector<StoredBatch>& log, Offset offset);

}  // namespace sluice::check
