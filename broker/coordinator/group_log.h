// The records of __consumer_offsets: keys and values are protobuf
// (group_log.proto) in Kafka's record batches. What is read is understood
// whole: an unknown kind or field is refused, since skipping it would make the
// view of this replica another one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/group/group_types.h"
#include "broker/offsets/offset_view.h"
#include "common/base/buffer.h"
#include "storage/batch_header.h"

namespace sluice::coordinator {

using Change = decltype(offsets::ViewRecord::change);

// A batch of ours, before offsets are known, is at most so large; one record
// that is larger alone is MESSAGE_TOO_LARGE.
inline constexpr int64_t kGroupBatchBytesMax = 8 << 20;

// ---- A record ----

struct LogRecord {
  std::string key;
  std::optional<std::string> value;  // nullopt: a tombstone

  bool operator==(const LogRecord&) const = default;
};

// A committed offset's record offset is not in it: the log gives that.
LogRecord EncodeRecord(const Change& change);
// UNSUPPORTED_FORMAT: a kind, field or value that is not known here.
absl::StatusOr<Change> DecodeRecord(std::string_view key,
                                    std::optional<std::string_view> value);

// ---- A group, as GroupPut::record holds it ----

struct StoredGroup {
  group::GroupImage image;
  int64_t time_ms = 0;  // when it was written; an empty group: since when

  bool operator==(const StoredGroup&) const = default;
};
std::string EncodeGroup(const StoredGroup& group);
// UNSUPPORTED_FORMAT.
absl::StatusOr<StoredGroup> DecodeGroup(std::string_view record);

// ---- Batches ----

// One batch of all changes, in order, at time `now_ms`. MESSAGE_TOO_LARGE.
absl::StatusOr<MutableBuffer> BuildBatch(const std::vector<Change>& changes,
                                         int64_t now_ms);

// A batch of the log with its records. UNSUPPORTED_FORMAT, CORRUPT_MESSAGE,
// INVALID_RECORD: bytes that no version of ours wrote. Control batches have no
// records here.
absl::StatusOr<offsets::ViewBatch> DecodeBatch(const BatchView& batch);

}  // namespace sluice::coordinator
