// Big-endian loads and stores and zigzag varints: Kafka's byte order, on disk
// and on the wire.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

inline uint16_t LoadBig16(const char* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap16(v);
}
inline uint32_t LoadBig32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap32(v);
}
inline uint64_t LoadBig64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap64(v);
}
inline void StoreBig16(char* p, uint16_t v) {
  v = __builtin_bswap16(v);
  std::memcpy(p, &v, sizeof v);
}
inline void StoreBig32(char* p, uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}
inline void StoreBig64(char* p, uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}

// Appends at the end of a string.
void PutBig16(std::string& out, uint16_t v);
void PutBig32(std::string& out, uint32_t v);
void PutBig64(std::string& out, uint64_t v);
// Zigzag LEB128, at most 5 and 10 bytes.
void PutVarint32(std::string& out, int32_t v);
void PutVarint64(std::string& out, int64_t v);
int VarintSize(int64_t v);

// Reads forward over bytes it does not own. A read past the end or a varint
// over its length returns nullopt and leaves the position where it was.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  std::optional<uint8_t> U8();
  std::optional<uint16_t> Big16();
  std::optional<uint32_t> Big32();
  std::optional<uint64_t> Big64();
  std::optional<int32_t> Varint32();
  std::optional<int64_t> Varint64();
  std::optional<std::string_view> Bytes(size_t count);

 private:
  std::optional<uint64_t> RawVarint(int max_bytes);

  std::string_view bytes_;
  size_t position_ = 0;
};

}  // namespace sluice
