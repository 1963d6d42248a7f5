#include "storage/time_search.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "storage/record_reader.h"

namespace sluice {
namespace {

// The first record from `from` on with `at_ms` or more.
absl::StatusOr<std::optional<TimedRecord>> FirstIn(const BatchView& batch,
                                                   Offset from,
                                                   int64_t at_ms) {
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
  for (;;) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record.has_value()) return std::optional<TimedRecord>();
    if (record->offset < from || record->timestamp_ms < at_ms) continue;
    return std::optional<TimedRecord>({record->offset, record->timestamp_ms,
                                       batch.header().leader_epoch});
  }
}

absl::StatusOr<int64_t> GreatestIn(const BatchView& batch, Offset from) {
  if (batch.header().base_offset >= from) {
    return batch.header().max_timestamp_ms;
  }
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
  int64_t greatest_ms = -1;
  for (;;) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record.has_value()) return greatest_ms;
    if (record->offset < from) continue;
    greatest_ms = std::max(greatest_ms, record->timestamp_ms);
  }
}

}  // namespace

absl::StatusOr<bool> TimeSearch::Look(const Buffer& batches) {
  BatchCursor cursor(batches.view());
  for (;;) {
    const size_t position = cursor.position();
    ASSIGN_OR_RETURN(const auto batch, cursor.Next());
    if (!batch.has_value()) return false;
    ASSIGN_OR_RETURN(const bool found, LookAt(*batch, batches, position));
    if (found) return true;
  }
}

absl::StatusOr<bool> TimeSearch::LookAt(const BatchView& batch,
                                        const Buffer& batches,
                                        size_t position) {
  const BatchHeader& header = batch.header();
  const bool control = (header.attributes & kControlBit) != 0;
  if (control || header.next_offset() <= from_) return false;
  if (at_.has_value()) {
    if (header.max_timestamp_ms < *at_) return false;
    ASSIGN_OR_RETURN(found_, FirstIn(batch, from_, *at_));
    return found_.has_value();
  }
  if (header.max_timestamp_ms <= greatest_ms_) return false;
  ASSIGN_OR_RETURN(const int64_t greatest_ms, GreatestIn(batch, from_));
  if (greatest_ms > greatest_ms_) {
    greatest_ms_ = greatest_ms;
    holds_greatest_ = batches.Slice(position, batch.bytes().size());
  }
  return false;
}

absl::StatusOr<std::optional<TimedRecord>> TimeSearch::Found() const {
  if (at_.has_value() || greatest_ms_ < 0) return found_;
  ASSIGN_OR_RETURN(const BatchView batch,
                   BatchView::Parse(holds_greatest_.view()));
  return FirstIn(batch, from_, greatest_ms_);
}

}  // namespace sluice
