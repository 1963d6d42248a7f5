#include "storage/read_plan.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "storage/batch_header.h"

namespace sluice {
namespace {

// Read ahead of what was asked, to step over the batches between an index
// entry and the offset in the same call.
constexpr int64_t kSlackBytes = 8 << 10;

// One execution. Where a disk would have to be waited for, `waits_` is set.
class Reading {
 public:
  Reading(const ReadPlan& plan, bool no_wait)
      : plan_(plan), no_wait_(no_wait) {}

  absl::StatusOr<std::optional<ReadResult>> Run() {
    if (plan_.file == nullptr || plan_.from >= plan_.upto) {
      return std::optional<ReadResult>(ReadResult{{}, plan_.from, plan_.from});
    }
    int64_t position = plan_.position;
    std::optional<Offset> entry = plan_.index_offset;
    if (plan_.index != nullptr) {
      ASSIGN_OR_RETURN(const auto floor,
                       plan_.index->Floor(plan_.from, no_wait_));
      if (!floor.has_value()) return std::optional<ReadResult>();
      if (floor->has_value()) {
        position = (**floor).position;
        entry = (**floor).offset;
      }
    }
    if (entry.has_value()) {
      ASSIGN_OR_RETURN(const bool holds, EntryHolds(position, *entry));
      if (waits_) return std::optional<ReadResult>();
      if (!holds) {
        // The index contradicts the log (ST3): the log is right.
        if (plan_.index != nullptr) plan_.index->MarkBad();
        position = 0;
        expected_ = plan_.segment_base;
      }
    } else {
      position = 0;
      expected_ = plan_.segment_base;
    }
    return Collect(position);
  }

 private:
  // Whether the batch at `position` ends at the entry's offset.
  absl::StatusOr<bool> EntryHolds(int64_t position, Offset last_offset) {
    if (position < 0 || position >= plan_.position_end) return false;
    RETURN_IF_ERROR(Fill(position, ReadAhead()));
    if (waits_) return false;
    const auto header = BatchHeader::Parse(window_.view());
    if (!header.has_value() || !header->CheckShape().ok() ||
        (header->last_offset() != last_offset && !MUTANT(kIndexTrusted)) ||
        (header->base_offset > plan_.from && !MUTANT(kIndexTrusted)) ||
        header->size_bytes() > plan_.position_end - position) {
      return false;
    }
    expected_ = header->base_offset;
    return true;
  }

  absl::StatusOr<std::optional<ReadResult>> Collect(int64_t position) {
    std::optional<size_t> first;  // in the window
    Offset base = plan_.from;
    for (;;) {
      if (position >= plan_.position_end || expected_ >= plan_.upto) break;
      const int64_t in_window = WindowEnd() - position;
      if (position < window_start_ || in_window < kHeader ||
          in_window < HeaderAt(position).size_bytes()) {
        if (first.has_value()) break;  // enough for this call
        RETURN_IF_ERROR(FillForBatch(position));
        if (waits_) return std::optional<ReadResult>();
      }
      const BatchHeader header = HeaderAt(position);
      RETURN_IF_ERROR(CheckHeader(header, position));
      const size_t at = static_cast<size_t>(position - window_start_);
      const auto size = static_cast<size_t>(header.size_bytes());
      if (header.next_offset() > plan_.from) {
        if (header.next_offset() > plan_.upto) {
          // Not before it is known that it says so itself.
          if (!first.has_value()) {
            RETURN_IF_ERROR(CheckCrc(window_.view().substr(at, size), header));
          }
          break;
        }
        if (first.has_value() &&
            at + size - *first > static_cast<size_t>(plan_.bytes_max)) {
          break;
        }
        RETURN_IF_ERROR(CheckCrc(window_.view().substr(at, size), header));
        if (!first.has_value()) {
          first = at;
          base = header.base_offset;
        }
        last_ = at + size;
      }
      expected_ = header.next_offset();
      position += header.size_bytes();
    }
    if (!first.has_value()) return NothingFound(position);
    Buffer whole = std::move(window_).Publish();
    return std::optional<ReadResult>(ReadResult{
        whole.Slice(*first, last_ - *first), base, expected_});
  }

