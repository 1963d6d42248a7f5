// Keys and values of the view of __consumer_offsets (broker/offsets), as a
// damaged store would give them back.
//
// Property: refused, or just the bytes that the encoder makes of what was read:
// no two forms of one key or value. A group id of any bytes has a coordinator.
//
// Input: a key or a value.
#include <cstdint>
#include <string_view>

#include "broker/offsets/committed_offset.h"
#include "broker/offsets/coordinator_partition.h"
#include "common/base/invariant.h"

namespace sluice::fuzz {
namespace {

void CheckBytes(std::string_view bytes) {
  if (const auto key = offsets::DecodeOffsetKey(bytes); key.has_value()) {
    INVARIANT(offsets::EncodeOffsetKey(*key) == bytes, "another key");
    const auto [from, end] = offsets::OffsetKeyRange(key->group);
    INVARIANT(from <= bytes && bytes < end, "a key outside its group");
  }
  if (const auto group = offsets::DecodeGroupKey(bytes); group.has_value()) {
    INVARIANT(offsets::EncodeGroupKey(*group) == bytes, "another group");
  }
  if (const auto v = offsets::DecodeCommittedOffset(bytes); v.has_value()) {
    INVARIANT(offsets::EncodeCommittedOffset(*v) == bytes, "another value");
  }
  if (const auto a = offsets::DecodeApplied(bytes); a.has_value()) {
    INVARIANT(offsets::EncodeApplied(*a) == bytes, "another mark");
  }
  const PartitionIndex p = offsets::CoordinatorPartition(bytes, 16);
  INVARIANT(p >= PartitionIndex(0) && p < PartitionIndex(16), "partition ", p);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::CheckBytes(
      std::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
