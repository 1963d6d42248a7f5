// A committed offset, and the keys and values under which a view of
// __consumer_offsets keeps what its log says.
//
//   key    'm'                                          what is applied
//          'g' | group                                  the group itself
//          'o' | length of group u16 | group | topic id 16 | partition u32
//   value  of 'o': version u8 = 1 | offset i64 | leader epoch i32 |
//          time i64 (ms) | record offset i64 | origin u8 | length of metadata
//          plus one varint, 0 for null | metadata | member
//
// Big-endian. The owner of the store puts its own prefix in front of the keys.
// With a group of 20 bytes an offset takes 43 bytes of key and 31 of value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/ids.h"

namespace sluice::offsets {

// Who committed: kept so that an operator can be told.
enum class Origin : uint8_t { kMember = 0, kAdmin = 1, kImport = 2 };

struct CommittedOffset {
  Offset offset;
  LeaderEpoch leader_epoch = kNoLeaderEpoch;  // of the last record read
  int64_t time_ms = 0;                        // when it was committed
  Offset record_offset;                       // of the commit's own record
  Origin origin = Origin::kMember;
  std::optional<std::string> metadata;  // the client's, opaque
  std::string member;                   // "": none

  bool operator==(const CommittedOffset&) const = default;
};

// One partition of one group. By id: a topic that is made again has no offsets
// of the old one.
struct OffsetKey {
  std::string group;
  TopicPartition partition;

  auto operator<=>(const OffsetKey&) const = default;
};

std::string EncodeOffsetKey(const OffsetKey& key);
std::string EncodeGroupKey(std::string_view group);
std::string AppliedKey();
// All offsets of a group: [first, second).
std::pair<std::string, std::string> OffsetKeyRange(std::string_view group);

std::string EncodeCommittedOffset(const CommittedOffset& committed);

// nullopt: not such a key or value. What is read is what was encoded, byte for
// byte.
std::optional<OffsetKey> DecodeOffsetKey(std::string_view key);
std::optional<std::string> DecodeGroupKey(std::string_view key);
std::optional<CommittedOffset> DecodeCommittedOffset(std::string_view value);

// How far a view has taken its log: all below `next`, whose last batch was of
// `epoch`.
struct Applied {
  Offset next;
  LeaderEpoch epoch = kNoLeaderEpoch;

  bool operator==(const Applied&) const = default;
};

// version u8 = 1 | next i64 | epoch i32
std::string EncodeApplied(const Applied& applied);
std::optional<Applied> DecodeApplied(std::string_view value);

}  // namespace sluice::offsets
