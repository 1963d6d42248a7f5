#include "controller/metadata/internal_topics.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {
namespace {

class InternalTopicsTest : public testing::Test {
 protected:
  void Ensure() {
    const absl::Status made = cluster_.EnsureInternal(kConsumerOffsetsTopic);
    ASSERT_TRUE(made.ok()) << made;
  }
  const TopicImage& Offsets() {
    return *cluster_.image().FindTopic(kConsumerOffsetsTopic);
  }
  TopicPartition Tp(int partition) {
    return {Offsets().id, PartitionIndex(partition)};
  }
  // Every partition's leader proposes all of `isr`.
  void AllInSync(const std::vector<int32_t>& isr, int from = 0,
                 int to = kConsumerOffsetsPartitions) {
    for (int p = from; p < to; ++p) cluster_.SetIsr(Tp(p), isr);
  }
  int MinIsr() { return cluster_.configs().MinIsrOf(Offsets()); }
  void ExpectReplicas(const std::vector<int32_t>& replicas) {
    for (const auto& [index, partition] : Offsets().partitions) {
      EXPECT_EQ(partition->replicas, Nodes(replicas)) << index;
      EXPECT_EQ(partition->directories.size(), replicas.size());
      for (const DirectoryId& id : partition->directories) {
        EXPECT_TRUE(id.is_set());
      }
    }
  }
  TestCluster cluster_;
};

TEST_F(InternalTopicsTest, ItIsMadeOnceAndAsItShouldBe) {
  cluster_.StartAll(4);
  Ensure();
  EXPECT_TRUE(Offsets().internal());
  ASSERT_EQ(Offsets().partitions.size(), 16u);
  EXPECT_EQ(Offsets().configs.at("cleanup.policy"), "compact");
  const TopicSettings settings = cluster_.configs().SettingsOf(Offsets());
  EXPECT_TRUE(settings.durable);
  EXPECT_FALSE(settings.unclean_elections);
  EXPECT_EQ(settings.min_insync_replicas, 2);
  std::map<NodeId, int> led;
  for (const auto& [index, partition] : Offsets().partitions) {
    EXPECT_EQ(partition->replicas.size(), 3u);
    ++led[partition->leader];
  }
  for (int id = 1; id <= 4; ++id) EXPECT_EQ(led[NodeId(id)], 4) << id;
  const size_t entries = cluster_.log().size();
  Ensure();
  EXPECT_EQ(cluster_.log().size(), entries);
}

// What acknowledged offsets are kept by does not depend on a node's defaults.
TEST_F(InternalTopicsTest, NodeDefaultsDoNotReachIt) {
  TestCluster cluster({{"durability", "memory"},
                       {"min.insync.replicas", "1"},
                       {"unclean.leader.election.enable", "true"}});
  cluster.StartAll(3);
  ASSERT_TRUE(cluster.EnsureInternal(kConsumerOffsetsTopic).ok());
  const TopicSettings settings = cluster.configs().SettingsOf(
      *cluster.image().FindTopic(kConsumerOffsetsTopic));
  EXPECT_TRUE(settings.durable);
  EXPECT_EQ(settings.min_insync_replicas, 2);
  EXPECT_FALSE(settings.unclean_elections);
}

TEST_F(InternalTopicsTest, UnknownNamesAndNobodyAliveAreRefused) {
  EXPECT_EQ(CodeOf(cluster_.EnsureInternal(kConsumerOffsetsTopic)),
            ErrorCode::kBrokerNotAvailable);
  cluster_.StartAll(1);
  for (const std::string& name :
       {std::string(), std::string("t"), std::string("__other"),
        std::string("__consumer_offsets "), std::string(100000, 'x')}) {
    const absl::Status refused = cluster_.EnsureInternal(name);
    EXPECT_EQ(CodeOf(refused), ErrorCode::kInvalidTopic) << refused;
    EXPECT_LT(refused.message().size(), 1000u);
  }
  EXPECT_EQ(cluster_.image().topics().size(), 0u);
}

TEST_F(InternalTopicsTest, UsersMayNotMakeDeleteOrRetuneIt) {
  cluster_.StartAll(3);
  v1::CreateTopicsRequest create;
  create.add_topics()->set_name(kConsumerOffsetsTopic);
  EXPECT_EQ(cluster_.Create(create).results(0).error().code(),
            v1::ERROR_CODE_INVALID_TOPIC);
  Ensure();
  v1::DeleteTopicsRequest remove;
  remove.add_topics()->set_name(kConsumerOffsetsTopic);
  const auto deleted =
      TopicControl(cluster_.image(), cluster_.configs()).Delete(remove);
  ASSERT_TRUE(deleted.ok());
  EXPECT_EQ(deleted->response.results(0).error().code(),
            v1::ERROR_CODE_INVALID_REQUEST);
  EXPECT_TRUE(deleted->batch.records().empty());
  const uint64_t before = MetaHash(cluster_.image());
  for (const auto& [key, value] : std::map<std::string, std::string>{
           {"cleanup.policy", "delete"},
           {"durability", "memory"},
           {"min.insync.replicas", "1"}}) {
    for (const std::string& to : {value, std::string()}) {
      const auto answer =
          cluster_.AlterConfigs(kConsumerOffsetsTopic, {{key, to}});
      EXPECT_EQ(answer.error().code(), v1::ERROR_CODE_INVALID_CONFIG) << key;
      EXPECT_NE(answer.error().message().find(key), std::string::npos);
    }
  }
  EXPECT_EQ(MetaHash(cluster_.image()), before);
  EXPECT_FALSE(cluster_.AlterConfigs(kConsumerOffsetsTopic,
                                     {{"segment.bytes", "1048576"}})
                   .has_error());
}

TEST_F(InternalTopicsTest, BrokersThatJoinBecomeReplicasUpToThree) {
  cluster_.Start(1);
  const auto user = cluster_.CreateOn("t", {1});
  Ensure();
  ExpectReplicas({1});
  EXPECT_EQ(MinIsr(), 1);
  const auto epochs = cluster_.At(Tp(3)).leader_epoch;

  cluster_.Register(TestCluster::Registration(2, 1));
  ExpectReplicas({1});  // not yet alive
  cluster_.Unfence(2);
  ExpectReplicas({1, 2});
  EXPECT_EQ(cluster_.changes().partitions_changed.size(), 16u);
  EXPECT_EQ(cluster_.At(Tp(3)).isr, Nodes({1}));  // it has nothing yet
  EXPECT_EQ(cluster_.At(Tp(3)).leader, NodeId(1));
  EXPECT_EQ(cluster_.At(Tp(3)).leader_epoch, epochs);
  cluster_.Start(3);
  ExpectReplicas({1, 2, 3});
  cluster_.Start(4);
  ExpectReplicas({1, 2, 3});
  EXPECT_EQ(cluster_.At(user).replicas, Nodes({1}));
  EXPECT_EQ(cluster_.image().replica_count(), 1 + 16 * 3);

  // A restart of one that is a replica already adds nothing.
  cluster_.Fence(3);
  cluster_.Start(3);
  ExpectReplicas({1, 2, 3});
}

TEST_F(InternalTopicsTest, ABrokerThatComesForADeadOneIsAddedAndNobodyLeaves) {
  cluster_.StartAll(2);
  Ensure();
  cluster_.Fence(2);
  cluster_.Start(3);
  for (const auto& [index, partition] : Offsets().partitions) {
    EXPECT_EQ(partition->replicas.size(), 3u) << index;
    EXPECT_EQ(partition->replicas.back(), NodeId(3)) << index;
    EXPECT_EQ(partition->isr, Nodes({1})) << index;
  }
}

// Without a leader too: the one that joins does not lead what it has not got.
TEST_F(InternalTopicsTest, AJoinedBrokerDoesNotLeadWhatNobodyHolds) {
  cluster_.Start(1);
  Ensure();
  cluster_.Fence(1);
  cluster_.Start(2);
  for (const auto& [index, partition] : Offsets().partitions) {
    EXPECT_EQ(partition->replicas, Nodes({1, 2})) << index;
    EXPECT_EQ(partition->leader, kNoNode) << index;
  }
  cluster_.Unfence(1);
  EXPECT_EQ(cluster_.At(Tp(0)).leader, NodeId(1));
}

TEST_F(InternalTopicsTest, DirectoriesOfAJoinedBrokerTakeTurns) {
  cluster_.Start(1);
  Ensure();
  auto request = TestCluster::Registration(2, 1);
  request.add_directories()->set_id(TestCluster::Directory(2, 1));
  cluster_.Register(request);
  cluster_.Unfence(2);
  std::map<DirectoryId, int> used;
  for (const auto& [index, partition] : Offsets().partitions) {
    ++used[partition->DirectoryOf(NodeId(2))];
  }
  ASSERT_EQ(used.size(), 2u);
  for (const auto& [id, count] : used) EXPECT_EQ(count, 8) << id;
}

// Raised with the replicas, it would stop every commit until one was filled.
TEST_F(InternalTopicsTest, MinIsrRisesOnceEveryPartitionHasTwoInSync) {
  cluster_.Start(1);
  Ensure();
  cluster_.Start(2);
  cluster_.Start(3);
  EXPECT_EQ(MinIsr(), 1);
  AllInSync({1, 2}, 0, 15);
  EXPECT_EQ(MinIsr(), 1);
  // Another partition's loss is seen with it.
  cluster_.SetIsr(Tp(4), {1});
  AllInSync({1, 3}, 15, 16);
  EXPECT_EQ(MinIsr(), 1);
  cluster_.SetIsr(Tp(4), {1, 3});
  EXPECT_EQ(MinIsr(), 2);
  EXPECT_EQ(cluster_.configs().SettingsOf(Offsets()).min_insync_replicas, 2);
  // It stays, and who leaves below it is remembered.
  cluster_.SetIsr(Tp(4), {1});
  EXPECT_EQ(MinIsr(), 2);
  EXPECT_EQ(cluster_.At(Tp(4)).elr, Nodes({3}));
  EXPECT_EQ(cluster_.log().back().batch.records_size(), 1);
}

TEST_F(InternalTopicsTest, TwoReplicasNeedOne) {
  cluster_.Start(1);
  Ensure();
  cluster_.Start(2);
  AllInSync({1, 2});
  EXPECT_EQ(MinIsr(), 1);
}

// Replay on any node makes the same of it (MD1).
TEST_F(InternalTopicsTest, ReplayGivesTheSameImage) {
  cluster_.Start(1);
  Ensure();
  cluster_.Start(2);
  cluster_.Start(3);
  AllInSync({1, 2, 3});
  auto image = MetadataImage::Empty();
  for (const auto& entry : cluster_.log()) {
    auto applied = ApplyBatch(*image, entry.batch, entry.offset, entry.term);
    ASSERT_TRUE(applied.ok()) << applied.status();
    image = applied->image;
  }
  EXPECT_EQ(MetaHash(*image), MetaHash(cluster_.image()));
}

}  // namespace
}  // namespace sluice
