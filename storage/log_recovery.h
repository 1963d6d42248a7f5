// Opening a log: what is there, what of it can be trusted, what has to go.
// Part of Log (log.cc, log_read.cc, log_truncate.cc); used by Log::Open.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/epoch_history.h"
#include "storage/batch_header.h"
#include "storage/log.h"

namespace sluice {

// One run. Until it knows that the log is not corrupt it changes nothing on
// the disk but index files and segments below the log start.
class LogRecovery {
 public:
  LogRecovery(Log* log, const RecoveryMarks& marks)
      : log_(*log), marks_(marks) {}

  absl::Status Run();

 private:
  // Where the batches stop being good.
  struct BadPlace {
    enum class Kind {
      kBadBytes,    // no batch with a right CRC
      kWrongBatch,  // one that must not be here
      kGap,         // the segment begins beyond the end of the one before
    };
    Kind kind;
    std::string why;
    size_t segment = 0;
    int64_t position = 0;
  };

  // What files are there.
  absl::Status FindSegments();
  absl::Status DropSegmentsBelowStart();
  absl::Status OpenFiles();
  // Segments below the recovery point: their ends and their indexes.
  absl::Status CheckUnscanned(size_t first_scanned);
  absl::Status CheckSealed(Segment& segment, Offset end);
  absl::StatusOr<bool> CompleteIndex(Segment& segment, Offset end);
  void Seal(Segment& segment);
  // The rest: every batch.
  size_t FirstToScan() const;
  absl::Status ScanFrom(size_t first);
  absl::StatusOr<int64_t> ScanStart(Segment& segment);
  absl::Status ScanSegment(size_t index, int64_t position);
  absl::Status ReadProducers();
  std::optional<BadPlace> Fault(const BatchView& batch) const;
  void NoteEpoch(LeaderEpoch epoch, Offset base);
  // OK for a torn tail, which is then cut; anything else is corruption.
  Offset Durable() const;
  bool IsOfOldReset() const;
  absl::Status JudgeEnd();
  absl::Status JudgeBadPlace();
  absl::StatusOr<bool> ValidBatchFollows(size_t segments_end) const;
  absl::Status CutBadPlace();
  absl::Status Corrupt(std::string_view verdict) const;
  // The end.
  void SealAllButLast();
  void FinishEpochs();
  absl::Status DropSnapshots();
  absl::Status MakeDurable(size_t first_scanned);
  void Report();

  Log& log_;
  const RecoveryMarks& marks_;
  Offset next_;  // the end of what is good so far
  EpochHistory epochs_;
  std::vector<Offset> unusable_snapshots_;
  std::optional<BadPlace> bad_;
  bool existed_ = false;  // the directory
  bool changed_ = false;
  bool cut_unexplained_ = false;  // bytes that no lost write explains
};

}  // namespace sluice
