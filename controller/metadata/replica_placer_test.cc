#include "controller/metadata/replica_placer.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

TEST(ReplicaPlacerTest, ReplicasAreDistinctOverRacksAndLeadersAreEven) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    TestCluster cluster;
    const int brokers = static_cast<int>(random.Between(1, 9));
    const int racks = static_cast<int>(random.Between(1, 4));
    std::set<std::string> used;
    for (int id = 1; id <= brokers; ++id) {
      const std::string rack = "r" + std::to_string(random.Below(racks));
      used.insert(rack);
      cluster.Start(id, rack);
    }
    const int rf = static_cast<int>(random.Between(1, brokers));
    const int partitions = static_cast<int>(random.Between(1, 60));
    ReplicaPlacer placer(cluster.image(), random);
    std::map<NodeId, int> leads;
    for (int p = 0; p < partitions; ++p) {
      const std::vector<NodeId> replicas = placer.Place(rf);
      ASSERT_EQ(static_cast<int>(replicas.size()), rf);
      ++leads[replicas.front()];
      std::set<NodeId> distinct(replicas.begin(), replicas.end());
      EXPECT_EQ(static_cast<int>(distinct.size()), rf);
      std::set<std::string> on;
      for (const NodeId id : replicas) {
        on.insert(cluster.image().FindBroker(id)->rack);
      }
      EXPECT_EQ(on.size(), std::min<size_t>(rf, used.size())) << seed;
    }
    for (int id = 1; id <= brokers; ++id) {
      EXPECT_GE(leads[NodeId(id)], partitions / brokers) << seed;
      EXPECT_LE(leads[NodeId(id)], (partitions + brokers - 1) / brokers);
    }
  }
}

TEST(ReplicaPlacerTest, WithoutRacksFollowersAreEvenToo) {
  TestCluster cluster;
  cluster.StartAll(5);
  Random random(3);
  ReplicaPlacer placer(cluster.image(), random);
  std::map<NodeId, int> replicas;
  std::set<std::pair<NodeId, NodeId>> pairs;
  for (int p = 0; p < 100; ++p) {
    const auto placed = placer.Place(3);
    for (const NodeId id : placed) ++replicas[id];
    pairs.insert({placed[0], placed[1]});
  }
  for (const auto& [id, count] : replicas) EXPECT_EQ(count, 60) << id;
  // A dead leader's load spreads over all others.
  EXPECT_EQ(pairs.size(), 20u);
}

TEST(ReplicaPlacerTest, OnlyActiveBrokersGetReplicas) {
  TestCluster cluster;
  cluster.StartAll(4);
  cluster.Fence(2);
  cluster.BeginStop(3);
  Random random(1);
  ReplicaPlacer placer(cluster.image(), random);
  ASSERT_EQ(placer.broker_count(), 2);
  for (int p = 0; p < 10; ++p) {
    for (const NodeId id : placer.Place(2)) {
      EXPECT_TRUE(id == NodeId(1) || id == NodeId(4)) << id;
    }
  }
}

// Added partitions go on where the topic's own stripe ended: whoever leads
// fewest of them is next, whatever the topic looked like.
TEST(ReplicaPlacerTest, MorePartitionsOfATopicEvenItsLeadersOut) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    TestCluster cluster;
    const int brokers = static_cast<int>(random.Between(2, 7));
    for (int id = 1; id <= brokers; ++id) {
      cluster.Start(id, "r" + std::to_string(id % 2));
    }
    // All of the topic is led by broker 1.
    const int old = static_cast<int>(random.Between(1, 5));
    const auto tp = cluster.CreateOn("t", {1, 2}, {}, old);
    ReplicaPlacer placer(cluster.image(), random);
    placer.Continue(*cluster.image().FindTopic(tp.topic_id));
    std::map<NodeId, int> leads = {{NodeId(1), old}};
    const int added = old * brokers;
    for (int p = 0; p < added; ++p) {
      const auto replicas = placer.Place(2);
      ++leads[replicas.front()];
      EXPECT_NE(replicas[0].value() % 2, replicas[1].value() % 2) << "racks";
    }
    for (int id = 1; id <= brokers; ++id) {
      const int total = old + added;
      EXPECT_GE(leads[NodeId(id)], total / brokers) << seed;
      EXPECT_LE(leads[NodeId(id)], (total + brokers - 1) / brokers) << seed;
    }
  }
}

TEST(ReplicaPlacerTest, DirectoriesTakeTurns) {
  TestCluster cluster;
  auto request = TestCluster::Registration(1, 1);
  for (int d = 1; d < 3; ++d) {
    request.add_directories()->set_id(TestCluster::Directory(1, d));
  }
  cluster.Register(request);
  Random random(1);
  ReplicaPlacer placer(cluster.image(), random);
  std::map<DirectoryId, int> used;
  for (int i = 0; i < 30; ++i) ++used[placer.DirectoryFor(NodeId(1))];
  ASSERT_EQ(used.size(), 3u);
  for (const auto& [id, count] : used) EXPECT_EQ(count, 10) << id;
  EXPECT_FALSE(placer.DirectoryFor(NodeId(9)).is_set());
}

}  // namespace
}  // namespace sluice
