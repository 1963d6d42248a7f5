// Results worked out by hand from Kafka 4.0's rules; those of Kafka's own
// documentation among them.
#include "common/consumer/assignors.h"

#include <gtest/gtest.h>

namespace sluice::consumer {
namespace {

using Topics = std::vector<std::string>;

GroupMember Subscribed(Topics topics, std::string instance_id = "") {
  return {.instance_id = std::move(instance_id),
          .subscription = {.topics = std::move(topics)}};
}

// As a member of a group with this assignor would come back.
void Own(Assignor assignor, GroupMembers& members, const Assignments& owned,
         int32_t generation) {
  for (auto& [id, member] : members) {
    const auto had = owned.find(id);
    if (had == owned.end()) continue;
    member.subscription.owned = had->second;
    member.subscription.generation = generation;
    member.subscription.user_data =
        UserDataFor(assignor, had->second, generation);
  }
}

// "t0-0 t1-2"
std::string Text(const std::vector<NamedPartition>& partitions) {
  std::string text;
  for (const NamedPartition& p : partitions) {
    text += (text.empty() ? "" : " ") + p.ToString();
  }
  return text;
}

using Expected = std::map<std::string, std::string>;
Expected Text(const Assignments& assignments) {
  Expected text;
  for (const auto& [id, partitions] : assignments) text[id] = Text(partitions);
  return text;
}

// ---- range ----

TEST(RangeTest, EachTopicIsCutIntoRangesAndTheFirstGetOneMore) {
  const GroupMembers members = {{"c0", Subscribed({"t0", "t1"})},
                                {"c1", Subscribed({"t0", "t1"})}};
  EXPECT_EQ(Text(AssignRange({{"t0", 3}, {"t1", 3}}, members)),
            (Expected{{"c0", "t0-0 t0-1 t1-0 t1-1"}, {"c1", "t0-2 t1-2"}}));
}

TEST(RangeTest, OnlySubscribersAndOnlyWhatExists) {
  const GroupMembers members = {{"c0", Subscribed({"t0"})},
                                {"c1", Subscribed({"t0", "t1", "gone"})},
                                {"c2", Subscribed({"gone"})}};
  EXPECT_EQ(Text(AssignRange({{"t0", 1}, {"t1", 2}, {"unread", 9}}, members)),
            (Expected{{"c0", "t0-0"}, {"c1", "t1-0 t1-1"}, {"c2", ""}}));
}

// A restarted static member has a new member id and gets what it had.
TEST(RangeTest, StaticMembersComeFirstByTheirInstances) {
  const GroupMembers before = {{"m1", Subscribed({"t"}, "b")},
                               {"m2", Subscribed({"t"}, "a")},
                               {"a0", Subscribed({"t"})}};
  EXPECT_EQ(Text(AssignRange({{"t", 3}}, before)),
            (Expected{{"m2", "t-0"}, {"m1", "t-1"}, {"a0", "t-2"}}));
  const GroupMembers after = {{"zz", Subscribed({"t"}, "b")},
                              {"m2", Subscribed({"t"}, "a")},
                              {"a0", Subscribed({"t"})}};
  EXPECT_EQ(Text(AssignRange({{"t", 3}}, after)),
            (Expected{{"m2", "t-0"}, {"zz", "t-1"}, {"a0", "t-2"}}));
}

TEST(RangeTest, MoreMembersThanPartitionsLeaveSomeIdle) {
  const GroupMembers members = {{"c0", Subscribed({"t"})},
                                {"c1", Subscribed({"t"})},
                                {"c2", Subscribed({"t"})}};
  EXPECT_EQ(Text(AssignRange({{"t", 2}}, members)),
            (Expected{{"c0", "t-0"}, {"c1", "t-1"}, {"c2", ""}}));
}

// ---- roundrobin ----

TEST(RoundRobinTest, PartitionsOfAllTopicsGoInTurn) {
  const GroupMembers members = {{"c0", Subscribed({"t0", "t1"})},
                                {"c1", Subscribed({"t0", "t1"})}};
  EXPECT_EQ(
      Text(AssignRoundRobin({{"t0", 3}, {"t1", 3}}, members)),
      (Expected{{"c0", "t0-0 t0-2 t1-1"}, {"c1", "t0-1 t1-0 t1-2"}}));
}

TEST(RoundRobinTest, WhoDoesNotSubscribeIsPassedOver) {
  const GroupMembers members = {{"c0", Subscribed({"t0"})},
                                {"c1", Subscribed({"t0", "t1"})},
                                {"c2", Subscribed({"t0", "t1", "t2"})}};
  EXPECT_EQ(Text(AssignRoundRobin({{"t0", 1}, {"t1", 2}, {"t2", 3}}, members)),
            (Expected{{"c0", "t0-0"},
                      {"c1", "t1-0"},
                      {"c2", "t1-1 t2-0 t2-1 t2-2"}}));
}

// ---- sticky, all alike ----

const PartitionCounts kFourOfTwo = {{"t0", 2}, {"t1", 2}, {"t2", 2}, {"t3", 2}};
const Topics kFourTopics = {"t0", "t1", "t2", "t3"};

TEST(StickyTest, AFirstAssignmentGoesInTurn) {
  const GroupMembers members = {{"c0", Subscribed(kFourTopics)},
                                {"c1", Subscribed(kFourTopics)},
                                {"c2", Subscribed(kFourTopics)}};
  EXPECT_EQ(Text(AssignSticky(kFourOfTwo, members)),
            (Expected{{"c0", "t0-0 t1-1 t3-0"},
                      {"c1", "t0-1 t2-0 t3-1"},
                      {"c2", "t1-0 t2-1"}}));
}

TEST(StickyTest, WhoStaysKeepsAllItHad) {
  GroupMembers members = {{"c0", Subscribed(kFourTopics)},
                          {"c1", Subscribed(kFourTopics)},
                          {"c2", Subscribed(kFourTopics)}};
  const Assignments first = AssignSticky(kFourOfTwo, members);
  members.erase("c1");
  Own(Assignor::kSticky, members, first, 1);
  EXPECT_EQ(Text(AssignSticky(kFourOfTwo, members)),
            (Expected{{"c0", "t0-0 t3-0 t1-1 t0-1"},
                      {"c2", "t1-0 t2-1 t2-0 t3-1"}}));
}

TEST(StickyTest, ANewMemberTakesOnlyWhatEvensOut) {
  GroupMembers members = {{"c0", Subscribed({"t"})}, {"c1", Subscribed({"t"})}};
  const Assignments first = AssignSticky({{"t", 7}}, members);
  EXPECT_EQ(Text(first), (Expected{{"c0", "t-0 t-2 t-4 t-6"},
                                   {"c1", "t-1 t-3 t-5"}}));
  Own(Assignor::kSticky, members, first, 1);
  members["c2"] = Subscribed({"t"});
  EXPECT_EQ(Text(AssignSticky({{"t", 7}}, members)),
            (Expected{{"c0", "t-0 t-2 t-4"}, {"c1", "t-1 t-3"},
                      {"c2", "t-5 t-6"}}));
}

// A member that slept through a generation does not take back what was given
// away meanwhile.
TEST(StickyTest, TheNewerGenerationKeepsWhatTwoClaim) {
  GroupMembers members = {{"old", Subscribed({"t"})}, {"new", Subscribed({"t"})}};
  Own(Assignor::kSticky, members,
      {{"old", {{"t", PartitionIndex(0)}, {"t", PartitionIndex(1)}}}}, 3);
  Own(Assignor::kSticky, members,
      {{"new", {{"t", PartitionIndex(0)}, {"t", PartitionIndex(2)}}}}, 5);
  EXPECT_EQ(Text(AssignSticky({{"t", 4}}, members)),
            (Expected{{"new", "t-0 t-2"}, {"old", "t-1 t-3"}}));
}

TEST(StickyTest, UserDataThatCannotBeReadIsNoClaim) {
  GroupMembers members = {{"c0", Subscribed({"t"})}, {"c1", Subscribed({"t"})}};
  members["c0"].subscription.user_data = "not user data";
  EXPECT_EQ(Text(AssignSticky({{"t", 2}}, members)),
            (Expected{{"c0", "t-0"}, {"c1", "t-1"}}));
}

// A topic that was made again has fewer partitions than some member owned.
TEST(StickyTest, WhatDoesNotExistAnyMoreIsNotGivenBack) {
  GroupMembers members = {{"c0", Subscribed({"t"})}, {"c1", Subscribed({"t"})}};
  Own(Assignor::kSticky, members,
      {{"c0", {{"t", PartitionIndex(7)}, {"t", PartitionIndex(1)}}}}, 1);
  EXPECT_EQ(Text(AssignSticky({{"t", 2}}, members)),
            (Expected{{"c0", "t-1"}, {"c1", "t-0"}}));
}

// ---- sticky, different subscriptions ----

const PartitionCounts kOneTwoThree = {{"t0", 1}, {"t1", 2}, {"t2", 3}};

TEST(StickyTest, WhoMayReadLittleGetsItFirst) {
  GroupMembers members = {{"c0", Subscribed({"t0"})},
                          {"c1", Subscribed({"t0", "t1"})},
                          {"c2", Subscribed({"t0", "t1", "t2"})}};
  const Assignments first = AssignSticky(kOneTwoThree, members);
  EXPECT_EQ(Text(first), (Expected{{"c0", "t0-0"},
                                   {"c1", "t1-0 t1-1"},
                                   {"c2", "t2-0 t2-1 t2-2"}}));
  members.erase("c0");
  Own(Assignor::kSticky, members, first, 1);
  EXPECT_EQ(Text(AssignSticky(kOneTwoThree, members)),
            (Expected{{"c1", "t1-0 t1-1 t0-0"}, {"c2", "t2-0 t2-1 t2-2"}}));
}

TEST(StickyTest, WhatIsNotSubscribedAnyMoreGoesToSomebodyElse) {
  GroupMembers members = {{"c0", Subscribed({"t1"})},
                          {"c1", Subscribed({"t0", "t1"})}};
  Own(Assignor::kSticky, members,
      {{"c0", {{"t0", PartitionIndex(0)}, {"t1", PartitionIndex(0)}}},
       {"c1", {{"t1", PartitionIndex(1)}}}},
      1);
  EXPECT_EQ(Text(AssignSticky({{"t0", 1}, {"t1", 2}}, members)),
            (Expected{{"c0", "t1-0"}, {"c1", "t1-1 t0-0"}}));
}

// ---- cooperative-sticky ----

TEST(CooperativeStickyTest, WhatMovesIsGivenToNobodyUntilItWasGivenUp) {
  GroupMembers members = {{"c0", Subscribed({"t"})}};
  Assignments owned = AssignCooperativeSticky({{"t", 4}}, members);
  EXPECT_EQ(Text(owned), (Expected{{"c0", "t-0 t-1 t-2 t-3"}}));

  Own(Assignor::kCooperativeSticky, members, owned, 1);
  members["c1"] = Subscribed({"t"});
  owned = AssignCooperativeSticky({{"t", 4}}, members);
  EXPECT_EQ(Text(owned), (Expected{{"c0", "t-0 t-1"}, {"c1", ""}}));

  Own(Assignor::kCooperativeSticky, members, owned, 2);
  owned = AssignCooperativeSticky({{"t", 4}}, members);
  EXPECT_EQ(Text(owned), (Expected{{"c0", "t-0 t-1"}, {"c1", "t-2 t-3"}}));
}

TEST(CooperativeStickyTest, TheSameForDifferentSubscriptions) {
  GroupMembers members = {{"c0", Subscribed({"s", "t"})}};
  Assignments owned = AssignCooperativeSticky({{"s", 2}, {"t", 2}}, members);
  Own(Assignor::kCooperativeSticky, members, owned, 1);
  members["c1"] = Subscribed({"t"});
  owned = AssignCooperativeSticky({{"s", 2}, {"t", 2}}, members);
  EXPECT_EQ(Text(owned), (Expected{{"c0", "s-0 s-1"}, {"c1", ""}}));
  Own(Assignor::kCooperativeSticky, members, owned, 2);
  EXPECT_EQ(Text(AssignCooperativeSticky({{"s", 2}, {"t", 2}}, members)),
            (Expected{{"c0", "s-0 s-1"}, {"c1", "t-0 t-1"}}));
}

// Two of one generation that claim one partition: neither may go on with it.
TEST(CooperativeStickyTest, ADoubleClaimIsRevokedFromBoth) {
  GroupMembers members = {{"c0", Subscribed({"t"})}, {"c1", Subscribed({"t"})}};
  const NamedPartition p = {"t", PartitionIndex(0)};
  Own(Assignor::kCooperativeSticky, members, {{"c0", {p}}, {"c1", {p}}}, 4);
  EXPECT_EQ(Text(AssignCooperativeSticky({{"t", 2}}, members)),
            (Expected{{"c0", ""}, {"c1", "t-1"}}));
}

// Before version 2 the generation is in the user data.
TEST(CooperativeStickyTest, TheGenerationOfAnOlderSubscription) {
  GroupMembers members = {{"old", Subscribed({"t"})}, {"new", Subscribed({"t"})}};
  for (auto& [id, member] : members) {
    member.subscription.owned = {{"t", PartitionIndex(0)}};
    member.subscription.user_data =
        EncodeCooperativeUserData(id == "old" ? 3 : 4);
  }
  EXPECT_EQ(Text(AssignCooperativeSticky({{"t", 2}}, members)),
            (Expected{{"new", "t-0"}, {"old", "t-1"}}));
}

// ---- Names ----

TEST(AssignorTest, NamesAreKafkas) {
  for (const char* name : {"range", "roundrobin", "sticky",
                           "cooperative-sticky"}) {
    EXPECT_EQ(NameOf(*AssignorFromName(name)), name);
  }
  EXPECT_EQ(AssignorFromName("uniform"), std::nullopt);
}

TEST(AssignorTest, NobodyAndNothing) {
  for (Assignor a : {Assignor::kRange, Assignor::kRoundRobin, Assignor::kSticky,
                     Assignor::kCooperativeSticky}) {
    EXPECT_TRUE(Assign(a, {{"t", 3}}, {}).empty());
    const GroupMembers members = {{"c0", Subscribed({"gone"})},
                                  {"c1", Subscribed({})}};
    EXPECT_EQ(Text(Assign(a, {{"t", 3}}, members)),
              (Expected{{"c0", ""}, {"c1", ""}}));
  }
}

}  // namespace
}  // namespace sluice::consumer
