// What a fetch brought of one partition, still encoded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "client/client_types.h"
#include "common/base/buffer.h"
#include "storage/record_reader.h"

namespace sluice {

struct FetchedBatch {
  NamedPartition tp;
  std::vector<Buffer> batches;  // whole record batches, in order
  Offset from;                  // records below were not asked for
  Offset next;                  // where to read on; records from it on are not
                                // of this
  Offset high_watermark = kNoOffset;
  LeaderEpoch last_epoch = kNoLeaderEpoch;  // of the last record
  // Set on the first batch after the log was cut below what was given: records
  // [from, truncated_from) that came before are not what it holds any more.
  Offset truncated_from = kNoOffset;
  TopicId topic_id;  // that was read: another may have its name since

  int64_t size_bytes() const;
};

// What lies in the first `offsets_max` offsets (at least 1), which holds no more
// records than that; `fetched` is the rest, empty with from == next.
FetchedBatch TakeFront(FetchedBatch& fetched, int64_t offsets_max);

struct ConsumerRecord {
  NamedPartition tp;
  Offset offset;
  int64_t timestamp_ms = -1;
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<api::RecordHeader> headers;
};

// Each record from `from` on, in order, control records left out; views are
// valid during the call. Any thread. CORRUPT_MESSAGE when a checksum does not
// match: nothing of that batch was shown. Stops when `each` returns false.
absl::Status ForEachRecord(
    const FetchedBatch& fetched,
    absl::FunctionRef<bool(const DecodedRecord& record)> each);

ConsumerRecord OwnedRecord(const NamedPartition& tp,
                           const DecodedRecord& record);

}  // namespace sluice
