#include "storage/log_recovery.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "storage/segment_scanner.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<Log>> Log::Open(Deps deps,
                                               const std::string& path,
                                               const LogConfig& config,
                                               const RecoveryMarks& marks) {
  std::unique_ptr<Log> log(new Log(std::move(deps), path, config));
  RETURN_IF_ERROR(LogRecovery(log.get(), marks).Run());
  return log;
}

absl::Status LogRecovery::Run() {
  ASSIGN_OR_RETURN(existed_, log_.deps_.fs->Exists(log_.path_));
  RETURN_IF_ERROR(log_.deps_.fs->CreateDirectory(log_.path_));
  log_.parent_sync_.unasked = true;
  log_.log_start_ = marks_.log_start;
  next_ = marks_.log_start;
  RETURN_IF_ERROR(FindSegments());
  RETURN_IF_ERROR(DropSegmentsBelowStart());
  RETURN_IF_ERROR(OpenFiles());
  const size_t first = FirstToScan();
  RETURN_IF_ERROR(CheckUnscanned(first));
  RETURN_IF_ERROR(ScanFrom(first));
  RETURN_IF_ERROR(ReadProducers());
  if (bad_.has_value()) {
    RETURN_IF_ERROR(JudgeBadPlace());
    RETURN_IF_ERROR(CutBadPlace());
  } else {
    RETURN_IF_ERROR(JudgeEnd());
  }
  SealAllButLast();
  if (next_ < log_.log_start_) {
    // A reset that a crash interrupted, or a log that lost its end: nothing
    // of it lies above the log start.
    RETURN_IF_ERROR(log_.DropEverything(log_.log_start_));
    epochs_.Clear();
    next_ = log_.log_start_;
    changed_ = true;
  }
  log_.leo_ = next_;
  FinishEpochs();
  RETURN_IF_ERROR(DropSnapshots());
  RETURN_IF_ERROR(MakeDurable(first));
  Report();
  return absl::OkStatus();
}

absl::Status LogRecovery::FindSegments() {
  ASSIGN_OR_RETURN(const auto entries, log_.deps_.fs->List(log_.path_));
  for (const DirectoryEntry& entry : entries) {
    const auto base = ParseSegmentFileName(entry.name, ".log");
    if (entry.is_directory) continue;
    if (const auto at = ParseSegmentFileName(entry.name, ".snapshot")) {
      log_.snapshots_.insert(*at);
    }
    if (!base.has_value()) continue;
    log_.segments_.push_back(log_.NewSegment(*base));  // names sort by base
  }
  return absl::OkStatus();
}

absl::Status LogRecovery::DropSegmentsBelowStart() {
  auto& segments = log_.segments_;
  while (segments.size() > 1 && segments[1].base <= log_.log_start_) {
    RETURN_IF_ERROR(log_.RemoveFiles(segments.front()));
    segments.erase(segments.begin());
    changed_ = true;
  }
  if (!segments.empty() && segments.front().base > log_.log_start_) {
    return MakeError(ErrorCode::kCorruptMessage, log_.path_,
                     ": the log starts at ", log_.log_start_,
                     " but its first segment begins at ",
                     segments.front().base,
                     "; a file is missing, quarantine this replica");
  }
  return absl::OkStatus();
}

absl::Status LogRecovery::OpenFiles() {
  for (Segment& segment : log_.segments_) {
    ASSIGN_OR_RETURN(segment.file, log_.deps_.fs->Open(segment.log_path,
                                                       OpenMode::kReadWrite));
    ASSIGN_OR_RETURN(segment.size_bytes, segment.file->Size());
    segment.growing = std::make_unique<GrowingIndex>(
        segment.index_path, segment.base, log_.config_.index_interval_bytes);
  }
  return absl::OkStatus();
}

size_t LogRecovery::FirstToScan() const {
  if (log_.segments_.empty()) return 0;
  const Offset first_base = log_.segments_.front().base;
  // Without epochs for the older part it has to be read to know them.
  const bool epochs_known =
      marks_.epochs.EpochAt(std::max(first_base, log_.log_start_)) !=
      kNoLeaderEpoch;
  if (!epochs_known || marks_.recovery_point <= first_base) return 0;
  return log_.SegmentIndexOf(marks_.recovery_point);
}

// One at a time: an index in memory takes megabytes.
absl::Status LogRecovery::CheckUnscanned(size_t first_scanned) {
  for (size_t i = 0; i < first_scanned; ++i) {
    RETURN_IF_ERROR(
        CheckSealed(log_.segments_[i], log_.segments_[i + 1].base));
    Seal(log_.segments_[i]);
  }
  return absl::OkStatus();
}

