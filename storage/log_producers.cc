// The producers of a log: kept as it grows, saved beside the segments, known
// again after a start or a cut.
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "storage/batch_header.h"
#include "storage/log.h"
#include "storage/producer_snapshot.h"
#include "storage/segment_scanner.h"

namespace sluice {
namespace {

// Snapshots that belong to no segment's beginning: one may lie above the next
// cut.
constexpr size_t kLooseSnapshotsMax = 2;

std::string SnapshotPath(const std::string& directory, Offset offset) {
  return StrCat(directory, "/", SegmentFileName(offset, ".snapshot"));
}

absl::Status MissingBatch(const std::string& path, Offset expected) {
  return MakeError(ErrorCode::kCorruptMessage, path, ": the batch at offset ",
                   expected,
                   " is not there or its CRC does not match; quarantine this "
                   "replica");
}

}  // namespace

void Log::NoteProducers(std::string_view batches) {
  BatchCursor cursor(batches);
  for (;;) {
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value()) break;
    producers_.Apply((*batch)->header());
  }
  bytes_since_snapshot_ += static_cast<int64_t>(batches.size());
  if (bytes_since_snapshot_ < config_.producer_snapshot_bytes) return;
  // A cache: tried again as much later when there is no room for it.
  SaveProducers().IgnoreError();
}

// Not synced: one that a power cut tears, or keeps without the log below it,
// is ignored.
absl::Status Log::SaveProducers() {
  bytes_since_snapshot_ = 0;
  if (snapshots_.contains(leo_)) return absl::OkStatus();
  // Before the file: an unfinished one is removed as any other.
  snapshots_.insert(leo_);
  directory_sync_.unasked = true;
  ASSIGN_OR_RETURN(const auto file, deps_.fs->Open(SnapshotPath(path_, leo_),
                                                   OpenMode::kCreate));
  RETURN_IF_ERROR(file->Truncate(0));
  RETURN_IF_ERROR(file->Write(
      0, EncodeProducerSnapshot(producers_, leo_,
                                epochs_.EpochAt(leo_ - 1))));
  PruneSnapshots();
  return absl::OkStatus();
}

void Log::PruneSnapshots() {
  std::set<Offset> bases;
  for (const Segment& segment : segments_) bases.insert(segment.base);
  std::vector<Offset> loose;
  for (const Offset offset : snapshots_) {
    if (!bases.contains(offset)) loose.push_back(offset);
  }
  for (size_t i = 0; i + kLooseSnapshotsMax < loose.size(); ++i) {
    // What cannot be removed now is too old to be read first.
    RemoveSnapshot(loose[i]).IgnoreError();
  }
}

absl::Status Log::RemoveSnapshot(Offset offset) {
  const absl::Status removed =
      deps_.fs->RemoveFile(SnapshotPath(path_, offset));
  if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  snapshots_.erase(offset);
  directory_sync_.unasked = true;
  return absl::OkStatus();
}

absl::Status Log::RemoveSnapshotsAbove(Offset offset) {
  while (!snapshots_.empty() && *snapshots_.rbegin() > offset) {
    RETURN_IF_ERROR(RemoveSnapshot(*snapshots_.rbegin()));
  }
  return absl::OkStatus();
}

// Those of segments that are gone.
absl::Status Log::RemoveUselessSnapshots() {
  const Offset first = segments_.empty() ? log_start_ : segments_.front().base;
  while (!snapshots_.empty() && *snapshots_.begin() < first) {
    RETURN_IF_ERROR(RemoveSnapshot(*snapshots_.begin()));
  }
  return absl::OkStatus();
}

// The table as it was at `offset`, if the snapshot there is whole and of this
// log.
bool Log::RestoreProducers(Offset offset) {
  producers_.Clear();
  const auto bytes = ReadFile(*deps_.fs, SnapshotPath(path_, offset),
                              kProducerSnapshotBytesMax);
  if (!bytes.ok()) return false;
  const auto snapshot = DecodeProducerSnapshot(*bytes);
  if (!snapshot.ok() || snapshot->offset != offset) return false;
  // Equal epochs at an offset are equal logs below it (RP9).
  if (offset > log_start_ &&
      snapshot->last_epoch != epochs_.EpochAt(offset - 1)) {
    return false;
  }
  for (const auto& [last, id] : snapshot->producers.by_last_offset()) {
    producers_.Restore(id, *snapshot->producers.Find(id));
  }
  return true;
}

absl::Status Log::ScanProducers(Offset from) {
  if (segments_.empty() || from >= leo_) return absl::OkStatus();
  ASSIGN_OR_RETURN(Cut at, FindCut(from));
  Offset expected = at.leo;
  for (size_t i = at.segment; i < segments_.size(); ++i) {
    SegmentScanner scanner(segments_[i].file, at.position,
                           segments_[i].size_bytes);
    // Behind the end there may be a torn tail.
    while (expected < leo_) {
      ASSIGN_OR_RETURN(const auto batch, scanner.Next());
      if (!batch.has_value()) break;
      // A start has not looked at what lies below its recovery point.
      if (batch->header().base_offset != expected || !batch->CrcMatches()) {
        return MissingBatch(segments_[i].log_path, expected);
      }
      expected = batch->header().next_offset();
      producers_.Apply(batch->header());
      report_.producer_bytes_scanned += batch->header().size_bytes();
      bytes_since_snapshot_ += batch->header().size_bytes();
    }
    at.position = 0;
  }
  if (expected == leo_) return absl::OkStatus();
  return MissingBatch(segments_.back().log_path, expected);
}

// The newest snapshot that can be used, then the batches behind it. Changes no
// file: `unusable` are the snapshots that had to be passed over.
absl::Status Log::RebuildProducers(std::vector<Offset>& unusable) {
  bytes_since_snapshot_ = 0;
  const Offset first = segments_.empty() ? leo_ : segments_.front().base;
  for (auto it = snapshots_.upper_bound(leo_); it != snapshots_.begin();) {
    --it;
    if (*it < first) break;  // what came behind it is gone
    if (RestoreProducers(*it)) return ScanProducers(*it);
    ++report_.producer_snapshots_ignored;
    unusable.push_back(*it);
  }
  producers_.Clear();
  return ScanProducers(first);
}

absl::Status Log::RemoveSnapshots(const std::vector<Offset>& unusable) {
  for (const Offset offset : unusable) {
    RETURN_IF_ERROR(RemoveSnapshot(offset));
  }
  return absl::OkStatus();
}

// The log ends at leo_ now. No snapshot of what was cut is left when the next
// append comes: both are synced before.
absl::Status Log::CutProducers() {
  RETURN_IF_ERROR(RemoveSnapshotsAbove(leo_));
  if (producers_.last_offset() < leo_ || MUTANT(kProducersOutliveCut)) {
    return absl::OkStatus();
  }
  std::vector<Offset> unusable;
  RETURN_IF_ERROR(RebuildProducers(unusable));
  return RemoveSnapshots(unusable);
}

}  // namespace sluice
