#include <algorithm>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/status_macros.h"
#include "storage/batch_header.h"
#include "storage/log.h"
#include "storage/segment_scanner.h"

namespace sluice {

std::optional<ReadResult> Log::ReadInMemory(Offset from, Offset upto,
                                            int64_t bytes_max) const {
  if (from < log_start_ || from >= upto) return std::nullopt;
  const TailCache::Entry* entry = cache_->Find(from);
  if (entry == nullptr) return std::nullopt;
  // One batch an append is the rule: nothing to walk then.
  std::optional<size_t> first;
  size_t last = 0;
  ReadResult result;
  BatchCursor cursor(entry->batches.view());
  for (;;) {
    const size_t at = cursor.position();
    const auto batch = cursor.Next();
    if (!batch.ok() || !batch->has_value()) break;
    const BatchHeader& header = (*batch)->header();
    if (header.next_offset() <= from) continue;
    if (header.next_offset() > upto) break;
    if (first.has_value() &&
        cursor.position() - *first > static_cast<size_t>(
                                         std::max<int64_t>(bytes_max, 0))) {
      break;
    }
    if (!first.has_value()) {
      first = at;
      result.base = header.base_offset;
    }
    last = cursor.position();
    result.next_offset = header.next_offset();
  }
  if (!first.has_value()) return std::nullopt;
  result.batches = entry->batches.Slice(*first, last - *first);
  return result;
}

size_t Log::SegmentIndexOf(Offset offset) const {
  const auto after = std::upper_bound(
      segments_.begin(), segments_.end(), offset,
      [](Offset o, const Segment& segment) { return o < segment.base; });
  INVARIANT(after != segments_.begin(), path_, ": no segment holds ", offset);
  return static_cast<size_t>(after - segments_.begin()) - 1;
}

absl::StatusOr<ReadPlan> Log::PlanRead(Offset from, Offset upto,
                                       int64_t bytes_max) {
  RETURN_IF_ERROR(CheckUsable());
  if (from < log_start_ || from > leo_) {
    return MakeError(ErrorCode::kOffsetOutOfRange, "offset ", from,
                     " is outside [", log_start_, ", ", leo_, "]");
  }
  ReadPlan plan;
  plan.generation = generation_;
  plan.from = from;
  plan.upto = std::min(upto, leo_);
  plan.bytes_max = std::clamp<int64_t>(bytes_max, 1, kReadBytesMax);
  if (from >= plan.upto) return plan;
  Segment& segment = segments_[SegmentIndexOf(from)];
  if (segment.sealed != nullptr && segment.sealed->is_bad()) {
    RETURN_IF_ERROR(RebuildIndex(segment));
  }
  plan.file = segment.file;
  plan.segment_base = segment.base;
  plan.position_end = segment.size_bytes;
  plan.epochs = epochs_;
  if (segment.sealed != nullptr) {
    plan.index = segment.sealed;
  } else if (const auto entry = segment.growing->Floor(from)) {
    plan.position = entry->position;
    plan.index_offset = entry->offset;
  }
  return plan;
}

absl::Status Log::RebuildIndex(Segment& segment) {
  auto index = std::make_unique<GrowingIndex>(
      segment.index_path, segment.base, config_.index_interval_bytes);
  RETURN_IF_ERROR(IndexByScanning(segment.file, segment.size_bytes, *index));
  ++report_.indexes_rebuilt;
  if (auto sealed = index->Seal(*deps_.fs); sealed.ok()) {
    segment.sealed = *std::move(sealed);
    segment.growing.reset();
  } else {
    segment.sealed.reset();
    segment.growing = std::move(index);
  }
  return absl::OkStatus();
}

}  // namespace sluice
