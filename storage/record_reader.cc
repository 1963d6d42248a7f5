#include "storage/record_reader.h"

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "storage/compression.h"

namespace sluice {
namespace {

// A nullable byte string; false when malformed.
bool ReadBytes(ByteReader& in, std::optional<std::string_view>& out) {
  const auto length = in.Varint32();
  if (!length.has_value() || *length < -1) return false;
  out.reset();
  if (*length == -1) return true;
  out = in.Bytes(static_cast<size_t>(*length));
  return out.has_value();
}

// Walks the headers; the reader stands at the end of the last. Returns what
// is wrong, or "".
std::string_view CheckHeaders(ByteReader& in, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    std::optional<std::string_view> key;
    std::optional<std::string_view> value;
    if (!ReadBytes(in, key)) return "a header's key is malformed";
    if (!key.has_value()) return "a header's key is null";
    if (!ReadBytes(in, value)) return "a header's value is malformed";
  }
  return "";
}

// Everything of a record behind its length. Returns what is wrong, or "".
std::string_view DecodeBody(std::string_view body, DecodedRecord& record,
                            int64_t& timestamp_delta) {
  ByteReader in(body);
  if (!in.U8().has_value()) return "it has no attributes";
  const auto timestamp = in.Varint64();
  if (!timestamp.has_value()) return "its timestamp delta is malformed";
  timestamp_delta = *timestamp;
  const auto offset = in.Varint32();
  if (!offset.has_value()) return "its offset delta is malformed";
  record.offset_delta = *offset;
  if (!ReadBytes(in, record.key)) return "its key is malformed";
  if (!ReadBytes(in, record.value)) return "its value is malformed";
  const auto headers = in.Varint32();
  if (!headers.has_value()) return "its header count is malformed";
  // A header takes two bytes at least: a larger count is a lie, found before
  // anything is done about it.
  if (*headers < 0 || static_cast<size_t>(*headers) > in.remaining() / 2) {
    return "its header count is negative or more than fits";
  }
  record.header_count = *headers;
  const size_t start = in.position();
  const std::string_view fault = CheckHeaders(in, *headers);
  if (!fault.empty()) return fault;
  record.encoded_headers = body.substr(start, in.position() - start);
  if (in.remaining() != 0) return "its size does not match its fields";
  return "";
}

}  // namespace

std::optional<RecordHeaderView> HeaderCursor::Next() {
  if (left_ == 0) return std::nullopt;
  --left_;
  std::optional<std::string_view> key;
  RecordHeaderView header;
  if (!ReadBytes(reader_, key) || !ReadBytes(reader_, header.value)) {
    return std::nullopt;
  }
  header.key = key.value_or("");
  return header;
}

absl::StatusOr<RecordReader> RecordReader::Open(const BatchView& batch) {
  const BatchHeader& header = batch.header();
  if (!header.is_compressed()) {
    return RecordReader(header, batch.records());
  }
  ASSIGN_OR_RETURN(
      std::string plain,
      Decompress(static_cast<Codec>(header.codec_number()), batch.records(),
                 DecompressedBytesLimit(
                     static_cast<int64_t>(batch.records().size()))));
  Buffer decompressed = Buffer::Take(std::move(plain));
  RecordReader reader(header, decompressed.view());
  reader.decompressed_ = std::move(decompressed);
  return reader;
}

absl::StatusOr<std::optional<DecodedRecord>> RecordReader::Next() {
  if (index_ + 1 >= header_.record_count) {
    if (rest_.remaining() != 0) {
      return MakeError(ErrorCode::kInvalidRecord, rest_.remaining(),
                       " bytes follow the last of ", header_.record_count,
                       " records");
    }
    return std::optional<DecodedRecord>();
  }
  ++index_;
  const auto length = rest_.Varint32();
  const auto body = length.has_value() && *length >= 0
                        ? rest_.Bytes(static_cast<size_t>(*length))
                        : std::nullopt;
  if (!body.has_value()) {
    return MakeError(ErrorCode::kInvalidRecord, "record ", index_,
                     " is malformed: its length does not fit the batch");
  }
  DecodedRecord record;
  int64_t timestamp_delta = 0;
  const std::string_view fault = DecodeBody(*body, record, timestamp_delta);
  if (!fault.empty()) {
    return MakeError(ErrorCode::kInvalidRecord, "record ", index_,
                     " is malformed: ", fault);
  }
  record.offset = header_.base_offset + record.offset_delta;
  // Wraps like the encoder's difference does.
  record.timestamp_ms =
      (header_.attributes & kLogAppendTimeBit) != 0
          ? header_.max_timestamp_ms
          : static_cast<int64_t>(
                static_cast<uint64_t>(header_.base_timestamp_ms) +
                static_cast<uint64_t>(timestamp_delta));
  return std::optional<DecodedRecord>(record);
}

}  // namespace sluice
