// Encodes records into one RecordBatch v2.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/buffer.h"
#include "storage/batch_header.h"

namespace sluice {

struct RecordHeaderView {
  std::string_view key;
  std::optional<std::string_view> value;
};

// A record to encode; nothing is owned.
struct RecordView {
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::span<const RecordHeaderView> headers;
  int64_t timestamp_ms = -1;
};

struct BatchOptions {
  Codec codec = Codec::kNone;
  // Bound of the batch before compression, header included. The first record
  // is taken even if it alone is larger, up to kRecordBytesMax.
  int64_t bytes_max = 1 << 20;
  ProducerId producer_id{-1};
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
};

// Larger records are refused by Add whatever bytes_max says.
inline constexpr int64_t kRecordBytesMax = 64 << 20;

// Not thread-safe. Reusable: Finish() leaves it empty with the same options.
// Allocates as the batch grows, never per record.
class BatchBuilder {
 public:
  explicit BatchBuilder(const BatchOptions& options);

  // False when the record does not fit; the batch is as before.
  bool Add(const RecordView& record);

  bool empty() const { return record_count_ == 0; }
  int32_t record_count() const { return record_count_; }
  // Before compression, header included.
  int64_t size_bytes() const { return static_cast<int64_t>(bytes_.size()); }
  void SetProducer(ProducerId id, int16_t epoch, int32_t base_sequence);

  // The batch with base offset 0 and no leader epoch: the leader patches
  // both. INVALID_RECORD when empty; UNSUPPORTED_COMPRESSION_TYPE.
  absl::StatusOr<MutableBuffer> Finish();

 private:
  void Reset();

  BatchOptions options_;
  std::string bytes_;  // kBatchHeaderBytes of room, then records
  int32_t record_count_ = 0;
  int64_t base_timestamp_ms_ = -1;
  int64_t max_timestamp_ms_ = -1;
};

}  // namespace sluice
