#include "storage/offset_index.h"

#include <algorithm>
#include <limits>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

IndexEntry DecodeEntry(const char* raw, Offset base) {
  return {base + static_cast<int32_t>(LoadBig32(raw)),
          static_cast<int32_t>(LoadBig32(raw + 4))};
}

void EncodeEntry(const IndexEntry& entry, Offset base, std::string& out) {
  PutBig32(out, static_cast<uint32_t>(entry.offset - base));
  PutBig32(out, static_cast<uint32_t>(entry.position));
}

}  // namespace

absl::StatusOr<std::optional<std::optional<IndexEntry>>> SealedIndex::Floor(
    Offset offset, bool no_wait) const {
  using Answer = std::optional<std::optional<IndexEntry>>;
  std::optional<IndexEntry> best;
  int64_t low = 0;
  int64_t high = entry_count_;
  char raw[kIndexEntryBytes];
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const int64_t at = middle * kIndexEntryBytes;
    size_t got = 0;
    if (no_wait) {
      ASSIGN_OR_RETURN(const auto here, file_->ReadAtNoWait(at, raw));
      if (!here.has_value()) return Answer();
      got = *here;
    } else {
      ASSIGN_OR_RETURN(got, file_->ReadAt(at, raw));
    }
    if (got != sizeof raw) {
      MarkBad();  // shorter than when it was sealed
      return Answer(std::optional<IndexEntry>());
    }
    const IndexEntry entry = DecodeEntry(raw, base_);
    if (entry.offset <= offset) {
      best = entry;
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return Answer(best);
}

absl::Status GrowingIndex::Load(FileSystem& fs, int64_t position_end) {
  entries_.clear();
  saved_ = 0;
  bytes_since_entry_ = 0;
  auto content = ReadFile(fs, path_, kIndexBytesMax);
  if (absl::IsNotFound(content.status())) return absl::OkStatus();
  RETURN_IF_ERROR(content.status());
  for (size_t at = 0; at + kIndexEntryBytes <= content->size();
       at += kIndexEntryBytes) {
    const IndexEntry entry = DecodeEntry(content->data() + at, base_);
    const IndexEntry last =
        entries_.empty() ? IndexEntry{base_ - 1, -1} : entries_.back();
    if (entry.offset <= last.offset || entry.position <= last.position ||
        entry.position >= position_end) {
      break;
    }
    entries_.push_back(entry);
  }
  saved_ = entries_.size();
  return absl::OkStatus();
}

void GrowingIndex::NoteBatch(Offset last_offset, int64_t position,
                             int64_t bytes) {
  if (bytes_since_entry_ >= interval_bytes_ &&
      last_offset - base_ <= std::numeric_limits<int32_t>::max()) {
    entries_.push_back({last_offset, position});
    bytes_since_entry_ = 0;
  }
  bytes_since_entry_ += bytes;
}

std::optional<IndexEntry> GrowingIndex::Floor(Offset offset) const {
  const auto after = std::upper_bound(
      entries_.begin(), entries_.end(), offset,
      [](Offset o, const IndexEntry& entry) { return o < entry.offset; });
  if (after == entries_.begin()) return std::nullopt;
  return *std::prev(after);
}

void GrowingIndex::TruncateTo(int64_t position) {
  while (!entries_.empty() && entries_.back().position >= position) {
    entries_.pop_back();
  }
  bytes_since_entry_ = 0;
  if (saved_ > entries_.size()) {
    saved_ = entries_.size();
    file_.reset();  // opened again, and cut, by the next Save
  }
}

absl::Status GrowingIndex::Save(FileSystem& fs, bool all) {
  const size_t unsaved = entries_.size() - saved_;
  if (!all && unsaved < kIndexUnsavedMax) return absl::OkStatus();
  if (file_ == nullptr) {
    ASSIGN_OR_RETURN(auto file, fs.Open(path_, OpenMode::kCreate));
    RETURN_IF_ERROR(
        file->Truncate(static_cast<int64_t>(saved_) * kIndexEntryBytes));
    file_ = std::move(file);
  }
  if (unsaved == 0) return absl::OkStatus();
  std::string raw;
  raw.reserve(unsaved * kIndexEntryBytes);
  for (size_t i = saved_; i < entries_.size(); ++i) {
    EncodeEntry(entries_[i], base_, raw);
  }
  RETURN_IF_ERROR(
      file_->Write(static_cast<int64_t>(saved_) * kIndexEntryBytes, raw));
  saved_ = entries_.size();
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const SealedIndex>> GrowingIndex::Seal(
    FileSystem& fs) {
  RETURN_IF_ERROR(Save(fs, /*all=*/true));
  return std::shared_ptr<const SealedIndex>(std::make_shared<SealedIndex>(
      file_, base_, static_cast<int64_t>(entries_.size())));
}

}  // namespace sluice
