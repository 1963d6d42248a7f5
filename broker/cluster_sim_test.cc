// Nothing acknowledged is ever lost: three brokers, a controller, disks that
// forget, processes that die (correctness.md RP1, RP8, RP9, RP22, RP24).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/cluster_oracle_testing.h"
#include "broker/cluster_testing.h"

namespace sluice {
namespace {

using testing::IsEmpty;

const std::map<std::string, std::string> kDisk = {
    {"min.insync.replicas", "2"}, {"durability", "disk"}};
const std::map<std::string, std::string> kMemory = {
    {"min.insync.replicas", "2"}, {"durability", "memory"}};

TEST(ClusterSim, ARecordGoesToAllAndIsRead) {
  SimCluster cluster({});
  cluster.StartAll();
  cluster.world().RunFor(1'000'000);
  const TopicPartition tp = cluster.CreateTopic("t", {1, 2, 3}, kDisk);
  ASSERT_TRUE(cluster.RunUntilHealthy(tp));
  SimClient client(&cluster);
  ASSERT_TRUE(client.ProduceOne(tp));
  EXPECT_EQ(client.CheckReadable(tp), "");
  cluster.world().RunFor(100'000);
  EXPECT_EQ(client.CheckReplicas(tp, /*converged=*/true), "");
}

// The disk of every node is cut off the moment a record is acknowledged.
void CrashAllAfterEachAcknowledgement(SimCluster::End how, uint64_t seed) {
  SimCluster cluster({.seed = seed});
  cluster.StartAll();
  cluster.world().RunFor(1'000'000);
  const TopicPartition tp = cluster.CreateTopic("t", {1, 2, 3}, kDisk);
  ASSERT_TRUE(cluster.RunUntilHealthy(tp));
  SimClient client(&cluster);
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(StrCat("seed ", seed, " round ", round));
    ASSERT_TRUE(cluster.RunUntilLed(tp));
    // Some company, so that there is something unsynced to lose.
    std::vector<std::shared_ptr<SimClient::Sent>> sent;
    for (int i = 0; i < 5; ++i) sent.push_back(client.Produce(tp));
    const bool answered = cluster.world().RunUntil(
        [&] {
          return std::any_of(sent.begin(), sent.end(), [](const auto& s) {
            return s->acknowledged();
          });
        },
        30'000'000);
    ASSERT_TRUE(answered);
    for (int id = 1; id <= 3; ++id) cluster.Stop(id, how);
    cluster.StartAll();
    ASSERT_TRUE(cluster.RunUntilReadable(tp));
    ASSERT_EQ(client.CheckReadable(tp), "");
  }
  ASSERT_TRUE(cluster.RunUntilHealthy(tp));
  EXPECT_GE(client.acknowledged(tp), 12u);
  EXPECT_EQ(client.CheckReadable(tp), "");
  EXPECT_THAT(cluster.fatal(), IsEmpty());
}

TEST(ClusterSim, EveryDiskCrashesRightAfterEachAcknowledgementLosingAll) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CrashAllAfterEachAcknowledgement(SimCluster::End::kPowerLossOfAll, seed);
    if (HasFatalFailure()) return;
  }
}

TEST(ClusterSim, EveryDiskCrashesRightAfterEachAcknowledgementTorn) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CrashAllAfterEachAcknowledgement(SimCluster::End::kPowerLossPrefix, seed);
    CrashAllAfterEachAcknowledgement(SimCluster::End::kPowerLossSectors, seed);
    if (HasFatalFailure()) return;
  }
}

TEST(ClusterSim, MemoryModeLosesNothingToAKillOfAnyNode) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SimCluster cluster({.seed = seed});
    cluster.StartAll();
    cluster.world().RunFor(1'000'000);
    const TopicPartition tp = cluster.CreateTopic("t", {1, 2, 3}, kMemory);
    ASSERT_TRUE(cluster.RunUntilHealthy(tp));
    SimClient client(&cluster);
    for (int id = 1; id <= 3; ++id) {
      for (int i = 0; i < 5; ++i) client.Produce(tp);
      ASSERT_TRUE(client.ProduceOne(tp));
      cluster.Stop(id, SimCluster::End::kKill);
      ASSERT_TRUE(client.ProduceOne(tp));
      ASSERT_EQ(client.CheckReadable(tp), "");
      cluster.Start(id);
      ASSERT_TRUE(cluster.RunUntilHealthy(tp));
      ASSERT_EQ(client.CheckReadable(tp), "");
      ASSERT_EQ(client.CheckReplicas(tp, false), "");
    }
  }
}

}  // namespace
}  // namespace sluice
