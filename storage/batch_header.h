// Kafka's RecordBatch v2: the 61-byte header and whole batches in memory
// (storage/FORMAT.md; kafka-semantics.md 4.1). Values and views; no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/buffer.h"
#include "common/base/ids.h"

namespace sluice {

inline constexpr size_t kBatchHeaderBytes = 61;
// What batchLength does not count: base offset and itself.
inline constexpr size_t kBatchLengthPrefixBytes = 12;
inline constexpr int8_t kBatchMagic = 2;
// The CRC covers from the attributes to the end.
inline constexpr size_t kBatchCrcFrom = 21;

inline constexpr uint16_t kCodecBits = 0x0007;
inline constexpr uint16_t kLogAppendTimeBit = 0x0008;
inline constexpr uint16_t kTransactionalBit = 0x0010;
inline constexpr uint16_t kControlBit = 0x0020;
inline constexpr uint16_t kDeleteHorizonBit = 0x0040;
inline constexpr uint16_t kUnusedAttributeBits = 0xff80;

enum class Codec : uint8_t {
  kNone = 0,
  kGzip = 1,
  kSnappy = 2,
  kLz4 = 3,
  kZstd = 4,
};

// The fields as stored; Parse judges nothing but the number of bytes.
struct BatchHeader {
  Offset base_offset;
  int32_t batch_length = 0;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  int8_t magic = kBatchMagic;
  uint32_t crc = 0;
  uint16_t attributes = 0;
  int32_t last_offset_delta = 0;
  int64_t base_timestamp_ms = -1;
  int64_t max_timestamp_ms = -1;
  ProducerId producer_id{-1};
  int16_t producer_epoch = -1;
  int32_t base_sequence = -1;
  int32_t record_count = 0;

  // nullopt when there are fewer than kBatchHeaderBytes.
  static std::optional<BatchHeader> Parse(std::string_view bytes);
  // Writes kBatchHeaderBytes.
  void Store(char* out) const;

  int64_t size_bytes() const {
    return static_cast<int64_t>(kBatchLengthPrefixBytes) + batch_length;
  }
  Offset last_offset() const { return base_offset + last_offset_delta; }
  Offset next_offset() const { return last_offset().Next(); }
  int codec_number() const { return attributes & kCodecBits; }
  bool is_compressed() const { return codec_number() != 0; }

  // What any stored or received batch satisfies before a byte of it is
  // trusted: magic 2, a length that holds the header, offsets that do not
  // overflow. CORRUPT_MESSAGE else.
  absl::Status CheckShape() const;

  bool operator==(const BatchHeader&) const = default;
};

// One whole batch in bytes somebody else owns.
class BatchView {
 public:
  // The batch at the front of `bytes`, which may go on behind it. Checks the
  // shape and that the batch lies inside; not the CRC. CORRUPT_MESSAGE.
  static absl::StatusOr<BatchView> Parse(std::string_view bytes);

  const BatchHeader& header() const { return header_; }
  std::string_view bytes() const { return bytes_; }
  // What follows the header: records, or one compressed block.
  std::string_view records() const {
    return bytes_.substr(kBatchHeaderBytes);
  }
  bool CrcMatches() const;

 private:
  BatchView(const BatchHeader& header, std::string_view bytes)
      : header_(header), bytes_(bytes) {}

  BatchHeader header_;
  std::string_view bytes_;
};

// Walks batches that lie one behind the other.
class BatchCursor {
 public:
  explicit BatchCursor(std::string_view bytes) : rest_(bytes) {}

  // nullopt at the end; CORRUPT_MESSAGE where no whole batch begins.
  absl::StatusOr<std::optional<BatchView>> Next();
  // Bytes walked over so far.
  size_t position() const { return position_; }

 private:
  std::string_view rest_;
  size_t position_ = 0;
};

// Gives the batches of a payload their offsets from `base` on, in order, and
// their leader epoch: patches fields outside the CRC. Returns the next offset.
// CORRUPT_MESSAGE, with some batches patched, when the payload is no row of
// whole batches (ValidateProduced tells so before).
absl::StatusOr<Offset> AssignOffsets(MutableBuffer& batches, Offset base,
                                     LeaderEpoch epoch);

}  // namespace sluice
