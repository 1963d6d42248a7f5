// Who of a group reads what: Kafka's four client-side assignors, as pure
// functions of the same inputs. The leader of a group runs the one that the
// coordinator chose; the broker runs it for members that have no library.
//
// The results are Kafka's, where Kafka's are a function of its inputs: where
// its own depend on the order of a hash table, ours follow the order of member
// ids and topics. Racks are carried in subscriptions and not looked at.
// README.md says what was checked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/consumer/consumer_protocol.h"
#include "common/consumer/named_partition.h"

namespace sluice::consumer {

// By topic. One that does not exist is absent, or has 0.
using PartitionCounts = std::map<std::string, int32_t>;

struct GroupMember {
  std::string instance_id;  // "": dynamic
  Subscription subscription;
};
using GroupMembers = std::map<std::string, GroupMember>;  // by member id

// By member id; everyone is in it.
using Assignments = std::map<std::string, std::vector<NamedPartition>>;

// Per topic: consecutive partitions, the first members get one more. Static
// members in the order of their instance ids come first, so that a restart
// changes nothing.
Assignments AssignRange(const PartitionCounts& counts,
                        const GroupMembers& members);

// All partitions of all topics in turn, to who subscribes.
Assignments AssignRoundRobin(const PartitionCounts& counts,
                             const GroupMembers& members);

// As balanced as possible, and then as much as possible where it was. What was
// owned is in the user data.
Assignments AssignSticky(const PartitionCounts& counts,
                         const GroupMembers& members);

// The same, but what moves from one member to another is given to nobody until
// the old owner has joined without it: members keep reading meanwhile. What was
// owned is in the subscription.
Assignments AssignCooperativeSticky(const PartitionCounts& counts,
                                    const GroupMembers& members);

enum class Assignor { kRange, kRoundRobin, kSticky, kCooperativeSticky };
// "range", "roundrobin", "sticky", "cooperative-sticky".
std::string_view NameOf(Assignor assignor);
std::optional<Assignor> AssignorFromName(std::string_view name);

Assignments Assign(Assignor assignor, const PartitionCounts& counts,
                   const GroupMembers& members);

// What a member that owns `owned` since `generation` puts into its
// subscription for this assignor; nullopt: nothing.
std::optional<std::string> UserDataFor(
    Assignor assignor, const std::vector<NamedPartition>& owned,
    int32_t generation);

}  // namespace sluice::consumer
