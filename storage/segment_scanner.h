// Reads a segment's file batch by batch, for recovery and for rebuilding.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/env/file_system.h"
#include "storage/batch_header.h"
#include "storage/offset_index.h"

namespace sluice {

inline constexpr int64_t kScanWindowBytes = 1 << 20;

// Blocking. Memory: one window, or one batch when that is larger (never more
// than the file).
class SegmentScanner {
 public:
  SegmentScanner(std::shared_ptr<const File> file, int64_t position,
                 int64_t position_end)
      : file_(std::move(file)), position_(position), end_(position_end) {}

  // The batch at position(), valid until the next call; nullopt at the end.
  // kCorruptMessage when no whole batch begins there: position() stays.
  // kStorageError when the disk could not be read.
  absl::StatusOr<std::optional<BatchView>> Next();
  // Of the batch that Next() will give.
  int64_t position() const { return position_; }

 private:
  // Makes [position_, position_ + bytes) lie in the window.
  absl::Status Fill(int64_t bytes);

  std::shared_ptr<const File> file_;
  int64_t position_;
  int64_t end_;
  std::string window_;
  int64_t window_start_ = 0;
};

// Notes every batch of the file in `index`, which knows nothing yet.
absl::Status IndexByScanning(std::shared_ptr<const File> file,
                             int64_t position_end, GrowingIndex& index);

// What the bytes at a place where no good batch begins look like. Writes that a
// power cut interrupts reach the disk in any order, by sectors; what was never
// written reads as zeros, or the file ends.
enum class BadBytes {
  kNeverWritten,  // a part that cannot be zero is, or not even a header is left
  kRunPastEnd,    // a header whose batch passes the end of the file
  kGarbled,       // all there, and wrong
};

// `expected`: the offset that a batch there would begin at. A batch whose
// whole sectors are zeros by right is taken for never written.
absl::StatusOr<BadBytes> LookAtBadBytes(const File& file, int64_t position,
                                        int64_t position_end, Offset expected);

// A payload can be crafted to look like the beginnings of many batches. After
// this many bytes of such the answer is yes, the safe one.
inline constexpr int64_t kLookAlikeBytesMax = 8LL << 30;

// Whether some valid batch (shape, CRC, a base offset above `floor`) begins
// at or after `position`: the difference between a torn tail and damage (ST2).
absl::StatusOr<bool> HasValidBatchAfter(const File& file, int64_t position,
                                        int64_t position_end, Offset floor);

}  // namespace sluice
