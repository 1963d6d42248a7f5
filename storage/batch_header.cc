#include "storage/batch_header.h"

#include <limits>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {

std::optional<BatchHeader> BatchHeader::Parse(std::string_view bytes) {
  if (bytes.size() < kBatchHeaderBytes) return std::nullopt;
  const char* p = bytes.data();
  BatchHeader h;
  h.base_offset = Offset(static_cast<int64_t>(LoadBig64(p)));
  h.batch_length = static_cast<int32_t>(LoadBig32(p + 8));
  h.leader_epoch = LeaderEpoch(static_cast<int32_t>(LoadBig32(p + 12)));
  h.magic = static_cast<int8_t>(p[16]);
  h.crc = LoadBig32(p + 17);
  h.attributes = LoadBig16(p + 21);
  h.last_offset_delta = static_cast<int32_t>(LoadBig32(p + 23));
  h.base_timestamp_ms = static_cast<int64_t>(LoadBig64(p + 27));
  h.max_timestamp_ms = static_cast<int64_t>(LoadBig64(p + 35));
  h.producer_id = ProducerId(static_cast<int64_t>(LoadBig64(p + 43)));
  h.producer_epoch = static_cast<int16_t>(LoadBig16(p + 51));
  h.base_sequence = static_cast<int32_t>(LoadBig32(p + 53));
  h.record_count = static_cast<int32_t>(LoadBig32(p + 57));
  return h;
}

void BatchHeader::Store(char* out) const {
  StoreBig64(out, static_cast<uint64_t>(base_offset.value()));
  StoreBig32(out + 8, static_cast<uint32_t>(batch_length));
  StoreBig32(out + 12, static_cast<uint32_t>(leader_epoch.value()));
  out[16] = static_cast<char>(magic);
  StoreBig32(out + 17, crc);
  StoreBig16(out + 21, attributes);
  StoreBig32(out + 23, static_cast<uint32_t>(last_offset_delta));
  StoreBig64(out + 27, static_cast<uint64_t>(base_timestamp_ms));
  StoreBig64(out + 35, static_cast<uint64_t>(max_timestamp_ms));
  StoreBig64(out + 43, static_cast<uint64_t>(producer_id.value()));
  StoreBig16(out + 51, static_cast<uint16_t>(producer_epoch));
  StoreBig32(out + 53, static_cast<uint32_t>(base_sequence));
  StoreBig32(out + 57, static_cast<uint32_t>(record_count));
}

absl::Status BatchHeader::CheckShape() const {
  if (magic != kBatchMagic) {
    return MakeError(ErrorCode::kCorruptMessage, "record batch has magic ",
                     static_cast<int>(magic), ", expected 2");
  }
  constexpr auto kLengthMin =
      static_cast<int32_t>(kBatchHeaderBytes - kBatchLengthPrefixBytes);
  if (batch_length < kLengthMin ||
      batch_length > std::numeric_limits<int32_t>::max() -
                         static_cast<int32_t>(kBatchLengthPrefixBytes)) {
    return MakeError(ErrorCode::kCorruptMessage, "record batch has length ",
                     batch_length, ", at least ", kLengthMin, " expected");
  }
  constexpr int64_t kOffsetMax = std::numeric_limits<int64_t>::max() -
                                 std::numeric_limits<int32_t>::max() - 1LL;
  if (last_offset_delta < 0 || base_offset.value() < 0 ||
      base_offset.value() > kOffsetMax) {
    return MakeError(ErrorCode::kCorruptMessage, "record batch has base offset ",
                     base_offset, " and last offset delta ",
                     last_offset_delta);
  }
  return absl::OkStatus();
}

absl::StatusOr<BatchView> BatchView::Parse(std::string_view bytes) {
  const auto header = BatchHeader::Parse(bytes);
  if (!header.has_value()) {
    return MakeError(ErrorCode::kCorruptMessage, "record batch has ",
                     bytes.size(), " bytes, its header alone takes ",
                     kBatchHeaderBytes);
  }
  RETURN_IF_ERROR(header->CheckShape());
  if (header->size_bytes() > static_cast<int64_t>(bytes.size())) {
    return MakeError(ErrorCode::kCorruptMessage, "record batch says ",
                     header->size_bytes(), " bytes, ", bytes.size(),
                     " are there");
  }
  return BatchView(*header,
                   bytes.substr(0, static_cast<size_t>(header->size_bytes())));
}

bool BatchView::CrcMatches() const {
  return Crc32c(bytes_.substr(kBatchCrcFrom)) == header_.crc;
}

absl::StatusOr<std::optional<BatchView>> BatchCursor::Next() {
  if (rest_.empty()) return std::optional<BatchView>();
  ASSIGN_OR_RETURN(BatchView batch, BatchView::Parse(rest_));
  rest_.remove_prefix(batch.bytes().size());
  position_ += batch.bytes().size();
  return std::optional<BatchView>(std::move(batch));
}

absl::StatusOr<Offset> AssignOffsets(MutableBuffer& batches, Offset base,
                                     LeaderEpoch epoch) {
  BatchCursor cursor(batches.view());
  for (;;) {
    const size_t at = cursor.position();
    ASSIGN_OR_RETURN(const auto batch, cursor.Next());
    if (!batch.has_value()) return base;
    char* out = batches.data() + at;
    StoreBig64(out, static_cast<uint64_t>(base.value()));
    StoreBig32(out + 12, static_cast<uint32_t>(epoch.value()));
    base = base + batch->header().last_offset_delta + 1;
  }
}

}  // namespace sluice
