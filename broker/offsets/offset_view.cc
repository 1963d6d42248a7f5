#include "broker/offsets/offset_view.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice::offsets {
namespace {

ViewWrite WriteOf(Offset offset, const OffsetPut& put) {
  CommittedOffset committed = put.committed;
  committed.record_offset = offset;
  return {EncodeOffsetKey(put.key), EncodeCommittedOffset(committed)};
}
ViewWrite WriteOf(Offset, const OffsetGone& gone) {
  return {EncodeOffsetKey(gone.key), std::nullopt};
}
ViewWrite WriteOf(Offset, const GroupPut& put) {
  return {EncodeGroupKey(put.group), put.record};
}
ViewWrite WriteOf(Offset, const GroupGone& gone) {
  return {EncodeGroupKey(gone.group), std::nullopt};
}

}  // namespace

absl::StatusOr<std::vector<ViewWrite>> ApplyBatch(const Applied& applied,
                                                  Offset limit,
                                                  const ViewBatch& batch) {
  // Compaction leaves gaps, never an older or a repeated offset.
  if (batch.base < applied.next || batch.epoch < applied.epoch) {
    return MakeError(ErrorCode::kOffsetOutOfRange, "a batch at ", batch.base,
                     " of epoch ", batch.epoch, " does not follow ",
                     applied.next, " of epoch ", applied.epoch);
  }
  if (batch.next > limit) {
    return MakeError(ErrorCode::kOffsetOutOfRange, "a batch up to ",
                     batch.next, " is not committed and durable beyond ",
                     limit);
  }
  std::vector<ViewWrite> writes;
  writes.reserve(batch.records.size() + 1);
  if (!batch.control) {
    if (batch.transactional) {
      return MakeError(ErrorCode::kUnsupportedFormat,
                       "offsets of a transaction of producer ",
                       batch.producer_id, " at ", batch.base,
                       "; this version cannot read them");
    }
    for (const ViewRecord& record : batch.records) {
      writes.push_back(std::visit(
          [&record](const auto& c) { return WriteOf(record.offset, c); },
          record.change));
    }
  }
  if (batch.control || !MUTANT(kAppliedMarkApart)) {
    writes.push_back({AppliedKey(), EncodeApplied({.next = batch.next,
                                                   .epoch = batch.epoch})});
  }
  return writes;
}

bool IsOfLog(const Applied& applied, const EpochHistory& epochs, Offset leo) {
  if (applied.next > leo) return false;
  if (applied.epoch == kNoLeaderEpoch) return true;  // nothing was applied
  const EpochEnd end = epochs.EndOf(applied.epoch, leo);
  return end.epoch == applied.epoch && end.end >= applied.next;
}

bool CheckpointIsOfLog(const Applied& mark, const EpochHistory& epochs,
                       Offset log_start, Offset leo) {
  if (mark.epoch == kNoLeaderEpoch || mark.next < log_start) return false;
  return IsOfLog(mark, epochs, leo) || MUTANT(kCheckpointOfOtherLog);
}

bool MayFill(const Applied& mark, Offset limit) {
  return mark.next <= limit || MUTANT(kCheckpointUncommitted);
}

bool OutlivesCut(const Applied& applied, Offset target) {
  return applied.next <= target || MUTANT(kViewOutlivesCut);
}

Offset RestartHighWatermark(Offset high_watermark, const Applied& applied) {
  return std::max(high_watermark, applied.next);
}

bool MayServe(bool leads, Offset high_watermark, Offset epoch_start,
              const Applied& applied) {
  return leads && ((high_watermark >= epoch_start &&
                    applied.next >= epoch_start) ||
                   MUTANT(kOffsetsServedWhileLoading));
}

bool IsVisible(const Applied& applied, Offset record) {
  return record < applied.next;
}

}  // namespace sluice::offsets
