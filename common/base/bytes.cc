#include "common/base/bytes.h"

namespace sluice {
namespace {

void PutRawVarint(std::string& out, uint64_t v) {
  while (v >= 0x80) {
    out.push_back(static_cast<char>(v | 0x80));
    v >>= 7;
  }
  out.push_back(static_cast<char>(v));
}

uint64_t ZigZag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}

int64_t UnZigZag(uint64_t v) {
  return static_cast<int64_t>((v >> 1) ^ (~(v & 1) + 1));
}

}  // namespace

void PutBig16(std::string& out, uint16_t v) {
  char raw[2];
  StoreBig16(raw, v);
  out.append(raw, sizeof raw);
}

void PutBig32(std::string& out, uint32_t v) {
  char raw[4];
  StoreBig32(raw, v);
  out.append(raw, sizeof raw);
}

void PutBig64(std::string& out, uint64_t v) {
  char raw[8];
  StoreBig64(raw, v);
  out.append(raw, sizeof raw);
}

void PutVarint32(std::string& out, int32_t v) { PutRawVarint(out, ZigZag(v)); }
void PutVarint64(std::string& out, int64_t v) { PutRawVarint(out, ZigZag(v)); }

int VarintSize(int64_t v) {
  uint64_t raw = ZigZag(v);
  int size = 1;
  while (raw >= 0x80) {
    raw >>= 7;
    ++size;
  }
  return size;
}

std::optional<uint8_t> ByteReader::U8() {
  if (remaining() < 1) return std::nullopt;
  return static_cast<uint8_t>(bytes_[position_++]);
}

std::optional<uint16_t> ByteReader::Big16() {
  if (remaining() < 2) return std::nullopt;
  position_ += 2;
  return LoadBig16(bytes_.data() + position_ - 2);
}

std::optional<uint32_t> ByteReader::Big32() {
  if (remaining() < 4) return std::nullopt;
  position_ += 4;
  return LoadBig32(bytes_.data() + position_ - 4);
}

std::optional<uint64_t> ByteReader::Big64() {
  if (remaining() < 8) return std::nullopt;
  position_ += 8;
  return LoadBig64(bytes_.data() + position_ - 8);
}

std::optional<uint64_t> ByteReader::RawVarint(int max_bytes) {
  uint64_t value = 0;
  for (int i = 0; i < max_bytes; ++i) {
    if (position_ + i >= bytes_.size()) return std::nullopt;
    const auto byte = static_cast<uint8_t>(bytes_[position_ + i]);
    // The tenth byte of a 64-bit varint has room for one bit.
    if (i == 9 && byte > 1) return std::nullopt;
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      position_ += i + 1;
      return value;
    }
  }
  return std::nullopt;
}

std::optional<int32_t> ByteReader::Varint32() {
  const size_t start = position_;
  const auto raw = RawVarint(5);
  if (!raw.has_value()) return std::nullopt;
  if (*raw > UINT32_MAX) {
    position_ = start;
    return std::nullopt;
  }
  return static_cast<int32_t>(UnZigZag(*raw));
}

std::optional<int64_t> ByteReader::Varint64() {
  const auto raw = RawVarint(10);
  if (!raw.has_value()) return std::nullopt;
  return UnZigZag(*raw);
}

std::optional<std::string_view> ByteReader::Bytes(size_t count) {
  if (remaining() < count) return std::nullopt;
  position_ += count;
  return bytes_.substr(position_ - count, count);
}

}  // namespace sluice
