#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "test/sim/checked_cluster.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {
namespace {

TEST(ClusterSimTest, ThreeFreshNodesBecomeAClusterAndCarryARecord) {
  CheckedCluster cluster({}, 1);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  EXPECT_LT(cluster.world().MonoMicros(), 3'000'000);
  const absl::Status created = cluster.CreateTopic("t", 3, 3);
  ASSERT_TRUE(created.ok()) << created;
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  for (int i = 0; i < 10; ++i) {
    const auto offset = cluster.ProduceHard("t", 0, std::to_string(i));
    ASSERT_TRUE(offset.ok()) << offset.status();
    EXPECT_EQ(*offset, Offset(i));
  }
  EXPECT_EQ(cluster.ReadAll("t", 0).size(), 10u);
}

std::string Text(int n) { return "value-" + std::to_string(n); }

// Promise 1: an acknowledgement in disk mode outlives a power cut of the whole
// cluster in the very next moment.
TEST(ClusterSimTest, EveryDiskCrashesRightAfterEachAcknowledgement) {
  CheckedCluster cluster({}, 2);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 1, 3).ok());
  std::vector<std::string> acknowledged;
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    const auto offset = cluster.ProduceHard("t", 0, Text(round));
    ASSERT_TRUE(offset.ok()) << offset.status();
    acknowledged.push_back(Text(round));
    for (int id = 1; id <= 3; ++id) cluster.PowerCut(id);
    cluster.BootAll();
    ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
    EXPECT_EQ(cluster.ReadAll("t", 0), acknowledged);
  }
}

// A broker that starts while no controller answers reads nothing from its own
// past: it cannot tell a topic that is not there from one it has not read of.
TEST(ClusterSimTest, ARestartedBrokerAnswersNobodyFromAnEmptyImage) {
  SimOptions options;
  options.separate = true;
  CheckedCluster cluster(options, 4);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 1, 3).ok());
  for (int id = 101; id <= 103; ++id) cluster.Kill(id);
  cluster.Kill(2);
  cluster.Boot(2);
  cluster.RunFor(3'000);
  v1::GetMetadataRequest request;
  request.add_topics()->set_name("t");
  absl::Status answer;
  const auto ask = [&] {
    int answers = 0;
    cluster.at(2).broker->GetMetadata({}, request, [&](auto response) {
      ++answers;
      answer = response.status();
    });
    return cluster.RunUntil([&] { return answers == 1; }, 1'000);
  };
  ASSERT_TRUE(ask());
  EXPECT_EQ(CodeOf(answer), ErrorCode::kBrokerNotAvailable) << answer;
  for (int id = 101; id <= 103; ++id) cluster.Boot(id);
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(ask());
  EXPECT_TRUE(answer.ok()) << answer;
}

TEST(ClusterSimTest, AKilledLeaderCostsItsPartitionsUnderASecond) {
  SimOptions options;
  options.nodes = 5;  // 4 and 5 are brokers alone
  CheckedCluster cluster(options, 3);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 10, 3).ok());
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  int partition = 0;
  while (cluster.LeaderOf("t", partition) < 4) ++partition;
  const int leader = cluster.LeaderOf("t", partition);
  ASSERT_TRUE(cluster.ProduceHard("t", partition, "before").ok());
  const int64_t killed_us = cluster.world().MonoMicros();
  cluster.Kill(leader);
  const auto offset = cluster.ProduceHard("t", partition, "after");
  ASSERT_TRUE(offset.ok()) << offset.status();
  EXPECT_LT(cluster.world().MonoMicros() - killed_us, 1'000'000);
  cluster.Boot(leader);
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  EXPECT_THAT(cluster.ReadAll("t", partition),
              testing::ElementsAre("before", "after"));
}

TEST(ClusterSimTest, AKilledActiveControllerAndLeaderCostUnderTwoSeconds) {
  CheckedCluster cluster({}, 4);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 6, 3).ok());
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  // Node 1 collected the cluster and is active; it leads something.
  int partition = 0;
  while (cluster.LeaderOf("t", partition) != 1) ++partition;
  const int64_t killed_us = cluster.world().MonoMicros();
  cluster.Kill(1);
  ASSERT_TRUE(cluster.ProduceHard("t", partition, "after").ok());
  EXPECT_LT(cluster.world().MonoMicros() - killed_us, 2'000'000);
  cluster.Boot(1);
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
}

