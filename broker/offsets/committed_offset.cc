#include "broker/offsets/committed_offset.h"

#include <utility>

#include "common/base/bytes.h"
#include "common/base/invariant.h"

namespace sluice::offsets {
namespace {

constexpr char kAppliedTag = 'm';
constexpr char kGroupTag = 'g';
constexpr char kOffsetTag = 'o';
constexpr uint8_t kVersion = 1;
constexpr size_t kUuidBytes = 16;
// Of a value, with the longest length of metadata: version, offset, epoch,
// time, record's offset, origin.
constexpr size_t kFixedBytes = 1 + 8 + 4 + 8 + 8 + 1 + 5;

std::string OffsetKeyPrefix(std::string_view group) {
  INVARIANT(group.size() <= UINT16_MAX, "a group id of ", group.size(),
            " bytes");
  std::string key;
  key.reserve(sizeof(kOffsetTag) + sizeof(uint16_t) + group.size() +
              kUuidBytes + sizeof(uint32_t));
  key.push_back(kOffsetTag);
  PutBig16(key, static_cast<uint16_t>(group.size()));
  key += group;
  return key;
}

template <class T, class Raw>
bool Read(std::optional<Raw> raw, T& value) {
  if (!raw.has_value()) return false;
  value = T(static_cast<typename T::Underlying>(*raw));
  return true;
}

bool ReadVersion(ByteReader& reader) {
  const auto version = reader.U8();
  return version.has_value() && *version == kVersion;
}

}  // namespace

// ---- Keys ----

std::string AppliedKey() { return std::string(1, kAppliedTag); }

std::string EncodeGroupKey(std::string_view group) {
  return std::string(1, kGroupTag) + std::string(group);
}

std::string EncodeOffsetKey(const OffsetKey& key) {
  std::string out = OffsetKeyPrefix(key.group);
  out += key.partition.topic_id.ToBytes();
  PutBig32(out, static_cast<uint32_t>(key.partition.partition.value()));
  return out;
}

std::pair<std::string, std::string> OffsetKeyRange(std::string_view group) {
  const std::string first = OffsetKeyPrefix(group);
  // No uuid is longer: nothing of the group sorts behind this.
  return {first, first + std::string(kUuidBytes + sizeof(uint32_t) + 1, '\xff')};
}

std::optional<OffsetKey> DecodeOffsetKey(std::string_view key) {
  ByteReader reader(key);
  const auto tag = reader.U8();
  if (!tag.has_value() || *tag != kOffsetTag) return std::nullopt;
  const auto length = reader.Big16();
  if (!length.has_value()) return std::nullopt;
  const auto group = reader.Bytes(*length);
  if (!group.has_value()) return std::nullopt;
  const auto id = reader.Bytes(kUuidBytes);
  if (!id.has_value()) return std::nullopt;
  OffsetKey out = {.group = std::string(*group)};
  out.partition.topic_id = *TopicId::FromBytes(*id);
  if (!Read(reader.Big32(), out.partition.partition)) return std::nullopt;
  if (reader.remaining() > 0) return std::nullopt;
  return out;
}

std::optional<std::string> DecodeGroupKey(std::string_view key) {
  if (key.empty() || key.front() != kGroupTag) return std::nullopt;
  return std::string(key.substr(1));
}

// ---- Values ----

std::string EncodeCommittedOffset(const CommittedOffset& committed) {
  // Every replica encodes every commit: one allocation.
  const size_t metadata_bytes =
      committed.metadata.has_value() ? committed.metadata->size() : 0;
  std::string out;
  out.reserve(kFixedBytes + metadata_bytes + committed.member.size());
  out.push_back(static_cast<char>(kVersion));
  PutBig64(out, static_cast<uint64_t>(committed.offset.value()));
  PutBig32(out, static_cast<uint32_t>(committed.leader_epoch.value()));
  PutBig64(out, static_cast<uint64_t>(committed.time_ms));
  PutBig64(out, static_cast<uint64_t>(committed.record_offset.value()));
  out.push_back(static_cast<char>(committed.origin));
  if (committed.metadata.has_value()) {
    PutVarint32(out, static_cast<int32_t>(committed.metadata->size()) + 1);
    out += *committed.metadata;
  } else {
    PutVarint32(out, 0);
  }
  out += committed.member;
  return out;
}

std::optional<CommittedOffset> DecodeCommittedOffset(std::string_view value) {
  ByteReader reader(value);
  if (!ReadVersion(reader)) return std::nullopt;
  CommittedOffset committed;
  if (!Read(reader.Big64(), committed.offset)) return std::nullopt;
  if (!Read(reader.Big32(), committed.leader_epoch)) return std::nullopt;
  const auto time_ms = reader.Big64();
  if (!time_ms.has_value()) return std::nullopt;
  committed.time_ms = static_cast<int64_t>(*time_ms);
  if (!Read(reader.Big64(), committed.record_offset)) return std::nullopt;
  const auto origin = reader.U8();
  if (!origin.has_value() ||
      *origin > static_cast<uint8_t>(Origin::kImport)) {
    return std::nullopt;
  }
  committed.origin = static_cast<Origin>(*origin);
  const size_t at = reader.position();
  const auto length = reader.Varint32();
  if (!length.has_value() || *length < 0) return std::nullopt;
  // A padded varint would be a second form of the same value.
  if (reader.position() - at != static_cast<size_t>(VarintSize(*length))) {
    return std::nullopt;
  }
  if (*length > 0) {
    const auto metadata = reader.Bytes(static_cast<size_t>(*length) - 1);
    if (!metadata.has_value()) return std::nullopt;
    committed.metadata.emplace(*metadata);
  }
  committed.member = *reader.Bytes(reader.remaining());
  return committed;
}

std::string EncodeApplied(const Applied& applied) {
  std::string out(1, static_cast<char>(kVersion));
  PutBig64(out, static_cast<uint64_t>(applied.next.value()));
  PutBig32(out, static_cast<uint32_t>(applied.epoch.value()));
  return out;
}

std::optional<Applied> DecodeApplied(std::string_view value) {
  ByteReader reader(value);
  Applied applied;
  if (!ReadVersion(reader) || !Read(reader.Big64(), applied.next) ||
      !Read(reader.Big32(), applied.epoch) || reader.remaining() > 0) {
    return std::nullopt;
  }
  return applied;
}

}  // namespace sluice::offsets
