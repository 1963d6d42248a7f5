#include "common/consumer/assignors.h"

#include <algorithm>

#include "common/base/invariant.h"
#include "common/consumer/assignor_inputs.h"

namespace sluice::consumer {

PartitionCounts SubscribedCounts(const PartitionCounts& counts,
                                 const GroupMembers& members) {
  PartitionCounts subscribed;
  for (const auto& [id, member] : members) {
    for (const std::string& topic : member.subscription.topics) {
      const auto found = counts.find(topic);
      if (found != counts.end() && found->second > 0) subscribed.insert(*found);
    }
  }
  return subscribed;
}

std::set<std::string> TopicsOf(const GroupMember& member) {
  return {member.subscription.topics.begin(),
          member.subscription.topics.end()};
}

std::vector<std::string> InAssignmentOrder(
    const std::vector<std::string>& member_ids, const GroupMembers& members) {
  std::vector<std::string> ordered = member_ids;
  std::sort(ordered.begin(), ordered.end(),
            [&members](const std::string& a, const std::string& b) {
              const std::string& x = members.at(a).instance_id;
              const std::string& y = members.at(b).instance_id;
              if (x.empty() != y.empty()) return y.empty();
              return x != y ? x < y : a < b;
            });
  return ordered;
}

// ---- range ----

namespace {

Assignments NothingFor(const GroupMembers& members) {
  Assignments assignments;
  for (const auto& [id, member] : members) assignments[id];
  return assignments;
}

}  // namespace

Assignments AssignRange(const PartitionCounts& counts,
                        const GroupMembers& members) {
  Assignments assignments = NothingFor(members);
  for (const auto& [topic, count] : SubscribedCounts(counts, members)) {
    std::vector<std::string> readers;
    for (const auto& [id, member] : members) {
      if (TopicsOf(member).count(topic) > 0) readers.push_back(id);
    }
    readers = InAssignmentOrder(readers, members);
    const auto reader_count = static_cast<int32_t>(readers.size());
    const int32_t each = count / reader_count;
    const int32_t with_one_more = count % reader_count;
    int32_t next = 0;
    for (int32_t i = 0; i < reader_count; ++i) {
      const int32_t end = next + each + (i < with_one_more ? 1 : 0);
      for (; next < end; ++next) {
        assignments[readers[i]].push_back({topic, PartitionIndex(next)});
      }
    }
  }
  return assignments;
}

// ---- roundrobin ----

Assignments AssignRoundRobin(const PartitionCounts& counts,
                             const GroupMembers& members) {
  Assignments assignments = NothingFor(members);
  std::vector<std::string> ids;
  for (const auto& [id, member] : members) ids.push_back(id);
  ids = InAssignmentOrder(ids, members);
  std::vector<std::set<std::string>> topics;
  for (const std::string& id : ids) topics.push_back(TopicsOf(members.at(id)));
  size_t turn = 0;
  for (const auto& [topic, count] : SubscribedCounts(counts, members)) {
    for (int32_t p = 0; p < count; ++p) {
      // Somebody subscribes: it is a topic of SubscribedCounts.
      while (topics[turn].count(topic) == 0) turn = (turn + 1) % ids.size();
      assignments[ids[turn]].push_back({topic, PartitionIndex(p)});
      turn = (turn + 1) % ids.size();
    }
  }
  return assignments;
}

// ---- By name ----

std::string_view NameOf(Assignor assignor) {
  switch (assignor) {
    case Assignor::kRange: return "range";
    case Assignor::kRoundRobin: return "roundrobin";
    case Assignor::kSticky: return "sticky";
    case Assignor::kCooperativeSticky: return "cooperative-sticky";
  }
  return "?";
}

std::optional<Assignor> AssignorFromName(std::string_view name) {
  for (Assignor a : {Assignor::kRange, Assignor::kRoundRobin, Assignor::kSticky,
                     Assignor::kCooperativeSticky}) {
    if (NameOf(a) == name) return a;
  }
  return std::nullopt;
}

Assignments Assign(Assignor assignor, const PartitionCounts& counts,
                   const GroupMembers& members) {
  switch (assignor) {
    case Assignor::kRange: return AssignRange(counts, members);
    case Assignor::kRoundRobin: return AssignRoundRobin(counts, members);
    case Assignor::kSticky: return AssignSticky(counts, members);
    case Assignor::kCooperativeSticky:
      return AssignCooperativeSticky(counts, members);
  }
  INVARIANT(false, "assignor ", static_cast<int>(assignor));
  return {};
}

std::optional<std::string> UserDataFor(
    Assignor assignor, const std::vector<NamedPartition>& owned,
    int32_t generation) {
  switch (assignor) {
    case Assignor::kRange:
    case Assignor::kRoundRobin:
      return std::nullopt;
    case Assignor::kSticky:
      if (owned.empty() && generation == kNoOwnedGeneration) {
        return std::nullopt;
      }
      return EncodeStickyUserData({owned, generation});
    case Assignor::kCooperativeSticky:
      return EncodeCooperativeUserData(generation);
  }
  return std::nullopt;
}

}  // namespace sluice::consumer
