// Decodes the records of one batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/buffer.h"
#include "common/base/bytes.h"
#include "storage/batch_builder.h"
#include "storage/batch_header.h"

namespace sluice {

// Views into the batch, or into the reader for a compressed one.
struct DecodedRecord {
  int32_t offset_delta = 0;
  Offset offset;
  int64_t timestamp_ms = -1;
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  int32_t header_count = 0;
  std::string_view encoded_headers;  // walk them with HeaderCursor
};

// The headers of a decoded record: already checked, so there is no error.
class HeaderCursor {
 public:
  explicit HeaderCursor(const DecodedRecord& record)
      : reader_(record.encoded_headers), left_(record.header_count) {}
  std::optional<RecordHeaderView> Next();

 private:
  ByteReader reader_;
  int32_t left_;
};

// Decompresses once, capped by the rules of compression.h, then walks. Keeps
// views into the batch given to Open, which must stay. Movable.
class RecordReader {
 public:
  // kUnsupportedCompressionType, kMessageTooLarge, kCorruptMessage as in
  // Decompress(); the CRC is the caller's to check.
  static absl::StatusOr<RecordReader> Open(const BatchView& batch);

  // The next record; nullopt after the batch's record count, when nothing may
  // follow. INVALID_RECORD names what is wrong with record `index()`.
  absl::StatusOr<std::optional<DecodedRecord>> Next();
  // Of the record that Next() gives or gave up on.
  int32_t index() const { return index_; }

 private:
  RecordReader(const BatchHeader& header, std::string_view plain)
      : header_(header), rest_(plain) {}

  BatchHeader header_;
  Buffer decompressed_;  // empty for an uncompressed batch
  ByteReader rest_;
  int32_t index_ = -1;
};

}  // namespace sluice