absl::Status LogRecovery::CheckSealed(Segment& segment, Offset end) {
  RETURN_IF_ERROR(
      segment.growing->Load(*log_.deps_.fs, segment.size_bytes));
  ASSIGN_OR_RETURN(bool holds, CompleteIndex(segment, end));
  if (holds) return absl::OkStatus();
  // The index may be what is wrong: once more from the beginning, without.
  ++log_.report_.indexes_rebuilt;
  segment.growing->TruncateTo(0);
  ASSIGN_OR_RETURN(holds, CompleteIndex(segment, end));
  if (holds) return absl::OkStatus();
  return MakeError(ErrorCode::kCorruptMessage, segment.log_path,
                   " does not end at offset ", end,
                   ", where the next segment begins; quarantine this replica");
}

// Walks from the last index entry to the end of the file and notes what the
// index lacks. False when index and file, or file and `end`, disagree.
absl::StatusOr<bool> LogRecovery::CompleteIndex(Segment& segment, Offset end) {
  std::optional<IndexEntry> last;
  if (!segment.growing->entries().empty()) {
    last = segment.growing->entries().back();
  }
  Offset expected = segment.base;
  SegmentScanner scanner(segment.file, last.has_value() ? last->position : 0,
                         segment.size_bytes);
  for (bool first = true;; first = false) {
    const int64_t position = scanner.position();
    const auto batch = scanner.Next();
    if (!batch.ok()) {
      if (CodeOf(batch.status()) == ErrorCode::kCorruptMessage) return false;
      return batch.status();
    }
    if (!batch->has_value()) break;
    const BatchHeader& header = (*batch)->header();
    const bool right = first && last.has_value()
                           ? header.last_offset() == last->offset
                           : header.base_offset == expected;
    if (!right) return false;
    expected = header.next_offset();
    segment.growing->NoteBatch(header.last_offset(), position,
                               header.size_bytes());
  }
  return expected == end;
}

void LogRecovery::SealAllButLast() {
  for (size_t i = 0; i + 1 < log_.segments_.size(); ++i) {
    Seal(log_.segments_[i]);
  }
}

void LogRecovery::Seal(Segment& segment) {
  if (segment.growing == nullptr) return;
  // Without room for the file the index stays in memory.
  if (auto sealed = segment.growing->Seal(*log_.deps_.fs); sealed.ok()) {
    segment.sealed = *std::move(sealed);
    segment.growing.reset();
  }
}

