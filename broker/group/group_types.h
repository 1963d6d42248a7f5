// The words of a consumer group: ids, members, and what of a group is written
// to its log.
#pragma once

#include <compare>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/ids.h"

namespace sluice::group {

// A text with a name: a member id is no instance id. Empty: none.
template <class Tag>
class StrongText {
 public:
  StrongText() = default;
  explicit StrongText(std::string text) : text_(std::move(text)) {}

  const std::string& ToString() const { return text_; }
  bool empty() const { return text_.empty(); }
  auto operator<=>(const StrongText&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const StrongText& t) {
    return out << t.text_;
  }

 private:
  std::string text_;
};

// Given by the coordinator, anew for each membership.
using MemberId = StrongText<struct MemberIdTag>;
// `group.instance.id`: chosen by a static member, for life.
using InstanceId = StrongText<struct InstanceIdTag>;
// The stream of GroupService.Consume that acts for a member: who knows it, is
// that stream, or may take the membership over from it. Bytes.
using StreamSecret = StrongText<struct StreamSecretTag>;

// Rises with every completed join phase; all that members do names it.
using Generation = StrongNumber<struct GenerationTag, int32_t>;
inline constexpr Generation kNoGeneration{-1};

// A request that waits for its answer; the driver's number.
using RequestId = StrongNumber<struct GroupRequestIdTag, int64_t>;
// A write to the group's log under way; the core's number.
using WriteId = StrongNumber<struct GroupWriteIdTag, int64_t>;

enum class GroupState {
  kEmpty,       // nobody; offsets may be kept
  kPreparing,   // waits for every member to join
  kCompleting,  // waits for the leader's assignments
  kStable,
  kDead,  // deleted, or its coordinator is elsewhere
};
std::string_view NameOf(GroupState state);

// An assignor that a member offers, with what it would tell the leader.
// Opaque here.
struct Protocol {
  std::string name;
  std::string metadata;

  bool operator==(const Protocol&) const = default;
};

// A member, as far as a fail-over has to keep it.
struct MemberImage {
  MemberId id;
  InstanceId instance;  // empty: dynamic
  std::string client_id;
  std::string client_host;
  int64_t session_timeout_us = 0;
  int64_t rebalance_timeout_us = 0;
  std::vector<Protocol> protocols;  // in the order preferred
  std::string assignment;
  std::string join_reason;  // the client's
  StreamSecret stream;      // empty: a client that calls for itself

  bool operator==(const MemberImage&) const = default;
};

// What the group's log holds, whole each time. The record's own time says since
// when: an empty group is written once, as it becomes empty.
struct GroupImage {
  GroupState state = GroupState::kEmpty;  // kEmpty, kCompleting or kStable
  Generation generation{0};
  std::string protocol_type;  // "": none yet
  std::string protocol_name;  // "": none
  MemberId leader;
  std::string rebalance_reason;  // why this generation began
  std::vector<MemberImage> members;  // by id

  bool operator==(const GroupImage&) const = default;
};

struct GroupConfig {
  int64_t session_timeout_min_us = 6'000'000;
  int64_t session_timeout_max_us = 1'800'000'000;
  // A first rebalance waits so long for more members.
  int64_t initial_rebalance_delay_us = 3'000'000;
  // A new member that never got its id cannot send heartbeats.
  int64_t new_member_join_timeout_us = 300'000'000;
  size_t members_max = 10'000;  // members, and once more as many pending ids
  // The log holds a group in one record. Of that, about: what all members say of
  // themselves, and what their leader assigns. Beyond: MESSAGE_TOO_LARGE for who
  // adds to it, and the group goes on without.
  int64_t members_bytes_max = 5 << 20;
  int64_t assignments_bytes_max = (3 << 20) - (64 << 10);
};

// Of the reason for a rebalance, which the record holds too.
inline constexpr size_t kRebalanceReasonBytesMax = 1'024;

// Writes under way at which new joins and syncs are turned away.
inline constexpr size_t kGroupWritesMax = 8;

}  // namespace sluice::group
