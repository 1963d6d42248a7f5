#include "storage/log.h"

#include <algorithm>
#include <limits>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "storage/batch_header.h"

namespace sluice {

Log::Log(Deps deps, std::string path, const LogConfig& config)
    : deps_(std::move(deps)),
      path_(std::move(path)),
      config_(config),
      cache_(std::make_shared<TailCache>(config.tail_cache_bytes,
                                         deps_.tail_budget)),
      producers_(config.producers_max) {
  SetSegmentBytes(config.segment_bytes);
}

void Log::SetSegmentBytes(int64_t bytes) {
  config_.segment_bytes = std::clamp<int64_t>(bytes, 1, kSegmentBytesMax);
}

Log::~Log() = default;

absl::Status Log::CheckUsable() const {
  if (!failed_) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageError, "the log ", path_,
                   " failed earlier or was deleted; see the first error");
}

Segment Log::NewSegment(Offset base) const {
  Segment segment;
  segment.base = base;
  segment.log_path = StrCat(path_, "/", SegmentFileName(base, ".log"));
  segment.index_path = StrCat(path_, "/", SegmentFileName(base, ".index"));
  return segment;
}

absl::Status Log::AddSegment(Offset base) {
  Segment segment = NewSegment(base);
  auto file = deps_.fs->Open(segment.log_path, OpenMode::kCreate);
  if (absl::IsNotFound(file.status())) {
    // Somebody took the directory away from under a log that is open.
    return MakeError(ErrorCode::kStorageError,
                     StdView(file.status().message()),
                     "; the directory of a log in use is gone, and with it "
                     "what was stored there");
  }
  RETURN_IF_ERROR(file.status());
  segment.file = *std::move(file);
  // A file of that name can only be what a failed attempt left.
  RETURN_IF_ERROR(segment.file->Truncate(0));
  segment.growing = std::make_unique<GrowingIndex>(
      segment.index_path, base, config_.index_interval_bytes);
  segment.sync.unasked = true;
  directory_sync_.unasked = true;
  if (!segments_.empty()) {
    Segment& full = segments_.back();
    // Without room for its index file the index stays in memory; the next
    // Open rebuilds what is missing.
    if (auto sealed = full.growing->Seal(*deps_.fs); sealed.ok()) {
      full.sealed = *std::move(sealed);
      full.growing.reset();
    }
    // A cache, too.
    SaveProducers().IgnoreError();
  }
  segments_.push_back(std::move(segment));
  return absl::OkStatus();
}

absl::Status Log::MakeRoomFor(int64_t bytes, Offset last, bool* rolled) {
  if (bytes > kSegmentBytesMax) {
    return MakeError(ErrorCode::kMessageTooLarge, "an append of ", bytes,
                     " bytes is larger than a segment can be");
  }
  if (!segments_.empty()) {
    const Segment& active = segments_.back();
    const bool full =
        active.size_bytes > 0 &&
        (active.size_bytes + bytes > config_.segment_bytes ||
         last - active.base > std::numeric_limits<int32_t>::max());
    if (!full) return absl::OkStatus();
  }
  *rolled = !segments_.empty();
  return AddSegment(leo_);
}

absl::Status Log::Write(Segment& segment, std::string_view bytes) {
  segment.sync.unasked = true;
  const absl::Status written = segment.file->Write(segment.size_bytes, bytes);
  if (written.ok() || MUTANT(kRefusedBytesKept)) return written;
  // Durably: a power cut must not bring back batches that were refused.
  absl::Status undone = segment.file->Truncate(segment.size_bytes);
  if (undone.ok() && !MUTANT(kUndoingNotSynced)) {
    undone = segment.file->SyncData();
  }
  if (undone.ok()) return written;
  failed_ = true;
  return MakeError(ErrorCode::kStorageError, StdView(written.message()),
                   "; the part written could not be undone: ",
                   StdView(undone.message()));
}

void Log::Index(Segment& segment, std::string_view batches, int64_t position) {
  BatchCursor cursor(batches);
  for (;;) {
    const auto at = static_cast<int64_t>(cursor.position());
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value()) break;
    const BatchHeader& header = (*batch)->header();
    segment.growing->NoteBatch(header.last_offset(), position + at,
                               header.size_bytes());
  }
  // A cache: what cannot be saved now is rebuilt by the next Open.
  segment.growing->Save(*deps_.fs, /*all=*/false).IgnoreError();
}

absl::StatusOr<AppendInfo> Log::AppendAsLeader(MutableBuffer batches,
                                               LeaderEpoch epoch) {
  RETURN_IF_ERROR(CheckUsable());
  INVARIANT(epoch >= epochs_.last_epoch(), path_, ": append in epoch ",
            epoch, " after epoch ", epochs_.last_epoch());
  RETURN_IF_ERROR(AssignOffsets(batches, leo_, epoch).status());
  return Append(std::move(batches).Publish(), Origin::kOwn);
}

absl::StatusOr<AppendInfo> Log::AppendAsFollower(Buffer batches) {
  RETURN_IF_ERROR(CheckUsable());
  return Append(std::move(batches), Origin::kLeader);
}

