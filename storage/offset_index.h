// Kafka's sparse offset index: 8-byte entries {offset - base, file position},
// one per index interval of log bytes. A cache that nobody trusts (ST3): the
// batch at the position must end at the entry's offset, else it is rebuilt.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/env/file_system.h"

namespace sluice {

struct IndexEntry {
  Offset offset;        // the last offset of the batch at `position`
  int64_t position = 0; // where that batch begins

  auto operator<=>(const IndexEntry&) const = default;
};

inline constexpr int64_t kIndexEntryBytes = 8;
// 2 GiB of log, an entry per 4 KiB.
inline constexpr int64_t kIndexBytesMax = 4 << 20;

// The index of a segment that no longer grows: a file searched in place.
// Immutable but for the mark; any thread.
class SealedIndex {
 public:
  SealedIndex(std::shared_ptr<File> file, Offset base, int64_t entry_count)
      : file_(std::move(file)), base_(base), entry_count_(entry_count) {}

  // The last entry at or below `offset`; nullopt when there is none. With
  // `no_wait`, an outer nullopt when the answer is not in memory.
  absl::StatusOr<std::optional<std::optional<IndexEntry>>> Floor(
      Offset offset, bool no_wait) const;

  // Somebody found the log to contradict it. The log's owner rebuilds it.
  void MarkBad() const { bad_.store(true, std::memory_order_relaxed); }
  bool is_bad() const { return bad_.load(std::memory_order_relaxed); }
  int64_t entry_count() const { return entry_count_; }

 private:
  std::shared_ptr<File> file_;
  Offset base_;
  int64_t entry_count_;
  mutable std::atomic<bool> bad_{false};
};

// The index of the segment that grows: in memory, its file a little behind.
// One owner thread.
class GrowingIndex {
 public:
  GrowingIndex(std::string path, Offset base, int32_t interval_bytes)
      : path_(std::move(path)), base_(base), interval_bytes_(interval_bytes) {}

  // Takes over the entries of the file that are well-formed, rising and below
  // `position_end`; anything else in it is forgotten.
  absl::Status Load(FileSystem& fs, int64_t position_end);

  // A batch was appended; kept when an interval has passed since the last.
  void NoteBatch(Offset last_offset, int64_t position, int64_t bytes);
  std::optional<IndexEntry> Floor(Offset offset) const;
  // Forgets entries at or above a position.
  void TruncateTo(int64_t position);
  const std::vector<IndexEntry>& entries() const { return entries_; }

  // Writes what the file lacks once that is kIndexUnsavedMax entries, or all
  // with `all`. A failure costs nothing but a later rebuild.
  absl::Status Save(FileSystem& fs, bool all);
  // Saves all and opens it for searching.
  absl::StatusOr<std::shared_ptr<const SealedIndex>> Seal(FileSystem& fs);

 private:
  std::string path_;
  Offset base_;
  int32_t interval_bytes_;
  std::vector<IndexEntry> entries_;
  int64_t bytes_since_entry_ = 0;
  size_t saved_ = 0;  // entries the file holds
  std::shared_ptr<File> file_;
};

inline constexpr size_t kIndexUnsavedMax = 512;

}  // namespace sluice
