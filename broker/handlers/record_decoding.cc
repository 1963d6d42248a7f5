#include "broker/handlers/record_decoding.h"

#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "storage/record_reader.h"

namespace sluice {
namespace {

// What a record takes in an answer beyond its own bytes.
constexpr int64_t kRecordOverheadBytes = 32;

std::optional<std::string> OwnedOf(std::optional<std::string_view> view) {
  if (!view.has_value()) return std::nullopt;
  return std::string(*view);
}

int64_t SizeOf(const DecodedRecord& record) {
  return kRecordOverheadBytes +
         static_cast<int64_t>(record.key.value_or("").size() +
                              record.value.value_or("").size() +
                              record.encoded_headers.size());
}

api::Record OwnedOf(const DecodedRecord& record) {
  api::Record out;
  out.offset = record.offset;
  out.timestamp_ms = record.timestamp_ms;
  out.key = OwnedOf(record.key);
  out.value = OwnedOf(record.value);
  HeaderCursor headers(record);
  while (const auto header = headers.Next()) {
    out.headers.push_back({std::string(header->key), OwnedOf(header->value)});
  }
  return out;
}

// False when `out` is full.
absl::StatusOr<bool> DecodeBatch(const BatchView& batch, Offset from,
                                 int64_t bytes_max, DecodedRecords& out) {
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
  while (true) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record.has_value()) return true;
    if (record->offset < from) continue;
    const int64_t size = SizeOf(*record);
    if (!out.records.empty() && out.bytes + size > bytes_max) {
      out.stopped_at = record->offset;
      return false;
    }
    out.bytes += size;
    out.records.push_back(OwnedOf(*record));
  }
}

}  // namespace

absl::StatusOr<DecodedRecords> DecodeRecords(const std::vector<Buffer>& batches,
                                             Offset from, int64_t bytes_max) {
  DecodedRecords out;
  for (const Buffer& buffer : batches) {
    BatchCursor cursor(buffer.view());
    while (true) {
      ASSIGN_OR_RETURN(const auto batch, cursor.Next());
      if (!batch.has_value()) break;
      if (batch->header().next_offset() <= from) continue;
      if ((batch->header().attributes & kControlBit) != 0) continue;
      ASSIGN_OR_RETURN(const bool more,
                       DecodeBatch(*batch, from, bytes_max, out));
      if (!more) return out;
    }
  }
  return out;
}

int64_t DecodeInto(api::FetchResult& result, Offset from, int64_t bytes_max) {
  const std::vector<Buffer> batches = std::exchange(result.batches, {});
  if (batches.empty()) return 0;
  if (bytes_max <= 0) {  // what came before has taken all: next time
    result.next_offset = from;
    return 0;
  }
  auto decoded = DecodeRecords(batches, from, bytes_max);
  if (!decoded.ok()) {
    result.error = api::ItemError(MakeError(
        ErrorCode::kCorruptMessage, "a stored batch from offset ", from,
        " on cannot be decoded: ",
        std::string(decoded.status().message())));
    return 0;
  }
  result.records = std::move(decoded->records);
  if (decoded->stopped_at != kNoOffset) {
    result.next_offset = decoded->stopped_at;
  }
  return decoded->bytes;
}

}  // namespace sluice
