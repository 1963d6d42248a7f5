// An input as a stream of choices. Past its end every choice is 0, so that any
// bytes are some input and a prefix of one is another.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "common/base/bytes.h"

namespace sluice::fuzz {

// Numbers are big-endian and of a fixed width: a seed is written with the
// Put functions of common/base/bytes.h.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }

  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Number(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Number(4)); }
  uint64_t U64() { return Number(8); }
  int8_t I8() { return static_cast<int8_t>(Number(1)); }
  // One byte, modulo; bound > 0.
  uint8_t Below(uint8_t bound) { return static_cast<uint8_t>(U8() % bound); }
  // At most `count` bytes: fewer at the end.
  std::string_view Bytes(size_t count) {
    const std::string_view bytes =
        rest_.substr(0, std::min(count, rest_.size()));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }
  // A length of two bytes, then so many.
  std::string_view Piece() {
    const uint16_t length = U16();
    return Bytes(length);
  }
  std::string_view Rest() { return Bytes(rest_.size()); }

 private:
  uint64_t Number(size_t width) {
    uint64_t value = 0;
    for (const char c : Bytes(width)) {
      value = value << 8 | static_cast<uint8_t>(c);
    }
    return value;
  }

  std::string_view rest_;
};

}  // namespace sluice::fuzz