TEST(ClusterSimTest, AHungBrokerCostsOneSession) {
  SimOptions options;
  options.nodes = 4;
  CheckedCluster cluster(options, 5);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 8, 3).ok());
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  int partition = 0;
  while (cluster.LeaderOf("t", partition) != 4) ++partition;
  const int64_t hung_us = cluster.world().MonoMicros();
  cluster.Pause(4);
  ASSERT_TRUE(cluster.RunUntil(
      [&] { return cluster.LeaderOf("t", partition) != 4; }, 5000));
  EXPECT_LT(cluster.world().MonoMicros() - hung_us, 3'600'000);
  ASSERT_TRUE(cluster.ProduceHard("t", partition, "after").ok());
}

TEST(ClusterSimTest, CleanStopsHandOverAndLoseNothing) {
  CheckedCluster cluster({}, 6);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 3, 3).ok());
  std::vector<std::string> acknowledged;
  for (int id = 1; id <= 3; ++id) {
    SCOPED_TRACE(id);
    ASSERT_TRUE(cluster.ProduceHard("t", 0, Text(id)).ok());
    acknowledged.push_back(Text(id));
    ASSERT_TRUE(cluster.Stop(id));
    EXPECT_NE(cluster.LeaderOf("t", 0), id);
    cluster.Boot(id);
    ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  }
  for (int id = 1; id <= 3; ++id) {
    SCOPED_TRACE(id);
    ASSERT_TRUE(cluster.Stop(id)) << "the last ones have no quorum";
  }
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  EXPECT_EQ(cluster.ReadAll("t", 0), acknowledged);
}

TEST(ClusterSimTest, AWipedBrokerRefillsAndRejoins) {
  SimOptions options;
  options.nodes = 4;
  CheckedCluster cluster(options, 7);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 4, 3).ok());
  std::vector<std::string> acknowledged;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(cluster.ProduceHard("t", i % 4, Text(i)).ok());
  }
  cluster.Kill(4);
  cluster.Wipe(4);
  ASSERT_TRUE(cluster.ProduceHard("t", 0, "meanwhile").ok());
  cluster.Boot(4);
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  size_t read = 0;
  for (int p = 0; p < 4; ++p) read += cluster.ReadAll("t", p).size();
  EXPECT_EQ(read, 21u);
}

// RP18: in memory mode a replica whose machine lost its power is not electable,
// also when the process that recovered it first never got to register.
TEST(ClusterSimTest, APowerCutIsRememberedThroughARestartThatCameToNothing) {
  SimOptions options;
  options.nodes = 2;
  options.separate = true;
  CheckedCluster cluster(options, 8);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster
                  .CreateTopic("t", 1, 2,
                               {{"min.insync.replicas", "2"},
                                {"durability", "memory"}})
                  .ok());
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  const int leader = cluster.LeaderOf("t", 0);
  const int follower = 3 - leader;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(cluster.ProduceHard("t", 0, Text(i)).ok());
  }
  cluster.PowerCut(follower);
  for (const int id : cluster.controller_ids()) {
    cluster.network().Cut(NodeId(follower), NodeId(id));
  }
  cluster.Boot(follower);
  cluster.RunFor(1000);
  cluster.Kill(follower);
  cluster.network().Heal();
  cluster.RunFor(1000);

  // Registered, its verdict told; it cannot come into sync again.
  cluster.network().Cut(NodeId(leader), NodeId(follower));
  cluster.Boot(follower);
  cluster.RunFor(1000);
  cluster.Kill(leader);
  cluster.RunFor(1000);

  EXPECT_EQ(cluster.LeaderOf("t", 0), 0);
  cluster.network().Heal();
  cluster.Boot(leader);
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  EXPECT_EQ(cluster.ReadAll("t", 0).size(), 20u);
}

struct Faults {
  std::string name;
  bool separate_controllers;
  bool memory;  // durability; then no machine loses its power
};

