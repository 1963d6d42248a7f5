#include "broker/offsets/coordinator_partition.h"

#include <cstdlib>
#include <limits>

#include "common/base/invariant.h"

namespace sluice::offsets {
namespace {

constexpr uint32_t kReplacement = 0xfffd;

// The code point at the front, which is removed.
uint32_t NextCodePoint(std::string_view& text) {
  const auto byte = [&text](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const uint8_t first = byte(0);
  size_t length = 1;
  uint32_t point = first;
  uint32_t least = 0;
  if (first >= 0xf0 && first < 0xf8) {
    length = 4, point = first & 0x07, least = 0x10000;
  } else if (first >= 0xe0 && first < 0xf0) {
    length = 3, point = first & 0x0f, least = 0x800;
  } else if (first >= 0xc0 && first < 0xe0) {
    length = 2, point = first & 0x1f, least = 0x80;
  } else if (first >= 0x80) {
    point = kReplacement;
  }
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) {
      text.remove_prefix(1);
      return kReplacement;
    }
    point = point << 6 | (byte(i) & 0x3f);
  }
  const bool surrogate = point >= 0xd800 && point < 0xe000;
  if (point < least || point > 0x10ffff || (length > 1 && surrogate)) {
    text.remove_prefix(1);
    return kReplacement;
  }
  text.remove_prefix(length);
  return point;
}

}  // namespace

int32_t JavaStringHash(std::string_view utf8) {
  uint32_t hash = 0;
  while (!utf8.empty()) {
    const uint32_t point = NextCodePoint(utf8);
    if (point < 0x10000) {
      hash = 31 * hash + point;
    } else {
      hash = 31 * hash + (0xd800 + ((point - 0x10000) >> 10));
      hash = 31 * hash + (0xdc00 + ((point - 0x10000) & 0x3ff));
    }
  }
  return static_cast<int32_t>(hash);
}

PartitionIndex CoordinatorPartition(std::string_view group_id,
                                    int32_t partition_count) {
  INVARIANT(partition_count > 0, partition_count, " partitions");
  const int32_t hash = JavaStringHash(group_id);
  const int32_t positive =
      hash == std::numeric_limits<int32_t>::min() ? 0 : std::abs(hash);
  return PartitionIndex(positive % partition_count);
}

}  // namespace sluice::offsets