  absl::StatusOr<std::optional<ReadResult>> NothingFound(int64_t position) {
    if (position < plan_.position_end) {  // the first batch ends above upto
      return std::optional<ReadResult>(ReadResult{{}, plan_.from, plan_.from});
    }
    return Corrupt(position, StrCat("offset ", plan_.from, " is missing"));
  }

  absl::Status CheckHeader(const BatchHeader& header, int64_t position) {
    if (const absl::Status shape = header.CheckShape(); !shape.ok()) {
      return Corrupt(position, StdView(shape.message()));
    }
    if (header.base_offset != expected_) {
      return Corrupt(position, StrCat("base offset is ", header.base_offset,
                                      ", expected ", expected_));
    }
    const LeaderEpoch known = plan_.epochs.EpochAt(header.base_offset);
    if (known != kNoLeaderEpoch && known != header.leader_epoch) {
      return Corrupt(position,
                     StrCat("leader epoch is ", header.leader_epoch,
                            ", the epoch history says ", known));
    }
    return absl::OkStatus();
  }

  absl::Status CheckCrc(std::string_view bytes, const BatchHeader& header) {
    ASSIGN_OR_RETURN(const BatchView batch, BatchView::Parse(bytes));
    if (batch.CrcMatches() || MUTANT(kReadCrcUnchecked)) {
      return absl::OkStatus();
    }
    return Corrupt(window_start_, StrCat("the CRC of the batch at offset ",
                                         header.base_offset,
                                         " does not match"));
  }

  absl::Status Corrupt(int64_t position, std::string_view why) const {
    return MakeError(ErrorCode::kCorruptMessage, plan_.file->path(), " at ",
                     position, ": ", why, "; quarantine this replica");
  }

  BatchHeader HeaderAt(int64_t position) const {
    return *BatchHeader::Parse(
        window_.view().substr(static_cast<size_t>(position - window_start_)));
  }

  int64_t ReadAhead() const { return plan_.bytes_max + kSlackBytes; }
  int64_t WindowEnd() const {
    return window_start_ + static_cast<int64_t>(window_.size());
  }

  // Makes the whole batch at `position` lie in the window.
  absl::Status FillForBatch(int64_t position) {
    if (plan_.position_end - position < kHeader) {
      return Corrupt(position, "less than a batch header is left");
    }
    RETURN_IF_ERROR(Fill(position, ReadAhead()));
    if (waits_) return absl::OkStatus();
    const BatchHeader header = HeaderAt(position);
    if (!header.CheckShape().ok() ||
        header.size_bytes() > plan_.position_end - position) {
      return Corrupt(position, "no whole batch begins here");
    }
    if (header.size_bytes() <= WindowEnd() - position) return absl::OkStatus();
    return Fill(position, header.size_bytes());
  }

  absl::Status Fill(int64_t position, int64_t bytes) {
    const int64_t count = std::min(plan_.position_end - position,
                                   std::max(bytes, kHeader));
    window_ = MutableBuffer(static_cast<size_t>(count));
    window_start_ = position;
    const std::span<char> out(window_.data(), window_.size());
    size_t got = 0;
    if (no_wait_) {
      ASSIGN_OR_RETURN(const auto here, plan_.file->ReadAtNoWait(position,
                                                                 out));
      waits_ = !here.has_value();
      if (waits_) return absl::OkStatus();
      got = *here;
    } else {
      ASSIGN_OR_RETURN(got, plan_.file->ReadAt(position, out));
    }
    if (static_cast<int64_t>(got) == count) return absl::OkStatus();
    return Corrupt(position, "the file is shorter than what was appended");
  }

  static constexpr auto kHeader = static_cast<int64_t>(kBatchHeaderBytes);

  const ReadPlan& plan_;
  const bool no_wait_;
  bool waits_ = false;
  MutableBuffer window_;
  int64_t window_start_ = 0;
  size_t last_ = 0;
  Offset expected_;
};

}  // namespace

absl::StatusOr<std::optional<ReadResult>> ExecuteRead(const ReadPlan& plan,
                                                      bool no_wait) {
  return Reading(plan, no_wait).Run();
}

}  // namespace sluice
