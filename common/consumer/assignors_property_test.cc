// What holds for any group: groups grow, shrink, change their minds and their
// topics, each time with what they were given before.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/base/random.h"
#include "common/consumer/assignors.h"

namespace sluice::consumer {
namespace {

constexpr Assignor kAll[] = {Assignor::kRange, Assignor::kRoundRobin,
                             Assignor::kSticky, Assignor::kCooperativeSticky};

bool Reads(const GroupMember& member, const std::string& topic) {
  const auto& topics = member.subscription.topics;
  return std::find(topics.begin(), topics.end(), topic) != topics.end();
}

// A group through its rebalances.
class World {
 public:
  World(uint64_t seed, Assignor assignor, bool alike)
      : random_(seed), assignor_(assignor), alike_(alike) {
    for (uint64_t i = random_.Between(1, 5); i > 0; --i) AddTopic();
    for (uint64_t i = random_.Between(1, 6); i > 0; --i) AddMember();
  }

  void Change() {
    switch (random_.Below(6)) {
      case 0: case 1: AddMember(); break;
      case 2: case 3:
        if (members_.size() > 1) members_.erase(SomeMember());
        break;
      case 4: AddTopic(); break;
      case 5: Resubscribe(); break;
    }
  }

  void Rebalance() {
    before_ = owned_;
    result_ = Assign(assignor_, counts_, members_);
    EXPECT_EQ(result_, Assign(assignor_, counts_, members_));
    ++generation_;
    owned_ = result_;
    for (auto& [id, member] : members_) {
      Subscription& s = member.subscription;
      s.owned = result_[id];
      s.generation = generation_;
      s.user_data = UserDataFor(assignor_, s.owned, generation_);
    }
  }

  // Nobody is given what it does not read or what does not exist, nothing
  // twice.
  void CheckNobodyGetsTooMuch() const {
    ASSERT_EQ(result_.size(), members_.size());
    std::set<NamedPartition> seen;
    for (const auto& [id, partitions] : result_) {
      for (const NamedPartition& p : partitions) {
        ASSERT_TRUE(seen.insert(p).second) << p.ToString() << " twice";
        ASSERT_TRUE(Reads(members_.at(id), p.topic)) << p.ToString();
        ASSERT_LT(p.partition.value(), counts_.at(p.topic));
      }
    }
  }

  std::set<NamedPartition> Missing() const {
    std::set<NamedPartition> missing;
    for (const auto& [topic, count] : counts_) {
      const bool read = std::any_of(
          members_.begin(), members_.end(),
          [&](const auto& m) { return Reads(m.second, topic); });
      for (int32_t i = 0; read && i < count; ++i) {
        missing.insert({topic, PartitionIndex(i)});
      }
    }
    for (const auto& [id, partitions] : result_) {
      for (const NamedPartition& p : partitions) missing.erase(p);
    }
    return missing;
  }

  // No partition could go to a reader with at least two fewer.
  void CheckBalanced() const {
    for (const auto& [id, partitions] : result_) {
      for (const NamedPartition& p : partitions) {
        for (const auto& [other, others] : result_) {
          if (!Reads(members_.at(other), p.topic)) continue;
          ASSERT_LE(partitions.size(), others.size() + 1)
              << p.ToString() << " of " << id << " could go to " << other;
        }
      }
    }
  }

  void CheckRangesAreEven() const {
    for (const auto& [topic, count] : counts_) {
      size_t least = SIZE_MAX, most = 0;
      for (const auto& [id, partitions] : result_) {
        if (!Reads(members_.at(id), topic)) continue;
        const auto has = static_cast<size_t>(std::count_if(
            partitions.begin(), partitions.end(),
            [&](const NamedPartition& p) { return p.topic == topic; }));
        least = std::min(least, has);
        most = std::max(most, has);
      }
      if (least != SIZE_MAX) {
        ASSERT_LE(most, least + 1);
      }
    }
  }

  std::set<NamedPartition> OwnedBefore() const {
    std::set<NamedPartition> owned;
    for (const auto& [id, partitions] : before_) {
      if (members_.count(id) == 0) continue;
      owned.insert(partitions.begin(), partitions.end());
    }
    return owned;
  }

  // What left a member that is still there, by who got it; nobody: "".
  std::map<NamedPartition, std::string> Taken() const {
    std::map<NamedPartition, std::string> taken;
    for (const auto& [id, partitions] : before_) {
      const auto now = result_.find(id);
      if (now == result_.end()) continue;
      for (const NamedPartition& p : partitions) {
        const auto& has = now->second;
        if (std::find(has.begin(), has.end(), p) != has.end()) continue;
        taken[p] = OwnerOf(p);
      }
    }
    return taken;
  }

  std::string OwnerOf(const NamedPartition& p) const {
    for (const auto& [id, partitions] : result_) {
      if (std::find(partitions.begin(), partitions.end(), p) !=
          partitions.end()) {
        return id;
      }
    }
    return "";
  }