absl::StatusOr<AppendInfo> Log::Append(Buffer batches, Origin origin) {
  AppendInfo info;
  info.base = leo_;
  info.next = leo_;
  std::vector<EpochStart> starts;
  LeaderEpoch epoch = epochs_.last_epoch();
  BatchCursor cursor(batches.view());
  for (;;) {
    ASSIGN_OR_RETURN(const auto batch, cursor.Next());
    if (!batch.has_value()) break;
    const BatchHeader& header = batch->header();
    if (header.base_offset != info.next || header.leader_epoch < epoch) {
      return MakeError(ErrorCode::kCorruptMessage, path_, ": a batch at ",
                       header.base_offset, " with leader epoch ",
                       header.leader_epoch, " cannot follow offset ",
                       info.next, " and epoch ", epoch);
    }
    if (header.leader_epoch > epoch) {
      epoch = header.leader_epoch;
      starts.push_back({epoch, header.base_offset});
    }
    info.next = header.next_offset();
  }
  if (batches.empty()) {
    return MakeError(ErrorCode::kCorruptMessage, path_, ": an empty append");
  }
  if (cut_unsynced_) RETURN_IF_ERROR(SyncNow());
  RETURN_IF_ERROR(MakeRoomFor(static_cast<int64_t>(batches.size()),
                              info.next - 1, &info.rolled));
  Segment& segment = segments_.back();
  RETURN_IF_ERROR(Write(segment, batches.view()));
  Index(segment, batches.view(), segment.size_bytes);
  segment.size_bytes += static_cast<int64_t>(batches.size());
  for (const EpochStart& start : starts) {
    info.epoch_started |= epochs_.Assign(start.epoch, start.start);
  }
  cache_->Add(info.base, info.next, batches);
  leo_ = info.next;
  if (origin == Origin::kOwn || !MUTANT(kFollowersKeepNoProducers)) {
    NoteProducers(batches.view());
  }
  info.batches = std::move(batches);
  return info;
}

bool Log::StartEpoch(LeaderEpoch epoch) { return epochs_.Assign(epoch, leo_); }

// ---- Durability ----

bool Log::has_unsynced() const {
  return directory_sync_.unasked ||
         std::any_of(segments_.begin(), segments_.end(),
                     [](const Segment& segment) {
                       return segment.sync.unasked;
                     });
}

std::optional<Unsynced> Log::TakeUnsynced() {
  if (!has_unsynced()) return std::nullopt;
  return TakeAll();
}

Unsynced Log::TakeAll() {
  constexpr SyncNeed kTaken{.unasked = false, .unanswered = true};
  Unsynced unsynced{{}, leo_, generation_, ++takings_};
  for (Segment& segment : segments_) {
    if (!segment.sync.any()) continue;
    unsynced.targets.files.push_back(segment.file);
    segment.sync = kTaken;
  }
  if (directory_sync_.any()) {
    if (!MUTANT(kSegmentEntryNotSynced)) {
      unsynced.targets.directories.push_back(path_);
    }
    directory_sync_ = kTaken;
  }
  if (parent_sync_.any()) {
    unsynced.targets.directories.push_back(ParentDirectory(path_));
    parent_sync_ = kTaken;
  }
  return unsynced;
}

void Log::MarkDurable(const Unsynced& synced) {
  if (synced.generation != generation_) return;
  INVARIANT(synced.leo <= leo_, path_, ": durable ", synced.leo,
            " past the LEO ", leo_);
  durable_leo_ = std::max(durable_leo_,
                          MUTANT(kDurableToCurrentEnd) ? leo_ : synced.leo);
  cut_unsynced_ = false;  // of this generation: it was taken after the cut
  if (synced.number != takings_) return;  // a later one covers more
  for (Segment& segment : segments_) segment.sync.unanswered = false;
  directory_sync_.unanswered = false;
  parent_sync_.unanswered = false;
}

absl::Status Log::SyncNow() {
  RETURN_IF_ERROR(CheckUsable());
  const Unsynced unsynced = TakeAll();
  failed_ = true;  // until everything has succeeded
  for (const auto& file : unsynced.targets.files) {
    RETURN_IF_ERROR(file->SyncData());
  }
  for (const std::string& directory : unsynced.targets.directories) {
    RETURN_IF_ERROR(deps_.fs->SyncDirectory(directory));
  }
  failed_ = false;
  MarkDurable(unsynced);
  return absl::OkStatus();
}

absl::Status Log::SaveCaches() {
  if (segments_.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(segments_.back().growing->Save(*deps_.fs, /*all=*/true));
  return SaveProducers();
}

int64_t Log::size_bytes() const {
  int64_t total = 0;
  for (const Segment& segment : segments_) total += segment.size_bytes;
  return total;
}

int64_t Log::tail_cache_bytes() const { return cache_->bytes(); }

std::vector<Offset> Log::segment_bases() const {
  std::vector<Offset> bases;
  bases.reserve(segments_.size());
  for (const Segment& segment : segments_) bases.push_back(segment.base);
  return bases;
}

}  // namespace sluice
