// Kafka's ConsumerProtocol: the bytes that members of a group of type
// "consumer" give to their leader (Subscription) and get from it (Assignment).
// The coordinator passes them on unread.
//
//   Subscription  version int16 | topics [string] | user data bytes
//     from v1       owned [topic string, [int32]]
//     from v2       generation int32
//     from v3       rack nullable string
//   Assignment    version int16 | [topic string, [int32]] | user data bytes
//
// Big-endian; a string has an int16 length, an array an int32 count, bytes an
// int32 length with -1 for null. A version above 3 reads as 3: later ones only
// append. Bytes after the last field are ignored for the same reason.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/consumer/named_partition.h"

namespace sluice::consumer {

inline constexpr std::string_view kProtocolType = "consumer";
inline constexpr int16_t kVersionMax = 3;
// A member that has never been given an assignment.
inline constexpr int32_t kNoOwnedGeneration = -1;
inline constexpr size_t kStringBytesMax = 32767;

struct Subscription {
  int16_t version = kVersionMax;
  std::vector<std::string> topics;
  std::optional<std::string> user_data;
  std::vector<NamedPartition> owned;
  int32_t generation = kNoOwnedGeneration;  // of `owned`
  std::optional<std::string> rack;

  bool operator==(const Subscription&) const = default;
};

struct Assignment {
  int16_t version = kVersionMax;
  std::vector<NamedPartition> partitions;
  std::optional<std::string> user_data;

  bool operator==(const Assignment&) const = default;
};

// Topics and owned partitions in their order, as Kafka's clients write them.
// What the version has no field for is left out. No string is longer than
// kStringBytesMax.
std::string EncodeSubscription(const Subscription& subscription);
// Topics in the order of their first partition.
std::string EncodeAssignment(const Assignment& assignment);

// Never more memory than a small multiple of the bytes given. kInvalidRequest
// says at which field the bytes make no sense. `version` of the result is that
// of the bytes, at most kVersionMax.
absl::StatusOr<Subscription> DecodeSubscription(std::string_view bytes);
absl::StatusOr<Assignment> DecodeAssignment(std::string_view bytes);

// The topics alone: all versions begin alike.
absl::StatusOr<std::vector<std::string>> DecodeSubscribedTopics(
    std::string_view bytes);

// ---- What the sticky assignors keep in the user data ----

// "sticky": [topic string, [int32]] | generation int32 (absent in its first
// form). Partitions of one topic together, topics in order.
struct StickyUserData {
  std::vector<NamedPartition> owned;
  std::optional<int32_t> generation;

  bool operator==(const StickyUserData&) const = default;
};
std::string EncodeStickyUserData(const StickyUserData& data);
std::optional<StickyUserData> DecodeStickyUserData(std::string_view bytes);

// "cooperative-sticky": generation int32; what is owned is in the subscription.
std::string EncodeCooperativeUserData(int32_t generation);
std::optional<int32_t> DecodeCooperativeUserData(std::string_view bytes);

}  // namespace sluice::consumer