absl::Status LogRecovery::ScanFrom(size_t first) {
  if (log_.segments_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(int64_t position, ScanStart(log_.segments_[first]));
  for (const EpochStart& known : marks_.epochs.starts()) {
    if (known.start < next_) epochs_.Assign(known.epoch, known.start);
  }
  for (size_t i = first; i < log_.segments_.size(); ++i) {
    Segment& segment = log_.segments_[i];
    if (i > first) {
      segment.growing->TruncateTo(0);
      if (segment.base != next_) {
        bad_ = BadPlace{segment.base > next_ ? BadPlace::Kind::kGap
                                             : BadPlace::Kind::kWrongBatch,
                        StrCat("the segment begins at ", segment.base), i, 0};
        return absl::OkStatus();
      }
    }
    RETURN_IF_ERROR(ScanSegment(i, position));
    if (bad_.has_value()) return absl::OkStatus();
    position = 0;
  }
  return absl::OkStatus();
}

// The batch at or before the recovery point where the scan of its segment
// begins: by the index when it is right, else the first.
absl::StatusOr<int64_t> LogRecovery::ScanStart(Segment& segment) {
  next_ = segment.base;
  segment.growing->TruncateTo(0);
  if (marks_.recovery_point <= segment.base) return 0;
  const bool epochs_known =
      marks_.epochs.EpochAt(std::max(segment.base, log_.log_start_)) !=
      kNoLeaderEpoch;
  if (!epochs_known) return 0;
  RETURN_IF_ERROR(
      segment.growing->Load(*log_.deps_.fs, segment.size_bytes));
  const auto entry = segment.growing->Floor(marks_.recovery_point - 1);
  if (entry.has_value()) {
    SegmentScanner probe(segment.file, entry->position, segment.size_bytes);
    const auto batch = probe.Next();
    if (batch.ok() && batch->has_value() &&
        (*batch)->header().last_offset() == entry->offset &&
        (*batch)->header().base_offset >= segment.base) {
      // The entry stays; what is behind it is noted again by the scan.
      segment.growing->TruncateTo(entry->position + 1);
      next_ = (*batch)->header().base_offset;
      return entry->position;
    }
    ++log_.report_.indexes_rebuilt;
  }
  segment.growing->TruncateTo(0);
  return 0;
}

absl::Status LogRecovery::ScanSegment(size_t index, int64_t position) {
  Segment& segment = log_.segments_[index];
  SegmentScanner scanner(segment.file, position, segment.size_bytes);
  for (;;) {
    position = scanner.position();
    const auto batch = scanner.Next();
    if (!batch.ok()) {
      if (CodeOf(batch.status()) != ErrorCode::kCorruptMessage) {
        return batch.status();
      }
      bad_ = BadPlace{BadPlace::Kind::kBadBytes,
                      std::string(batch.status().message()), index, position};
      return absl::OkStatus();
    }
    if (!batch->has_value()) return absl::OkStatus();
    const BatchHeader& header = (*batch)->header();
    bad_ = Fault(**batch);
    if (bad_.has_value()) {
      bad_->segment = index;
      bad_->position = position;
      return absl::OkStatus();
    }
    NoteEpoch(header.leader_epoch, header.base_offset);
    segment.growing->NoteBatch(header.last_offset(), position,
                               header.size_bytes());
    log_.report_.bytes_scanned += header.size_bytes();
    next_ = header.next_offset();
  }
}

// Before anything is cut: it may find damage below the recovery point.
absl::Status LogRecovery::ReadProducers() {
  if (next_ < log_.log_start_) return absl::OkStatus();  // all of it goes
  if (MUTANT(kProducersNotRecovered)) return absl::OkStatus();
  log_.leo_ = next_;
  log_.epochs_ = epochs_;
  return log_.RebuildProducers(unusable_snapshots_);
}

std::optional<LogRecovery::BadPlace> LogRecovery::Fault(
    const BatchView& batch) const {
  using Kind = BadPlace::Kind;
  const BatchHeader& header = batch.header();
  if (!batch.CrcMatches() && !MUTANT(kRecoveryTrustsBytes)) {
    return BadPlace{Kind::kBadBytes, "the CRC of a batch does not match"};
  }
  if (header.base_offset != next_) {
    return BadPlace{Kind::kWrongBatch,
                    StrCat("a batch begins at ", header.base_offset)};
  }
  // No CRC covers the epoch. Below the recovery point the marks know it.
  const LeaderEpoch known = header.base_offset < marks_.recovery_point
                                ? marks_.epochs.EpochAt(header.base_offset)
                                : kNoLeaderEpoch;
  if (header.leader_epoch < std::max(epochs_.last_epoch(), LeaderEpoch(0)) ||
      (known != kNoLeaderEpoch && known != header.leader_epoch)) {
    return BadPlace{Kind::kWrongBatch,
                    StrCat("a batch has leader epoch ", header.leader_epoch,
                           ", after epoch ", epochs_.last_epoch(),
                           ", and the marks know ", known)};
  }
  return std::nullopt;
}

// Epochs that begin where this batch does: those that the marks know (they
// may have no batch), then the batch's own.
void LogRecovery::NoteEpoch(LeaderEpoch epoch, Offset base) {
  if (epoch == epochs_.last_epoch()) return;
  for (const EpochStart& known : marks_.epochs.starts()) {
    if (known.start == base && known.epoch <= epoch) {
      epochs_.Assign(known.epoch, base);
    }
  }
  epochs_.Assign(epoch, base);
}

absl::Status LogRecovery::Corrupt(std::string_view verdict) const {
  return MakeError(ErrorCode::kCorruptMessage,
                   log_.segments_[bad_->segment].log_path, " at byte ",
                   bad_->position, ", offset ", next_, ": ", bad_->why, "; ",
                   verdict, "; nothing was cut, quarantine this replica");
}

// Where the marks say that the disk had the log up to. A crash takes nothing
// of that; what does is damage (ST2).
Offset LogRecovery::Durable() const {
  return std::max(marks_.durable_mark, marks_.recovery_point);
}

// A reset that a crash interrupted: nothing that counts is in these files.
bool LogRecovery::IsOfOldReset() const {
  return next_ < log_.log_start_ && Durable() <= log_.log_start_;
}

// Files that are well and too few: somebody removed them.
absl::Status LogRecovery::JudgeEnd() {
  if (IsOfOldReset() || next_ >= Durable() || MUTANT(kMissingFilesUnnoticed)) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kCorruptMessage, log_.path_, " ends at offset ",
                   next_, ", all below ", Durable(),
                   " was durable: files are missing; nothing was cut, "
                   "quarantine this replica");
}

