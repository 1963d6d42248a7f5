// The rules of a materialised view of __consumer_offsets (GR6, GR7, F58): what
// a batch of its log changes in it, when what is on disk may still be used, and
// when a new coordinator may answer from it. The store and the log are its
// owner's; here is only what follows from what.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/offsets/committed_offset.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"

namespace sluice::offsets {

// ---- What the log says, record by record ----

struct OffsetPut {
  OffsetKey key;
  CommittedOffset committed;  // without its record offset
};
struct OffsetGone {
  OffsetKey key;
};
struct GroupPut {
  std::string group;
  std::string record;  // opaque
};
struct GroupGone {
  std::string group;
};

struct ViewRecord {
  Offset offset;
  std::variant<OffsetPut, OffsetGone, GroupPut, GroupGone> change;
};

// A batch whole, with what its header says.
struct ViewBatch {
  Offset base;
  Offset next;  // past its last record, compacted ones included
  LeaderEpoch epoch;
  bool control = false;
  bool transactional = false;
  ProducerId producer_id = kNoProducerId;
  std::vector<ViewRecord> records;  // rising offsets in [base, next)
};

// ---- What it changes ----

struct ViewWrite {
  std::string key;
  std::optional<std::string> value;  // nullopt: delete
};

// All of one batch and the new applied mark, to be written at once (GR7): a
// view never has half a batch. OFFSET_OUT_OF_RANGE: the batch does not follow
// `applied`, or ends past `limit`, which is min(high watermark, own durable
// LEO). UNSUPPORTED_FORMAT: a transaction's offsets are not known here.
absl::StatusOr<std::vector<ViewWrite>> ApplyBatch(const Applied& applied,
                                                  Offset limit,
                                                  const ViewBatch& batch);

// ---- When it may be used ----

// After a restart: what was applied is still in the recovered log, as the same
// records.
bool IsOfLog(const Applied& applied, const EpochHistory& epochs, Offset leo);

// A checkpoint of a view, applied up to `mark`, may take the place of a view
// that is lost: what it was applied from is still in the log, as the same
// records, and a replay of this log would show no less.
bool CheckpointIsOfLog(const Applied& mark, const EpochHistory& epochs,
                       Offset log_start, Offset leo);
// And it may now: all of it is committed and durable here (GR7). `limit` as in
// ApplyBatch.
bool MayFill(const Applied& mark, Offset limit);

// A cut of the log to `target`, at any time.
bool OutlivesCut(const Applied& applied, Offset target);

// What was applied was committed: the partition's restart mark may not lie
// below it.
Offset RestartHighWatermark(Offset high_watermark, const Applied& applied);

// GR6: a coordinator answers once it knows all that was committed before its
// epoch, and its view has it: nobody gets an older offset than was
// acknowledged. `epoch_start` is LESO.
bool MayServe(bool leads, Offset high_watermark, Offset epoch_start,
              const Applied& applied);

// A commit whose last record is at `record` may be acknowledged: a read would
// see it.
bool IsVisible(const Applied& applied, Offset record);

}  // namespace sluice::offsets
