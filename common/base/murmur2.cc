#include "common/base/murmur2.h"

#include <cstring>

namespace sluice {

int32_t Murmur2(std::string_view key) {
  constexpr uint32_t kSeed = 0x9747b28c;
  constexpr uint32_t kMultiplier = 0x5bd1e995;
  constexpr int kShift = 24;

  uint32_t h = kSeed ^ static_cast<uint32_t>(key.size());
  while (key.size() >= 4) {
    uint32_t k;  // little-endian, as on the JVM's byte arithmetic
    std::memcpy(&k, key.data(), 4);
    k *= kMultiplier;
    k ^= k >> kShift;
    k *= kMultiplier;
    h *= kMultiplier;
    h ^= k;
    key.remove_prefix(4);
  }
  uint32_t tail = 0;
  for (size_t i = key.size(); i > 0; --i) {
    tail = tail << 8 | static_cast<uint8_t>(key[i - 1]);
  }
  if (!key.empty()) {
    h ^= tail;
    h *= kMultiplier;
  }
  h ^= h >> 13;
  h *= kMultiplier;
  h ^= h >> 15;
  return static_cast<int32_t>(h);
}

PartitionIndex PartitionForKey(std::string_view key, int32_t partition_count) {
  return PartitionIndex((Murmur2(key) & 0x7fffffff) % partition_count);
}

}  // namespace sluice
