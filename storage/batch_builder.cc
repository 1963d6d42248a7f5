#include "storage/batch_builder.h"

#include <algorithm>
#include <limits>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "storage/compression.h"

namespace sluice {
namespace {

int64_t BytesSize(std::optional<std::string_view> bytes) {
  if (!bytes.has_value()) return VarintSize(-1);
  const auto size = static_cast<int64_t>(bytes->size());
  return VarintSize(size) + size;
}

void PutBytes(std::string& out, std::optional<std::string_view> bytes) {
  if (!bytes.has_value()) {
    PutVarint32(out, -1);
    return;
  }
  PutVarint32(out, static_cast<int32_t>(bytes->size()));
  out.append(*bytes);
}

// What the record's length varint says: everything behind it.
int64_t BodySize(const RecordView& record, int64_t timestamp_delta,
                 int32_t offset_delta) {
  int64_t size = 1 + VarintSize(timestamp_delta) + VarintSize(offset_delta) +
                 BytesSize(record.key) + BytesSize(record.value) +
                 VarintSize(static_cast<int64_t>(record.headers.size()));
  for (const RecordHeaderView& header : record.headers) {
    size += BytesSize(header.key) + BytesSize(header.value);
  }
  return size;
}

// The difference may not be representable; wrapping is what readers undo.
int64_t WrappingMinus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) -
                              static_cast<uint64_t>(b));
}

}  // namespace

BatchBuilder::BatchBuilder(const BatchOptions& options) : options_(options) {
  Reset();
}

void BatchBuilder::Reset() {
  bytes_.assign(kBatchHeaderBytes, '\0');
  record_count_ = 0;
}

void BatchBuilder::SetProducer(ProducerId id, int16_t epoch,
                               int32_t base_sequence) {
  options_.producer_id = id;
  options_.producer_epoch = epoch;
  options_.base_sequence = base_sequence;
}

bool BatchBuilder::Add(const RecordView& record) {
  const int64_t delta =
      empty() ? 0 : WrappingMinus(record.timestamp_ms, base_timestamp_ms_);
  const int64_t body = BodySize(record, delta, record_count_);
  if (body > kRecordBytesMax ||
      record_count_ == std::numeric_limits<int32_t>::max()) {
    return false;
  }
  const int64_t after = size_bytes() + VarintSize(body) + body;
  if (!empty() && after > options_.bytes_max) return false;
  if (empty()) {
    base_timestamp_ms_ = record.timestamp_ms;
    max_timestamp_ms_ = record.timestamp_ms;
  }
  max_timestamp_ms_ = std::max(max_timestamp_ms_, record.timestamp_ms);
  PutVarint32(bytes_, static_cast<int32_t>(body));
  bytes_.push_back('\0');  // record attributes: none exist
  PutVarint64(bytes_, delta);
  PutVarint32(bytes_, record_count_);
  PutBytes(bytes_, record.key);
  PutBytes(bytes_, record.value);
  PutVarint32(bytes_, static_cast<int32_t>(record.headers.size()));
  for (const RecordHeaderView& header : record.headers) {
    PutBytes(bytes_, header.key);
    PutBytes(bytes_, header.value);
  }
  ++record_count_;
  return true;
}

absl::StatusOr<MutableBuffer> BatchBuilder::Finish() {
  if (empty()) {
    return MakeError(ErrorCode::kInvalidRecord, "a batch without records");
  }
  if (options_.codec != Codec::kNone) {
    ASSIGN_OR_RETURN(const std::string compressed,
                     Compress(options_.codec,
                              std::string_view(bytes_).substr(
                                  kBatchHeaderBytes)));
    bytes_.resize(kBatchHeaderBytes);
    bytes_.append(compressed);
  }
  BatchHeader header;
  header.batch_length =
      static_cast<int32_t>(bytes_.size() - kBatchLengthPrefixBytes);
  header.attributes = static_cast<uint16_t>(options_.codec);
  header.last_offset_delta = record_count_ - 1;
  header.base_timestamp_ms = base_timestamp_ms_;
  header.max_timestamp_ms = max_timestamp_ms_;
  header.producer_id = options_.producer_id;
  header.producer_epoch = options_.producer_epoch;
  header.base_sequence = options_.base_sequence;
  header.record_count = record_count_;
  header.Store(bytes_.data());
  header.crc = Crc32c(std::string_view(bytes_).substr(kBatchCrcFrom));
  header.Store(bytes_.data());
  MutableBuffer batch = MutableBuffer::Adopt(std::move(bytes_));
  bytes_ = std::string();
  Reset();
  return batch;
}

}  // namespace sluice
