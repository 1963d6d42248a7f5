// What members of a group tell each other (common/consumer): subscriptions,
// assignments, the sticky assignors' user data. Any client can send any of it,
// to a coordinator that reads topics and, for clients without a library, runs
// the assignor itself.
//
// Property: bytes are refused with INVALID_REQUEST, or what they say encodes
// anew to bytes that say the same; the topics read alone are those of the whole.
// Whatever the members of a group subscribe to and claim to own, every assignor
// gives each partition of a subscribed topic to one subscriber, and nothing
// else; cooperative-sticky may hold back what somebody claims.
//
// Input: how many members; of each a piece (FuzzInput), its subscription. Each
// piece is tried as an assignment and as user data too.
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/consumer/assignors.h"
#include "test/fuzz/fuzz_input.h"

namespace sluice::fuzz {
namespace {

using consumer::Assignor;
using consumer::NamedPartition;

void CheckRefusal(const absl::Status& status) {
  INVARIANT(CodeOf(status) == ErrorCode::kInvalidRequest, status.ToString());
}

template <class T>
std::vector<T> Sorted(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  return values;
}

void CheckSubscription(std::string_view bytes) {
  const auto topics = consumer::DecodeSubscribedTopics(bytes);
  auto read = consumer::DecodeSubscription(bytes);
  if (!read.ok()) return CheckRefusal(read.status());
  INVARIANT(topics.ok() && *topics == read->topics, "the topics differ");
  const auto again =
      consumer::DecodeSubscription(consumer::EncodeSubscription(*read));
  INVARIANT(again.ok(), again.status().ToString());
  read->topics = Sorted(read->topics);
  read->owned = Sorted(read->owned);
  INVARIANT(*again == *read, "a subscription of version ", read->version,
            " does not come back");
}

void CheckAssignment(std::string_view bytes) {
  auto read = consumer::DecodeAssignment(bytes);
  if (!read.ok()) return CheckRefusal(read.status());
  auto again = consumer::DecodeAssignment(consumer::EncodeAssignment(*read));
  INVARIANT(again.ok(), again.status().ToString());
  // A topic named twice is named once then.
  read->partitions = Sorted(read->partitions);
  again->partitions = Sorted(again->partitions);
  INVARIANT(*again == *read, "an assignment does not come back");
}

void CheckUserData(std::string_view bytes) {
  auto read = consumer::DecodeStickyUserData(bytes);
  if (!read.has_value()) return;
  const auto again =
      consumer::DecodeStickyUserData(consumer::EncodeStickyUserData(*read));
  read->owned = Sorted(read->owned);
  INVARIANT(again == read, "user data does not come back");
}

bool Reads(const consumer::GroupMember& member, const std::string& topic) {
  const auto& topics = member.subscription.topics;
  return std::find(topics.begin(), topics.end(), topic) != topics.end();
}

bool IsClaimed(const consumer::GroupMembers& members, const NamedPartition& p) {
  return std::any_of(members.begin(), members.end(), [&p](const auto& m) {
    const auto& owned = m.second.subscription.owned;
    return std::find(owned.begin(), owned.end(), p) != owned.end();
  });
}

void CheckAssignor(Assignor assignor, const consumer::PartitionCounts& counts,
                   const consumer::GroupMembers& members) {
  const consumer::Assignments result = Assign(assignor, counts, members);
  INVARIANT(result.size() == members.size(), result.size(), " members of ",
            members.size(), " are in the result");
  std::set<NamedPartition> given;
  for (const auto& [id, partitions] : result) {
    for (const NamedPartition& p : partitions) {
      const auto count = counts.find(p.topic);
      INVARIANT(count != counts.end() && p.partition.value() >= 0 &&
                    p.partition.value() < count->second,
                p, " does not exist");
      INVARIANT(Reads(members.at(id), p.topic), id, " does not read ", p);
      INVARIANT(given.insert(p).second, p, " is given twice");
    }
  }
  for (const auto& [topic, count] : counts) {
    for (int32_t i = 0; i < count; ++i) {
      const NamedPartition p = {topic, PartitionIndex(i)};
      const bool held_back =
          assignor == Assignor::kCooperativeSticky && IsClaimed(members, p);
      INVARIANT(given.count(p) > 0 || held_back, p, " is given to nobody by ",
                NameOf(assignor));
    }
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  constexpr size_t kTopicsMax = 8;
  fuzz::FuzzInput input(data, size);
  consumer::GroupMembers members;
  consumer::PartitionCounts counts;
  const int member_count = input.Below(6);
  for (int i = 0; i <= member_count; ++i) {
    const std::string_view piece = input.Piece();
    fuzz::CheckSubscription(piece);
    fuzz::CheckAssignment(piece);
    fuzz::CheckUserData(piece);
    auto subscription = consumer::DecodeSubscription(piece);
    if (!subscription.ok()) continue;
    for (const std::string& topic : subscription->topics) {
      if (counts.size() == kTopicsMax) break;
      counts[topic] = static_cast<int32_t>(1 + topic.size() % 5);
    }
    members["m" + std::to_string(i)].subscription = *std::move(subscription);
  }
  for (const consumer::Assignor assignor :
       {consumer::Assignor::kRange, consumer::Assignor::kRoundRobin,
        consumer::Assignor::kSticky, consumer::Assignor::kCooperativeSticky}) {
    fuzz::CheckAssignor(assignor, counts, members);
  }
  return 0;
}