absl::Status LogRecovery::JudgeBadPlace() {
  if (IsOfOldReset()) return absl::OkStatus();
  if (next_ < Durable() && !MUTANT(kDamageCut)) {
    return Corrupt(StrCat("all below ", Durable(), " was durable"));
  }
  // The end of the segment before never reached the disk.
  if (bad_->kind == BadPlace::Kind::kGap) return absl::OkStatus();
  const Segment& segment = log_.segments_[bad_->segment];
  ASSIGN_OR_RETURN(const BadBytes bytes,
                   LookAtBadBytes(*segment.file, bad_->position,
                                  segment.size_bytes, next_));
  // What follows such a hole was not synced either, or the hole would be none.
  if (bytes == BadBytes::kNeverWritten) return absl::OkStatus();
  if (bad_->kind == BadPlace::Kind::kWrongBatch) {
    return Corrupt("it is whole");
  }
  // The file ends inside a batch unless it goes on with a good one.
  const bool past_end = bytes == BadBytes::kRunPastEnd;
  ASSIGN_OR_RETURN(const bool follows,
                   ValidBatchFollows(past_end ? bad_->segment + 1
                                              : log_.segments_.size()));
  if (follows) return Corrupt("a valid batch follows");
  cut_unexplained_ = !past_end;
  return absl::OkStatus();
}

absl::StatusOr<bool> LogRecovery::ValidBatchFollows(
    size_t segments_end) const {
  for (size_t i = bad_->segment; i < segments_end; ++i) {
    const Segment& segment = log_.segments_[i];
    const int64_t from = i == bad_->segment ? bad_->position + 1 : 0;
    ASSIGN_OR_RETURN(const bool valid,
                     HasValidBatchAfter(*segment.file, from,
                                        segment.size_bytes, next_ - 1));
    if (valid) return true;
  }
  return false;
}

absl::Status LogRecovery::CutBadPlace() {
  RecoveryReport& report = log_.report_;
  Log::Cut cut{bad_->segment, bad_->position, next_};
  for (size_t i = cut.segment; i < log_.segments_.size(); ++i) {
    report.bytes_cut += log_.segments_[i].size_bytes;
  }
  report.bytes_cut -= bad_->position;
  report.cut_from = next_;
  if (cut.position == 0 && cut.segment > 0) {
    --cut.segment;
    cut.position = log_.segments_[cut.segment].size_bytes;
  }
  changed_ = true;
  return log_.Apply(cut);
}

void LogRecovery::FinishEpochs() {
  // Epochs that began at the end and have no batch yet (RP10).
  for (const EpochStart& known : marks_.epochs.starts()) {
    if (known.start == next_ && !MUTANT(kEmptyEpochNotRecovered)) {
      epochs_.Assign(known.epoch, known.start);
    }
  }
  epochs_.TrimTo(log_.log_start_);
  log_.epochs_ = epochs_;
}

// A snapshot beyond the end is of records that are gone: not one may be left
// when others take their offsets.
absl::Status LogRecovery::DropSnapshots() {
  const size_t found = log_.snapshots_.size();
  RETURN_IF_ERROR(log_.RemoveSnapshotsAbove(log_.leo_));
  RETURN_IF_ERROR(log_.RemoveUselessSnapshots());
  RETURN_IF_ERROR(log_.RemoveSnapshots(unusable_snapshots_));
  changed_ = changed_ || log_.snapshots_.size() != found;
  return absl::OkStatus();
}

absl::Status LogRecovery::MakeDurable(size_t first_scanned) {
  log_.durable_leo_ = log_.leo_;
  log_.generation_ = 1;
  // A new directory: its entry is synced with the first append.
  if (!existed_) return absl::OkStatus();
  const bool all_synced = marks_.clean_shutdown && !changed_ &&
                          log_.leo_ == marks_.recovery_point;
  if (!all_synced && !MUTANT(kRecoveryNotSynced)) {
    for (size_t i = first_scanned; i < log_.segments_.size(); ++i) {
      RETURN_IF_ERROR(log_.segments_[i].file->SyncData());
    }
    RETURN_IF_ERROR(log_.deps_.fs->SyncDirectory(log_.path_));
    RETURN_IF_ERROR(
        log_.deps_.fs->SyncDirectory(ParentDirectory(log_.path_)));
  }
  for (Segment& segment : log_.segments_) segment.sync = {};
  log_.directory_sync_ = {};
  log_.parent_sync_ = {};
  return absl::OkStatus();
}

void LogRecovery::Report() {
  RecoveryReport& report = log_.report_;
  report.log_start = log_.log_start_;
  report.leo = log_.leo_;
  // The mark is held down to what was durable; what a trim took was committed.
  report.high_watermark = std::clamp(marks_.high_watermark, log_.log_start_,
                                     log_.leo_);
  report.marks_ahead = log_.leo_ < std::max({marks_.high_watermark,
                                             marks_.durable_mark,
                                             marks_.recovery_point});
  report.lossy = marks_.lossy || cut_unexplained_ || report.marks_ahead;
  report.epochs_changed = log_.epochs_ != marks_.epochs;
}

}  // namespace sluice
