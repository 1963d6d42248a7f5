// Strong types for every number that names something. A value of one type
// never converts into another, so an Offset cannot be passed for a LogIndex.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

namespace sluice {

// A number with a name. Adding a plain count keeps the type; the difference
// of two values is a plain count.
template <class Tag, class Rep>
class StrongNumber {
 public:
  using Underlying = Rep;

  constexpr StrongNumber() = default;
  constexpr explicit StrongNumber(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }

  constexpr auto operator<=>(const StrongNumber&) const = default;

  constexpr StrongNumber operator+(Rep count) const {
    return StrongNumber(value_ + count);
  }
  constexpr StrongNumber operator-(Rep count) const {
    return StrongNumber(value_ - count);
  }
  constexpr Rep operator-(StrongNumber other) const {
    return value_ - other.value_;
  }
  constexpr StrongNumber& operator+=(Rep count) {
    value_ += count;
    return *this;
  }
  constexpr StrongNumber Next() const { return StrongNumber(value_ + 1); }

  friend std::ostream& operator<<(std::ostream& out, StrongNumber n) {
    return out << n.value_;
  }
  template <class H>
  friend H AbslHashValue(H h, const StrongNumber& n) {
    return H::combine(std::move(h), n.value_);
  }

 private:
  Rep value_ = 0;
};

// A controller or broker. Positive; 0 is unset, -1 is "none" where allowed.
using NodeId = StrongNumber<struct NodeIdTag, int32_t>;
// The index of a partition in its topic, from 0.
using PartitionIndex = StrongNumber<struct PartitionIndexTag, int32_t>;
// A position in a partition's log. Half-open ranges: [base, next).
using Offset = StrongNumber<struct OffsetTag, int64_t>;
// Rises with each leader change of a partition; stored in each batch.
using LeaderEpoch = StrongNumber<struct LeaderEpochTag, int32_t>;
// Rises with each change of a partition's record in the metadata.
using PartitionEpoch = StrongNumber<struct PartitionEpochTag, int32_t>;
// The metadata offset of a broker's registration: one incarnation.
using BrokerEpoch = StrongNumber<struct BrokerEpochTag, int64_t>;
// Raft.
using Term = StrongNumber<struct TermTag, int64_t>;
using LogIndex = StrongNumber<struct LogIndexTag, int64_t>;
using ProducerId = StrongNumber<struct ProducerIdTag, int64_t>;

inline constexpr NodeId kNoNode{-1};
inline constexpr LeaderEpoch kNoLeaderEpoch{-1};
inline constexpr BrokerEpoch kNoBrokerEpoch{-1};
inline constexpr Offset kNoOffset{-1};
inline constexpr ProducerId kNoProducerId{-1};

// 128 random bits; all zero is "unset".
class Uuid {
 public:
  constexpr Uuid() = default;
  constexpr Uuid(uint64_t high, uint64_t low) : high_(high), low_(low) {}

  // 16 big-endian bytes, as on disk and wire. Empty input gives the unset
  // uuid; any other length than 16 gives nullopt.
  static std::optional<Uuid> FromBytes(std::string_view bytes);
  // 32 hex digits, as printed by ToString().
  static std::optional<Uuid> FromString(std::string_view text);

  std::string ToBytes() const;
  std::string ToString() const;
  constexpr bool is_set() const { return high_ != 0 || low_ != 0; }
  constexpr uint64_t high() const { return high_; }
  constexpr uint64_t low() const { return low_; }

  constexpr auto operator<=>(const Uuid&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Uuid& id) {
    return out << id.ToString();
  }
  template <class H>
  friend H AbslHashValue(H h, const Uuid& id) {
    return H::combine(std::move(h), id.high_, id.low_);
  }

 private:
  uint64_t high_ = 0;
  uint64_t low_ = 0;
};

template <class Tag>
class TypedUuid : public Uuid {
 public:
  constexpr TypedUuid() = default;
  constexpr explicit TypedUuid(const Uuid& id) : Uuid(id) {}
  static std::optional<TypedUuid> FromBytes(std::string_view bytes) {
    auto id = Uuid::FromBytes(bytes);
    if (!id.has_value()) return std::nullopt;
    return TypedUuid(*id);
  }
};

using ClusterId = TypedUuid<struct ClusterIdTag>;
using TopicId = TypedUuid<struct TopicIdTag>;
using DirectoryId = TypedUuid<struct DirectoryIdTag>;
using IncarnationId = TypedUuid<struct IncarnationIdTag>;

// A partition by its topic's id: survives the topic's deletion and the reuse
// of its name (MD7).
struct TopicPartition {
  TopicId topic_id;
  PartitionIndex partition;

  auto operator<=>(const TopicPartition&) const = default;
  std::string ToString() const {
    return topic_id.ToString() + "-" + std::to_string(partition.value());
  }
  template <class H>
  friend H AbslHashValue(H h, const TopicPartition& tp) {
    return H::combine(std::move(h), tp.topic_id, tp.partition);
  }
};

}  // namespace sluice
