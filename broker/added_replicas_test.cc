// Brokers that join get replicas of the internal topics: created in their
// directory, filled from the leader, and in sync by the rules of any other.
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"
#include "controller/metadata/internal_topics.h"

namespace sluice {
namespace {

class AddedReplicasTest : public ShardFixture {
 protected:
  // Broker 1 alone, with the internal topic.
  void OpenAlone() {
    SimCluster::Options options;
    options.brokers = 3;
    cluster = std::make_unique<SimCluster>(std::move(options));
    cluster->Start(1);
    world().RunFor(kSecondUs);
    ASSERT_TRUE(
        cluster->metadata().EnsureInternal(kConsumerOffsetsTopic).ok());
    cluster->Publish();
    tp = Tp(0);
    for (int p = 0; p < kConsumerOffsetsPartitions; ++p) {
      ASSERT_TRUE(cluster->RunUntilHealthy(Tp(p))) << p;
    }
  }
  TopicPartition Tp(int partition) {
    return {cluster->image().FindTopic(kConsumerOffsetsTopic)->id,
            PartitionIndex(partition)};
  }
  const PartitionImage& At(int partition) {
    return *cluster->image().FindPartition(Tp(partition));
  }
  bool AllInSync(size_t replicas) {
    for (int p = 0; p < kConsumerOffsetsPartitions; ++p) {
      if (At(p).isr.size() != replicas) return false;
    }
    return true;
  }
  int MinIsr() {
    return cluster->metadata().configs().MinIsrOf(
        *cluster->image().FindTopic(kConsumerOffsetsTopic));
  }
};

TEST_F(AddedReplicasTest, AJoinedBrokerIsFilledAndComesInSync) {
  OpenAlone();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "old").error.ok());
  }
  cluster->Start(2);
  ASSERT_TRUE(
      world().RunUntil([&] { return AllInSync(2); }, 60 * kSecondUs))
      << cluster->Describe(tp);
  EXPECT_EQ(partition(2).leo(), Offset(20));
  EXPECT_EQ(At(0).DirectoryOf(NodeId(2)),
            partition(2).directory()->id());
  EXPECT_EQ(MinIsr(), 1);

  cluster->Start(3);
  ASSERT_TRUE(
      world().RunUntil([&] { return AllInSync(3); }, 60 * kSecondUs))
      << cluster->Describe(tp);
  EXPECT_EQ(MinIsr(), 2);
  ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "new").error.ok());

  // What broker 1 alone had acknowledged outlives it.
  cluster->Stop(1, SimCluster::End::kPowerLossOfAll);
  ASSERT_TRUE(world().RunUntil([&] { return leader() > 1; }, 30 * kSecondUs));
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(Values(Read(leader(), 0)).size(), 21u);
  EXPECT_TRUE(AppendNow(leader(), api::Acks::kAll, "after").error.ok());
  EXPECT_TRUE(cluster->fatal().empty());
}

// While it is filled, nothing waits for it and it is not elected.
TEST_F(AddedReplicasTest, AReplicaThatIsNotFilledCountsForNothing) {
  OpenAlone();
  ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "old").error.ok());
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->Start(2);
  ASSERT_TRUE(world().RunUntil([&] { return At(0).replicas.size() == 2; },
                               30 * kSecondUs));
  ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "alone").error.ok());
  EXPECT_EQ(At(0).isr, Nodes({1}));
  cluster->Stop(1, SimCluster::End::kKill);
  world().RunFor(10 * kSecondUs);
  EXPECT_EQ(At(0).leader, kNoNode);
  cluster->network().Heal();
  cluster->Start(1);
  ASSERT_TRUE(
      world().RunUntil([&] { return AllInSync(2); }, 60 * kSecondUs))
      << cluster->Describe(tp);
  EXPECT_EQ(Values(Read(1, 0)).size(), 2u);
}

}  // namespace
}  // namespace sluice
