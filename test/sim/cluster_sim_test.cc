#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "test/sim/sim_cluster.h"

namespace sluice::sim {
namespace {

TEST(ClusterSimTest, ThreeFreshNodesBecomeAClusterAndCarryARecord) {
  SimCluster cluster({}, 1);
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
  SimCluster cluster({}, 2);
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

TEST(ClusterSimTest, AKilledLeaderCostsItsPartitionsUnderASecond) {
  SimOptions options;
  options.nodes = 5;  // 4 and 5 are brokers alone
  SimCluster cluster(options, 3);
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
  SimCluster cluster({}, 4);
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
  SimCluster cluster(options, 5);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(cluster.CreateTopic("t", 8, 3).ok());
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  int partition = 0;
  while (cluster.LeaderOf("t", partition) != 4) ++partition;
  const int64_t hung_us = cluster.world().MonoMicros();
  cluster.at(4).life->hung = true;
  ASSERT_TRUE(cluster.RunUntil(
      [&] { return cluster.LeaderOf("t", partition) != 4; }, 5000));
  EXPECT_LT(cluster.world().MonoMicros() - hung_us, 3'600'000);
  ASSERT_TRUE(cluster.ProduceHard("t", partition, "after").ok());
}

TEST(ClusterSimTest, CleanStopsHandOverAndLoseNothing) {
  SimCluster cluster({}, 6);
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
  SimCluster cluster(options, 7);
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

// Random kills, power cuts, hangs and partitions under load; afterwards every
// acknowledged record is there, in order, and nothing else is.
class ClusterSimFaults : public testing::TestWithParam<int> {};

TEST_P(ClusterSimFaults, NoAcknowledgedRecordIsLost) {
  SimOptions options;
  options.nodes = 4;
  SimCluster cluster(options, 1000 + static_cast<uint64_t>(GetParam()));
  Random random(static_cast<uint64_t>(GetParam()) + 77);
  cluster.BootAll();
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  ASSERT_TRUE(
      cluster.CreateTopic("t", 2, 3, {{"min.insync.replicas", "2"}}).ok());
  std::vector<std::vector<std::string>> acknowledged(2);
  std::vector<std::string> sent;
  for (int n = 0; n < 60; ++n) {
    const int victim = static_cast<int>(random.Between(1, 4));
    switch (random.Below(6)) {
      case 0:
        cluster.Kill(victim);
        break;
      case 1:
        if (random.OneIn(3)) cluster.PowerCut(victim);
        break;
      case 2:
        cluster.network().Cut(NodeId(victim),
                              NodeId(static_cast<int>(random.Between(1, 4))));
        break;
      case 3:
        cluster.network().Heal();
        break;
      default:
        break;
    }
    const int partition = n % 2;
    sent.push_back(Text(n));
    if (cluster.Produce("t", partition, Text(n)).ok()) {
      acknowledged[static_cast<size_t>(partition)].push_back(Text(n));
    }
    for (int id = 1; id <= 4; ++id) {
      if (!cluster.up(id) && random.OneIn(3)) cluster.Boot(id);
    }
    cluster.RunFor(random.Between(0, 300));
  }
  cluster.network().Heal();
  for (int id = 1; id <= 4; ++id) {
    if (!cluster.up(id)) cluster.Boot(id);
  }
  ASSERT_TRUE(cluster.AwaitHealthy(60'000)) << cluster.Health();
  for (size_t p = 0; p < 2; ++p) {
    const std::vector<std::string> read =
        cluster.ReadAll("t", static_cast<int>(p));
    size_t at = 0;
    for (const std::string& value : acknowledged[p]) {
      const auto found = std::find(read.begin() + static_cast<long>(at),
                                   read.end(), value);
      ASSERT_NE(found, read.end())
          << value << " of partition " << p << " is lost or out of order";
      at = static_cast<size_t>(found - read.begin()) + 1;
    }
    for (const std::string& value : read) {
      EXPECT_NE(std::find(sent.begin(), sent.end(), value), sent.end())
          << value << " was never sent";
    }
  }
}

// SLUICE_SEEDS=first:count runs others.
std::pair<int, int> SeedRange() {
  const char* asked = std::getenv("SLUICE_SEEDS");
  int first = 0;
  int count = 60;
  if (asked != nullptr) std::sscanf(asked, "%d:%d", &first, &count);
  return {first, first + count};
}

INSTANTIATE_TEST_SUITE_P(Seeds, ClusterSimFaults,
                         testing::Range(SeedRange().first,
                                        SeedRange().second));

}  // namespace
}  // namespace sluice::sim