  std::string AddMember() {
    GroupMember member;
    member.subscription.topics = SomeTopics();
    if (random_.OneIn(4)) {
      member.instance_id = "i" + std::to_string(next_member_);
    }
    // Ids in no order of arrival.
    const std::string id = std::to_string(random_.Below(1000)) + "-" +
                           std::to_string(next_member_++);
    members_[id] = member;
    return id;
  }

  void RemoveSomeMember() { members_.erase(SomeMember()); }
  const GroupMembers& members() const { return members_; }
  const Assignments& result() const { return result_; }
  Assignor assignor() const { return assignor_; }

 private:
  void AddTopic() {
    counts_["t" + std::to_string(counts_.size())] =
        static_cast<int32_t>(random_.Between(1, 9));
    if (alike_) {
      for (auto& [id, m] : members_) m.subscription.topics = SomeTopics();
    }
  }

  std::vector<std::string> SomeTopics() {
    std::vector<std::string> topics;
    for (const auto& [topic, count] : counts_) {
      if (alike_ || random_.OneIn(2)) topics.push_back(topic);
    }
    return topics;
  }

  void Resubscribe() {
    members_[SomeMember()].subscription.topics = SomeTopics();
  }

  std::string SomeMember() {
    auto m = members_.begin();
    std::advance(m, random_.Below(members_.size()));
    return m->first;
  }

  Random random_;
  const Assignor assignor_;
  const bool alike_;
  int next_member_ = 0;
  int32_t generation_ = 0;
  PartitionCounts counts_;
  GroupMembers members_;
  Assignments owned_;
  Assignments before_;
  Assignments result_;
};

template <class Check>
void ForEachWorld(int worlds, int changes, const Check& check) {
  for (Assignor assignor : kAll) {
    for (int seed = 1; seed <= worlds; ++seed) {
      World world(seed, assignor, seed % 2 == 0);
      for (int i = 0; i < changes; ++i) {
        world.Rebalance();
        check(world, seed % 2 == 0);
        if (testing::Test::HasFatalFailure()) {
          FAIL() << NameOf(assignor) << ", seed " << seed << ", change " << i;
        }
        world.Change();
      }
    }
  }
}

TEST(AssignorsPropertyTest, EverythingIsGivenOnceToWhoReadsIt) {
  int64_t held_back = 0;
  ForEachWorld(200, 12, [&](const World& world, bool) {
    world.CheckNobodyGetsTooMuch();
    const std::set<NamedPartition> missing = world.Missing();
    if (world.assignor() != Assignor::kCooperativeSticky) {
      ASSERT_TRUE(missing.empty());
      return;
    }
    // What is held back somebody has to give up first.
    const std::set<NamedPartition> owned = world.OwnedBefore();
    for (const NamedPartition& p : missing) {
      ASSERT_EQ(owned.count(p), 1u) << p.ToString();
    }
    held_back += static_cast<int64_t>(missing.size());
  });
  EXPECT_GT(held_back, 100);
}

TEST(AssignorsPropertyTest, AsEvenAsEachPromises) {
  ForEachWorld(200, 12, [](World& world, bool alike) {
    switch (world.assignor()) {
      case Assignor::kRange: return world.CheckRangesAreEven();
      case Assignor::kRoundRobin:
        if (alike) world.CheckBalanced();
        return;
      case Assignor::kSticky: return world.CheckBalanced();
      case Assignor::kCooperativeSticky:
        // What it held back it gives in the next rebalance.
        world.Rebalance();
        ASSERT_TRUE(world.Missing().empty());
        return world.CheckBalanced();
    }
  });
}

// Nothing moves between members that were there before.
TEST(AssignorsPropertyTest, StickyMovesOnlyWhatItMust) {
  for (int seed = 1; seed <= 300; ++seed) {
    World world(seed, Assignor::kSticky, true);
    world.Rebalance();
    for (int i = 0; i < 6; ++i) {
      const std::string added = world.AddMember();
      world.Rebalance();
      for (const auto& [p, owner] : world.Taken()) {
        ASSERT_EQ(owner, added) << "seed " << seed;
      }
    }
    while (world.members().size() > 1) {
      world.RemoveSomeMember();
      world.Rebalance();
      ASSERT_TRUE(world.Taken().empty()) << "seed " << seed;
    }
  }
}

TEST(AssignorsPropertyTest, WithoutAChangeNothingMoves) {
  ForEachWorld(200, 8, [](World& world, bool) {
    if (world.assignor() == Assignor::kCooperativeSticky) world.Rebalance();
    const Assignments before = world.result();
    world.Rebalance();
    for (const auto& [id, partitions] : world.result()) {
      std::vector<NamedPartition> had = before.at(id), has = partitions;
      std::sort(had.begin(), had.end());
      std::sort(has.begin(), has.end());
      ASSERT_EQ(had, has) << id;
    }
  });
}

}  // namespace
}  // namespace sluice::consumer
