#include <algorithm>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "storage/batch_header.h"
#include "storage/log.h"
#include "storage/segment_scanner.h"

namespace sluice {

absl::StatusOr<Log::Cut> Log::FindCut(Offset target) {
  Cut cut{SegmentIndexOf(target), 0, target};
  Segment& segment = segments_[cut.segment];
  cut.leo = segment.base;
  // The index only says where to begin; a wrong entry shows at once.
  std::optional<IndexEntry> entry;
  if (segment.growing != nullptr) {
    entry = segment.growing->Floor(target - 1);
  } else {
    ASSIGN_OR_RETURN(const auto floor,
                     segment.sealed->Floor(target - 1, /*no_wait=*/false));
    entry = floor.value_or(std::nullopt);
  }
  if (entry.has_value() && entry->position < segment.size_bytes) {
    SegmentScanner probe(segment.file, entry->position, segment.size_bytes);
    const auto batch = probe.Next();
    if (batch.ok() && batch->has_value() &&
        (*batch)->header().last_offset() == entry->offset &&
        (*batch)->header().base_offset <= target) {
      cut.position = entry->position;
      cut.leo = (*batch)->header().base_offset;
    }
  }
  SegmentScanner scanner(segment.file, cut.position, segment.size_bytes);
  for (;;) {
    cut.position = scanner.position();
    ASSIGN_OR_RETURN(const auto batch, scanner.Next());
    if (!batch.has_value() || batch->header().next_offset() > target) break;
    cut.leo = batch->header().next_offset();
  }
  return cut;
}

absl::Status Log::RemoveFiles(const Segment& segment) {
  // The index first: alone it means nothing.
  const absl::Status index = deps_.fs->RemoveFile(segment.index_path);
  if (!index.ok() && !absl::IsNotFound(index)) return index;
  return deps_.fs->RemoveFile(segment.log_path);
}

absl::Status Log::RemoveLastSegment() {
  RETURN_IF_ERROR(RemoveFiles(segments_.back()));
  segments_.pop_back();
  // Before anything earlier goes: a crash must leave no hole.
  return deps_.fs->SyncDirectory(path_);
}

absl::Status Log::ReopenForGrowth(Segment& segment, int64_t size_bytes) {
  if (segment.growing == nullptr) {
    segment.growing = std::make_unique<GrowingIndex>(
        segment.index_path, segment.base, config_.index_interval_bytes);
    absl::Status loaded = segment.growing->Load(*deps_.fs, size_bytes);
    // The last descriptor is taken. The log's own file is open, and the index
    // is only what it says: a cut does not fail for it.
    if (CodeOf(loaded) == ErrorCode::kStorageFull &&
        !MUTANT(kCutNeedsDescriptors)) {
      loaded = IndexByScanning(segment.file, segment.size_bytes,
                               *segment.growing);
      ++report_.indexes_rebuilt;
    }
    RETURN_IF_ERROR(loaded);
    segment.sealed.reset();
  }
  segment.growing->TruncateTo(size_bytes);
  return absl::OkStatus();
}

absl::Status Log::Apply(const Cut& cut) {
  while (segments_.size() > cut.segment + 1) {
    RETURN_IF_ERROR(RemoveLastSegment());
  }
  Segment& last = segments_.back();
  RETURN_IF_ERROR(ReopenForGrowth(last, cut.position));
  RETURN_IF_ERROR(last.file->Truncate(cut.position));
  last.size_bytes = cut.position;
  last.sync.unasked = true;
  return absl::OkStatus();
}

absl::StatusOr<Offset> Log::TruncateTo(Offset target) {
  RETURN_IF_ERROR(CheckUsable());
  if (target < log_start_) {
    return MakeError(ErrorCode::kOffsetOutOfRange, path_, ": cannot cut to ",
                     target, ", the log starts at ", log_start_);
  }
  if (target >= leo_) {
    epochs_.TruncateTo(target);
    return leo_;
  }
  ++generation_;
  const auto cut = FindCut(target);
  if (!cut.ok()) {
    failed_ = true;
    return cut.status();
  }
  if (cut->leo < log_start_) {
    // The log start lies inside the batch that has to go.
    RETURN_IF_ERROR(DropEverything(log_start_));
    return leo_;
  }
  if (const absl::Status applied = Apply(*cut); !applied.ok()) {
    failed_ = true;
    return applied;
  }
  leo_ = cut->leo;
  durable_leo_ = std::min(durable_leo_, leo_);
  cache_->EvictFrom(leo_);
  epochs_.TruncateTo(leo_);
  cut_unsynced_ = true;
  if (const absl::Status known = CutProducers(); !known.ok()) {
    failed_ = true;
    return known;
  }
  return leo_;
}

absl::StatusOr<bool> Log::BeginsBatchAt(Offset offset) {
  RETURN_IF_ERROR(CheckUsable());
  if (offset < log_start_ || offset >= leo_) return offset == leo_;
  ASSIGN_OR_RETURN(const Cut cut, FindCut(offset));
  return cut.leo == offset;
}

absl::Status Log::DropEverything(Offset start) {
  ++generation_;
  cache_->Clear();
  producers_.Clear();
  bytes_since_snapshot_ = 0;
  // First: no snapshot may stay beside another log.
  absl::Status removed = RemoveSnapshotsAbove(kNoOffset);
  if (removed.ok() && directory_sync_.any() && segments_.empty()) {
    removed = deps_.fs->SyncDirectory(path_);
  }
  while (removed.ok() && !segments_.empty()) removed = RemoveLastSegment();
  if (!removed.ok()) {
    failed_ = true;
    return removed;
  }
  directory_sync_ = {};
  cut_unsynced_ = false;
  epochs_.Clear();
  log_start_ = start;
  leo_ = start;
  durable_leo_ = start;
  return absl::OkStatus();
}

absl::Status Log::ResetTo(Offset start) {
  RETURN_IF_ERROR(CheckUsable());
  return DropEverything(start);
}

absl::Status Log::SetLogStart(Offset start) {
  RETURN_IF_ERROR(CheckUsable());
  if (start > leo_) {
    return MakeError(ErrorCode::kOffsetOutOfRange, path_,
                     ": log start cannot be ", start, ", the log ends at ",
                     leo_);
  }
  if (start <= log_start_) return absl::OkStatus();
  log_start_ = start;
  epochs_.TrimTo(start);
  return absl::OkStatus();
}

absl::Status Log::DropBelowLogStart() {
  RETURN_IF_ERROR(CheckUsable());
  while (segments_.size() > 1 && segments_[1].base <= log_start_) {
    RETURN_IF_ERROR(RemoveFiles(segments_.front()));
    segments_.erase(segments_.begin());
    directory_sync_.unasked = true;
  }
  return RemoveUselessSnapshots();
}

absl::Status Log::Delete() {
  ++generation_;
  failed_ = true;
  cache_->Clear();
  segments_.clear();
  for (int64_t n = 0;; ++n) {
    const std::string grave = StrCat(path_, ".deleted-", n);
    ASSIGN_OR_RETURN(const bool taken, deps_.fs->Exists(grave));
    if (taken) continue;
    RETURN_IF_ERROR(deps_.fs->Rename(path_, grave));
    return RemoveTree(*deps_.fs, grave);
  }
}

}  // namespace sluice
