#include "storage/segment_scanner.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {

absl::Status IndexByScanning(std::shared_ptr<const File> file,
                             int64_t position_end, GrowingIndex& index) {
  SegmentScanner scanner(std::move(file), 0, position_end);
  for (;;) {
    const int64_t position = scanner.position();
    ASSIGN_OR_RETURN(const auto batch, scanner.Next());
    if (!batch.has_value()) return absl::OkStatus();
    index.NoteBatch(batch->header().last_offset(), position,
                    batch->header().size_bytes());
  }
}

absl::Status SegmentScanner::Fill(int64_t bytes) {
  const int64_t window_end =
      window_start_ + static_cast<int64_t>(window_.size());
  if (position_ >= window_start_ && position_ + bytes <= window_end) {
    return absl::OkStatus();
  }
  const int64_t wanted =
      std::min(end_ - position_, std::max(bytes, kScanWindowBytes));
  window_.resize(static_cast<size_t>(wanted));
  ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(position_, window_));
  window_.resize(got);
  window_start_ = position_;
  if (static_cast<int64_t>(got) < bytes) {
    return MakeError(ErrorCode::kCorruptMessage, file_->path(), " ends at ",
                     position_ + static_cast<int64_t>(got), ", inside a batch");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<BatchView>> SegmentScanner::Next() {
  if (position_ >= end_) return std::optional<BatchView>();
  constexpr auto kHeader = static_cast<int64_t>(kBatchHeaderBytes);
  if (end_ - position_ < kHeader) {
    return MakeError(ErrorCode::kCorruptMessage, file_->path(), " has ",
                     end_ - position_, " bytes at ", position_,
                     ", less than a batch header");
  }
  RETURN_IF_ERROR(Fill(kHeader));
  const auto view = [&] {
    return std::string_view(window_).substr(
        static_cast<size_t>(position_ - window_start_));
  };
  const BatchHeader header = *BatchHeader::Parse(view());
  RETURN_IF_ERROR(header.CheckShape());
  if (header.size_bytes() > end_ - position_) {
    return MakeError(ErrorCode::kCorruptMessage, file_->path(),
                     " has a batch of ", header.size_bytes(), " bytes at ",
                     position_, " that passes the end of the file");
  }
  RETURN_IF_ERROR(Fill(header.size_bytes()));
  ASSIGN_OR_RETURN(const BatchView batch, BatchView::Parse(view()));
  position_ += header.size_bytes();
  return std::optional<BatchView>(batch);
}

namespace {

constexpr int64_t kSectorBytes = 512;

// Zeros in [at, at + count), which must lie in the file.
absl::StatusOr<bool> AllZero(const File& file, int64_t at, int64_t count) {
  char raw[kSectorBytes];
  const std::span<char> out(raw, static_cast<size_t>(count));
  ASSIGN_OR_RETURN(const size_t got, file.ReadAt(at, out));
  return std::all_of(raw, raw + got, [](char c) { return c == 0; });
}

}  // namespace

absl::StatusOr<BadBytes> LookAtBadBytes(const File& file, int64_t position,
                                        int64_t position_end,
                                        Offset expected) {
  char raw[kBatchHeaderBytes];
  ASSIGN_OR_RETURN(const size_t got, file.ReadAt(position, raw));
  const int64_t room = position_end - position;
  if (got < sizeof raw || room < static_cast<int64_t>(sizeof raw)) {
    return BadBytes::kNeverWritten;
  }
  const BatchHeader header = *BatchHeader::Parse({raw, sizeof raw});
  const bool has_shape = header.CheckShape().ok();
  const bool runs_past_end = has_shape && header.size_bytes() > room;
  // Without a length there are the header's sectors to look at, at most two.
  const int64_t end =
      position +
      std::min(room, has_shape ? header.size_bytes() : kSectorBytes);
  char offset[sizeof(int64_t)];
  StoreBig64(offset, static_cast<uint64_t>(expected.value()));
  for (int64_t at = position; at < end;) {
    const int64_t next = std::min(end, (at / kSectorBytes + 1) * kSectorBytes);
    ASSIGN_OR_RETURN(const bool zero, AllZero(file, at, next - at));
    // A short part of the base offset may be zeros by right.
    const bool by_right =
        next - position <= static_cast<int64_t>(sizeof offset) &&
        std::all_of(offset, offset + (next - position),
                    [](char c) { return c == 0; });
    if (zero && !by_right) return BadBytes::kNeverWritten;
    at = next;
  }
  return runs_past_end ? BadBytes::kRunPastEnd : BadBytes::kGarbled;
}

namespace {

bool MayBeginBatch(std::string_view bytes, int64_t room, Offset floor) {
  if (bytes[16] != kBatchMagic) return false;
  const BatchHeader header = *BatchHeader::Parse(bytes);
  return header.CheckShape().ok() && header.size_bytes() <= room &&
         header.base_offset > floor &&
         header.base_offset - floor <= std::numeric_limits<int32_t>::max();
}

}  // namespace

absl::StatusOr<bool> HasValidBatchAfter(const File& file, int64_t position,
                                        int64_t position_end, Offset floor) {
  constexpr auto kHeader = static_cast<int64_t>(kBatchHeaderBytes);
  std::string window;
  std::string batch_bytes;
  int64_t budget = kLookAlikeBytesMax;
  while (position_end - position >= kHeader) {
    window.resize(static_cast<size_t>(
        std::min(kScanWindowBytes, position_end - position)));
    ASSIGN_OR_RETURN(const size_t got, file.ReadAt(position, window));
    window.resize(got);
    if (static_cast<int64_t>(got) < kHeader) return false;
    const int64_t last = static_cast<int64_t>(got) - kHeader;
    for (int64_t i = 0; i <= last; ++i) {
      const std::string_view here =
          std::string_view(window).substr(static_cast<size_t>(i));
      if (!MayBeginBatch(here, position_end - position - i, floor)) continue;
      const int64_t size = BatchHeader::Parse(here)->size_bytes();
      budget -= size;
      if (budget < 0) return true;
      batch_bytes.resize(static_cast<size_t>(size));
      ASSIGN_OR_RETURN(const size_t all, file.ReadAt(position + i,
                                                     batch_bytes));
      if (static_cast<int64_t>(all) != size) continue;
      const auto batch = BatchView::Parse(batch_bytes);
      if (batch.ok() && batch->CrcMatches()) return true;
    }
    position += last + 1;
  }
  return false;
}

}  // namespace sluice
