#include "common/consumer/consumer_protocol.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice::consumer {
namespace {

// ---- Writing ----

void PutString(std::string& out, const std::string& text) {
  INVARIANT(text.size() <= kStringBytesMax, "a string of ", text.size(),
            " bytes has no int16 length");
  PutBig16(out, static_cast<uint16_t>(text.size()));
  out += text;
}

void PutNullableBytes(std::string& out,
                      const std::optional<std::string>& bytes) {
  if (!bytes.has_value()) return PutBig32(out, static_cast<uint32_t>(-1));
  INVARIANT(bytes->size() <= std::numeric_limits<int32_t>::max(),
            "user data of ", bytes->size(), " bytes");
  PutBig32(out, static_cast<uint32_t>(bytes->size()));
  out += *bytes;
}

// A topic and its partitions, in the order given.
struct TopicEntry {
  const std::string* topic;
  std::vector<PartitionIndex> partitions;
};

std::vector<TopicEntry> ByTopic(const std::vector<NamedPartition>& partitions) {
  std::vector<TopicEntry> entries;
  for (const NamedPartition& p : partitions) {
    // Neighbours mostly share their topic.
    auto entry = entries.end();
    if (!entries.empty() && *entries.back().topic == p.topic) {
      entry = entries.end() - 1;
    } else {
      entry = std::find_if(
          entries.begin(), entries.end(),
          [&p](const TopicEntry& e) { return *e.topic == p.topic; });
    }
    if (entry == entries.end()) {
      entries.push_back({&p.topic, {}});
      entry = entries.end() - 1;
    }
    entry->partitions.push_back(p.partition);
  }
  return entries;
}

void PutPartitions(std::string& out,
                   const std::vector<NamedPartition>& partitions) {
  const std::vector<TopicEntry> entries = ByTopic(partitions);
  PutBig32(out, static_cast<uint32_t>(entries.size()));
  for (const TopicEntry& entry : entries) {
    PutString(out, *entry.topic);
    PutBig32(out, static_cast<uint32_t>(entry.partitions.size()));
    for (PartitionIndex p : entry.partitions) {
      PutBig32(out, static_cast<uint32_t>(p.value()));
    }
  }
}

// ---- Reading ----

absl::Status Malformed(std::string_view field, const ByteReader& reader) {
  return MakeError(ErrorCode::kInvalidRequest, "ConsumerProtocol: no valid ",
                   field, " at byte ", reader.position(), ", ",
                   reader.remaining(), " bytes are left");
}

constexpr size_t kStringBytesMin = 2;
constexpr size_t kPartitionBytes = 4;
constexpr size_t kTopicEntryBytesMin = 6;

// A count that the bytes left can hold: no allocation is larger than what was
// received.
std::optional<size_t> Count(ByteReader& reader, size_t element_bytes_min) {
  const auto raw = reader.Big32();
  if (!raw.has_value()) return std::nullopt;
  const auto count = static_cast<int32_t>(*raw);
  if (count < 0) return std::nullopt;
  const auto elements = static_cast<size_t>(count);
  if (elements > reader.remaining() / element_bytes_min) return std::nullopt;
  return elements;
}

std::optional<std::string> String(ByteReader& reader) {
  const auto length = reader.Big16();
  if (!length.has_value() || *length > kStringBytesMax) return std::nullopt;
  const auto bytes = reader.Bytes(*length);
  if (!bytes.has_value()) return std::nullopt;
  return std::string(*bytes);
}

// False: no valid field.
bool NullableString(ByteReader& reader, std::optional<std::string>& text) {
  const auto length = reader.Big16();
  if (!length.has_value()) return false;
  text.reset();
  if (static_cast<int16_t>(*length) == -1) return true;
  if (*length > kStringBytesMax) return false;
  const auto bytes = reader.Bytes(*length);
  if (!bytes.has_value()) return false;
  text.emplace(*bytes);
  return true;
}

bool NullableBytes(ByteReader& reader, std::optional<std::string>& data) {
  const auto raw = reader.Big32();
  if (!raw.has_value()) return false;
  data.reset();
  const auto length = static_cast<int32_t>(*raw);
  if (length == -1) return true;
  if (length < 0) return false;
  const auto bytes = reader.Bytes(static_cast<size_t>(length));
  if (!bytes.has_value()) return false;
  data.emplace(*bytes);
  return true;
}

bool Topics(ByteReader& reader, std::vector<std::string>& topics) {
  const auto count = Count(reader, kStringBytesMin);
  if (!count.has_value()) return false;
  for (size_t i = 0; i < *count; ++i) {
    auto topic = String(reader);
    if (!topic.has_value()) return false;
    topics.push_back(*std::move(topic));
  }
  return true;
}

bool Partitions(ByteReader& reader, std::vector<NamedPartition>& partitions) {
  const auto topics = Count(reader, kTopicEntryBytesMin);
  if (!topics.has_value()) return false;
  // Each partition carries its topic's name: with a long name four bytes of
  // input would become a string of 32 KiB. So the names count too.
  constexpr size_t kNameBytesMax = size_t{64} << 20;
  size_t name_bytes = 0;
  for (size_t i = 0; i < *topics; ++i) {
    const auto topic = String(reader);
    if (!topic.has_value()) return false;
    const auto count = Count(reader, kPartitionBytes);
    if (!count.has_value()) return false;
    name_bytes += *count * topic->size();
    if (name_bytes > kNameBytesMax) return false;
    for (size_t j = 0; j < *count; ++j) {
      const auto partition = static_cast<int32_t>(*reader.Big32());
      partitions.push_back({*topic, PartitionIndex(partition)});
    }
  }
  return true;
}

// nullopt: too short, or a version below 0.
std::optional<int16_t> Version(ByteReader& reader) {
  const auto raw = reader.Big16();
  if (!raw.has_value()) return std::nullopt;
  const auto version = static_cast<int16_t>(*raw);
  if (version < 0) return std::nullopt;
  return std::min(version, kVersionMax);
}

}  // namespace