// Random kills, power cuts, hangs and partitions under load; afterwards every
// acknowledged record is there, in order, nothing else is, and the replicas'
// logs are the same to the byte.
class ClusterSimFaults
    : public testing::TestWithParam<std::tuple<Faults, int>> {
 protected:
  const Faults& faults() { return std::get<0>(GetParam()); }
  int seed() { return std::get<1>(GetParam()); }

  void Break(SimCluster& cluster, Random& random) {
    const std::vector<int> ids = cluster.ids();
    const int victim = ids[random.Below(ids.size())];
    const int other = ids[random.Below(ids.size())];
    switch (random.Below(8)) {
      case 0:
        return cluster.Kill(victim);
      case 1:
        if (random.OneIn(3) && !faults().memory) cluster.PowerCut(victim);
        return;
      case 2:
        return cluster.network().Cut(NodeId(victim), NodeId(other));
      case 3:
        if (cluster.up(victim) && random.OneIn(2)) {
          cluster.Pause(victim);
        }
        return;
      case 4:
        return Mend(cluster);
      default:
        return;
    }
  }
  // No cut, no hang; what is down stays down.
  static void Mend(SimCluster& cluster) {
    cluster.network().Heal();
    for (const int id : cluster.ids()) {
      cluster.Resume(id);
    }
  }
  static void CheckRecords(const std::vector<std::string>& read,
                           const std::vector<std::string>& acknowledged,
                           const std::vector<std::string>& sent) {
    size_t at = 0;
    for (const std::string& value : acknowledged) {
      const auto found = std::find(read.begin() + static_cast<long>(at),
                                   read.end(), value);
      ASSERT_NE(found, read.end()) << value << " is lost or out of order";
      at = static_cast<size_t>(found - read.begin()) + 1;
    }
    for (const std::string& value : read) {
      EXPECT_NE(std::find(sent.begin(), sent.end(), value), sent.end())
          << value << " was never sent";
    }
  }
  static void CheckSameLogs(SimCluster& cluster, const TopicId& topic,
                            int partition) {
    const TopicPartition tp{topic, PartitionIndex(partition)};
    const auto metadata = cluster.Partition("t", partition);
    ASSERT_TRUE(metadata.has_value());
    const auto want = cluster.LogBytes(metadata->leader_id(), tp);
    ASSERT_TRUE(want.has_value());
    for (const int32_t id : metadata->replicas()) {
      const auto got = cluster.LogBytes(id, tp);
      EXPECT_EQ(got.has_value() ? got->size() : 0, want->size()) << id;
      EXPECT_TRUE(got == want) << "replica " << id << " diverges";
    }
  }
};

TEST_P(ClusterSimFaults, NoAcknowledgedRecordIsLost) {
  SimOptions options;
  options.nodes = 4;
  options.separate = faults().separate_controllers;
  CheckedCluster cluster(options, 1000 + static_cast<uint64_t>(seed()));
  Random random(static_cast<uint64_t>(seed()) + 77);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster
                  .CreateTopic("t", 2, 3,
                               {{"min.insync.replicas", "2"},
                                {"durability", faults().memory ? "memory"
                                                               : "disk"}})
                  .ok());
  std::vector<std::vector<std::string>> acknowledged(2);
  std::vector<std::string> sent;
  for (int n = 0; n < 60; ++n) {
    Break(cluster, random);
    const auto partition = static_cast<size_t>(n % 2);
    sent.push_back(Text(n));
    if (cluster.Produce("t", n % 2, Text(n)).ok()) {
      acknowledged[partition].push_back(Text(n));
    }
    for (const int id : cluster.ids()) {
      if (!cluster.up(id) && random.OneIn(3)) cluster.Boot(id);
    }
    cluster.RunFor(random.Between(0, 300));
  }
  Mend(cluster);
  for (const int id : cluster.ids()) {
    if (!cluster.up(id)) cluster.Boot(id);
  }
  // Longer than a session and than the keepalive of what broke silently.
  cluster.RunFor(5000);
  ASSERT_TRUE(cluster.AwaitHealthy(60'000)) << cluster.Health();
  const TopicId topic = cluster.TopicIdOf("t");
  for (int p = 0; p < 2; ++p) {
    SCOPED_TRACE(p);
    CheckRecords(cluster.ReadAll("t", p), acknowledged[static_cast<size_t>(p)],
                 sent);
    CheckSameLogs(cluster, topic, p);
  }
}

// SLUICE_SEEDS=first:count runs others.
std::pair<int, int> SeedRange() {
  const char* asked = std::getenv("SLUICE_SEEDS");
  int first = 0;
  int count = 30;
  if (asked != nullptr) std::sscanf(asked, "%d:%d", &first, &count);
  return {first, first + count};
}

INSTANTIATE_TEST_SUITE_P(
    Seeds, ClusterSimFaults,
    testing::Combine(testing::Values(Faults{"Combined", false, false},
                                     Faults{"Split", true, false},
                                     Faults{"SplitInMemory", true, true}),
                     testing::Range(SeedRange().first, SeedRange().second)),
    [](const auto& info) {
      return std::get<0>(info.param).name + "Seed" +
             std::to_string(std::get<1>(info.param));
    });

}  // namespace
}  // namespace sluice::sim
