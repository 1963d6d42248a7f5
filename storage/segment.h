// One file of batches and its index.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/env/file_system.h"
#include "storage/offset_index.h"

namespace sluice {

// "00000000000000000042.log"
std::string SegmentFileName(Offset base, std::string_view suffix);
// The base offset, when `name` is such a name with this suffix.
std::optional<Offset> ParseSegmentFileName(std::string_view name,
                                           std::string_view suffix);

// Whether a file or directory has changes that no sync covers.
struct SyncNeed {
  bool unasked = false;     // changed since it was last handed to a sync
  bool unanswered = false;  // handed to one that has not reported yet

  bool any() const { return unasked || unanswered; }
};

// A part of Log: states and rules are there. One owner thread.
struct Segment {
  Offset base;
  std::string log_path;
  std::string index_path;
  std::shared_ptr<File> file;
  int64_t size_bytes = 0;
  // Exactly one of the two: the last segment grows; the others are sealed,
  // unless there was no room for their index file.
  std::unique_ptr<GrowingIndex> growing;
  std::shared_ptr<const SealedIndex> sealed;
  SyncNeed sync;
};

}  // namespace sluice
