// A partition's log and its disk, as far as replication can tell: for tests.
// Appends are forgotten by a power cut until they are synced; a cut may or may
// not have happened when the power goes before it is done.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "broker/replica/replica_core.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"

namespace sluice::replica {

struct ModelRecord {
  LeaderEpoch epoch;
  int64_t id = 0;  // what it says; never used twice
  bool begins_batch = true;

  bool operator==(const ModelRecord&) const = default;
};

class ModelLog {
 public:
  Offset log_start() const { return log_start_; }
  Offset leo() const {
    return base_ + static_cast<int64_t>(records_.size());
  }
  Offset durable() const { return durable_; }
  const EpochHistory& epochs() const { return epochs_; }
  const ModelRecord& At(Offset offset) const {
    return records_.at(static_cast<size_t>(offset - base_));
  }
  // The newest epoch whose start is durable.
  LeaderEpoch marked_epoch() const { return marks_.epochs.last_epoch(); }
  // Its records are there, below the log start too until a ResetTo.
  Offset base() const { return base_; }
  bool BeginsBatchAt(Offset offset) const;
  // [from, ...): whole batches, at least one, of at most `count` records if it
  // can be.
  std::vector<ModelRecord> Read(Offset from, int64_t count) const;

  // As storage::Log. Appends at the LEO; the epochs that began are returned.
  std::vector<EpochStart> Append(const std::vector<ModelRecord>& records);
  void StartEpoch(LeaderEpoch epoch) { epochs_.Assign(epoch, leo()); }
  Offset TruncateTo(Offset target);
  void ResetTo(Offset start);
  void SetLogStart(Offset start);

  // The disk. SyncTo: what was appended up to `leo`. SaveMarks: epochs, log
  // start and this high watermark.
  void SyncTo(Offset leo);
  void SaveMarks(Offset high_watermark);
  // TruncateTo or ResetTo is durable, marks too.
  void FinishCut(Offset high_watermark);

  // A process dies and the page cache lives (kept < 0), or the power goes and
  // `kept` unsynced batches happened to be written. A cut under way is done or
  // not. Then recovery (Rule T0, T1).
  void Crash(int64_t kept, bool cut_done);
  Recovered Recover();
  // An empty disk.
  void Wipe() { *this = ModelLog(); }

 private:
  struct Marks {
    Offset high_watermark;
    Offset log_start;
    EpochHistory epochs;
  };
  struct Uncut {
    Offset base;
    std::vector<ModelRecord> records;
    Offset durable;
  };

  Offset base_;
  std::vector<ModelRecord> records_;
  Offset log_start_;
  Offset durable_;
  EpochHistory epochs_;
  Marks marks_;
  std::optional<Uncut> uncut_;  // while a cut is under way
};

}  // namespace sluice::replica