std::string EncodeSubscription(const Subscription& subscription) {
  INVARIANT(subscription.version >= 0 && subscription.version <= kVersionMax,
            "version ", subscription.version);
  std::vector<std::string> topics = subscription.topics;
  std::sort(topics.begin(), topics.end());
  std::string out;
  PutBig16(out, static_cast<uint16_t>(subscription.version));
  PutBig32(out, static_cast<uint32_t>(topics.size()));
  for (const std::string& topic : topics) PutString(out, topic);
  PutNullableBytes(out, subscription.user_data);
  if (subscription.version >= 1) {
    std::vector<NamedPartition> owned = subscription.owned;
    std::sort(owned.begin(), owned.end());
    PutPartitions(out, owned);
  }
  if (subscription.version >= 2) {
    PutBig32(out, static_cast<uint32_t>(subscription.generation));
  }
  if (subscription.version >= 3) {
    if (subscription.rack.has_value()) {
      PutString(out, *subscription.rack);
    } else {
      PutBig16(out, static_cast<uint16_t>(-1));
    }
  }
  return out;
}

std::string EncodeAssignment(const Assignment& assignment) {
  INVARIANT(assignment.version >= 0 && assignment.version <= kVersionMax,
            "version ", assignment.version);
  std::string out;
  PutBig16(out, static_cast<uint16_t>(assignment.version));
  PutPartitions(out, assignment.partitions);
  PutNullableBytes(out, assignment.user_data);
  return out;
}

absl::StatusOr<Subscription> DecodeSubscription(std::string_view bytes) {
  ByteReader reader(bytes);
  Subscription s;
  const auto version = Version(reader);
  if (!version.has_value()) return Malformed("version", reader);
  s.version = *version;
  if (!Topics(reader, s.topics)) return Malformed("topic list", reader);
  if (!NullableBytes(reader, s.user_data)) return Malformed("data", reader);
  if (s.version >= 1 && !Partitions(reader, s.owned)) {
    return Malformed("list of owned partitions", reader);
  }
  if (s.version >= 2) {
    const auto generation = reader.Big32();
    if (!generation.has_value()) return Malformed("generation", reader);
    s.generation = static_cast<int32_t>(*generation);
  }
  if (s.version >= 3 && !NullableString(reader, s.rack)) {
    return Malformed("rack", reader);
  }
  return s;
}

absl::StatusOr<Assignment> DecodeAssignment(std::string_view bytes) {
  ByteReader reader(bytes);
  Assignment a;
  const auto version = Version(reader);
  if (!version.has_value()) return Malformed("version", reader);
  a.version = *version;
  if (!Partitions(reader, a.partitions)) {
    return Malformed("list of partitions", reader);
  }
  if (!NullableBytes(reader, a.user_data)) return Malformed("data", reader);
  return a;
}

absl::StatusOr<std::vector<std::string>> DecodeSubscribedTopics(
    std::string_view bytes) {
  ByteReader reader(bytes);
  if (!Version(reader).has_value()) return Malformed("version", reader);
  std::vector<std::string> topics;
  if (!Topics(reader, topics)) return Malformed("topic list", reader);
  return topics;
}

std::string EncodeStickyUserData(const StickyUserData& data) {
  std::vector<NamedPartition> owned = data.owned;
  std::sort(owned.begin(), owned.end());
  std::string out;
  PutPartitions(out, owned);
  if (data.generation.has_value()) {
    PutBig32(out, static_cast<uint32_t>(*data.generation));
  }
  return out;
}

std::optional<StickyUserData> DecodeStickyUserData(std::string_view bytes) {
  ByteReader reader(bytes);
  StickyUserData data;
  if (!Partitions(reader, data.owned)) return std::nullopt;
  if (const auto generation = reader.Big32(); generation.has_value()) {
    data.generation = static_cast<int32_t>(*generation);
  }
  return data;
}

std::string EncodeCooperativeUserData(int32_t generation) {
  std::string out;
  PutBig32(out, static_cast<uint32_t>(generation));
  return out;
}

std::optional<int32_t> DecodeCooperativeUserData(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto generation = reader.Big32();
  if (!generation.has_value()) return std::nullopt;
  return static_cast<int32_t>(*generation);
}

}  // namespace sluice::consumer
