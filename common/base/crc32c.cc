#include "common/base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace sluice {
namespace {

// crc32_iscsi takes an int length.
constexpr size_t kChunkBytesMax = 1u << 30;

}  // namespace

uint32_t ExtendCrc32c(uint32_t crc, std::string_view bytes) {
  uint32_t raw = ~crc;
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kChunkBytesMax);
    raw = crc32_iscsi(reinterpret_cast<unsigned char*>(
                          const_cast<char*>(bytes.data())),
                      static_cast<int>(n), raw);
    bytes.remove_prefix(n);
  }
  return ~raw;
}

uint32_t Crc32c(std::string_view bytes) { return ExtendCrc32c(0, bytes); }

}  // namespace sluice
