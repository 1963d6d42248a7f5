// The way out of a FAILED replica, and what replicas tell while nobody leads.
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using End = SimCluster::End;

class ShardReset : public ShardFixture {
 protected:
  std::vector<std::string> Directories(int id) {
    std::vector<std::string> names;
    const auto entries = cluster->fs(id).List("/data");
    for (const DirectoryEntry& entry : *entries) {
      if (entry.is_directory) names.push_back(entry.name);
    }
    return names;
  }
  std::string Home() { return PartitionDirectoryName(tp); }
  const PartitionImage& state() { return *cluster->image().FindPartition(tp); }

  absl::StatusOr<std::string> Reset(int id, bool without_leader = false,
                                    bool validate_only = false) {
    std::optional<absl::StatusOr<std::string>> answer;
    ReplicaReset order{tp, without_leader, validate_only};
    cluster->AtShard(id, tp, [&](Shard& at) {
      at.ResetReplica(order, [&](absl::StatusOr<std::string> done) {
        answer.emplace(std::move(done));
      });
    });
    EXPECT_TRUE(
        world().RunUntil([&] { return answer.has_value(); }, kSecondUs));
    return answer.value_or(absl::InternalError("no answer"));
  }
  // A leader without the five records that 1 knows to be committed, whose
  // election nothing explains (RP13).
  void Contradict() {
    Open(2);
    ASSERT_EQ(leader(), 1);
    cluster->network().Cut(NodeId(1), NodeId(2));
    cluster->metadata().SetIsr(tp, {1});
    cluster->Publish();
    world().RunFor(kSecondUs);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(AppendNow(1).error.ok());
    internal::v1::MetadataBatch wrong;
    auto* change = wrong.add_records()->mutable_partition_change();
    change->set_topic_id(tp.topic_id.ToBytes());
    change->set_partition(tp.partition.value());
    change->set_partition_epoch(state().partition_epoch.value() + 1);
    change->set_leader(2);
    change->set_leader_epoch(state().leader_epoch.value() + 1);
    change->mutable_isr()->add_ids(2);
    change->mutable_last_full_isr()->add_ids(2);
    cluster->metadata().Apply(wrong);
    cluster->Publish();
    cluster->network().Heal();
    ASSERT_TRUE(world().RunUntil([&] { return partition(1).failed(); },
                                 10 * kSecondUs));
    ASSERT_TRUE(world().RunUntil(
        [&] { return Contains(state().failed_replicas, NodeId(1)); },
        10 * kSecondUs));
  }
};

TEST_F(ShardReset, AReplicaThatContradictsItsLeaderIsFilledAgainByOrder) {
  Contradict();
  world().RunFor(5 * kSecondUs);
  EXPECT_THAT(Directories(1), ElementsAre(Home()));  // never by itself
  const auto would = Reset(1, false, /*validate_only=*/true);
  ASSERT_TRUE(would.ok()) << would.status();
  EXPECT_THAT(*would, HasSubstr("no unclean election"));
  EXPECT_THAT(Directories(1), ElementsAre(Home()));
  const auto reset = Reset(1);
  ASSERT_TRUE(reset.ok()) << reset.status();
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_THAT(Directories(1), ElementsAre(Home(), Home() + ".stray-0"));
  EXPECT_TRUE(state().failed_replicas.empty());
  EXPECT_EQ(partition(1).leo(), partition(2).leo());
  EXPECT_THAT(cluster->fatal(), SizeIs(0));
}

TEST_F(ShardReset, AReplicaThatWorksIsNotReset) {
  Open(2);
  ASSERT_TRUE(AppendNow(1).error.ok());
  EXPECT_EQ(CodeOf(Reset(2).status()), ErrorCode::kInvalidRequest);
  EXPECT_EQ(CodeOf(Reset(2, true).status()), ErrorCode::kInvalidRequest);
  EXPECT_THAT(Directories(2), ElementsAre(Home()));
}

TEST_F(ShardReset, ARottenReplicaThatIsAloneBeginsEmptyByOrderOnly) {
  SimCluster::Options options;
  options.tail_cache_bytes = 1;
  Open(1, {}, options);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(AppendNow(1).error.ok());
  world().RunFor(2 * kSecondUs);
  cluster->fs(1).FlipBit(
      "/data/" + Home() + "/" + SegmentFileName(Offset(0), ".log"), 70);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kReplicaFailed);
  ASSERT_TRUE(world().RunUntil(
      [&] { return state().candidates.size() == 1; }, 10 * kSecondUs));
  EXPECT_TRUE(state().candidates[0].failed);
  EXPECT_EQ(CodeOf(Reset(1).status()), ErrorCode::kLeaderNotAvailable);
  EXPECT_EQ(state().leader, kNoNode);
  const auto reset = Reset(1, /*without_leader=*/true);
  ASSERT_TRUE(reset.ok()) << reset.status();
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_EQ(partition(1).leo(), Offset(0));
  EXPECT_EQ(state().last_unclean_leader_epoch, state().leader_epoch);
  EXPECT_THAT(Directories(1), ElementsAre(Home(), Home() + ".stray-0"));
  ASSERT_TRUE(AppendNow(1).error.ok());
}

// ---- What is told while nobody leads ----

TEST_F(ShardReset, AfterAPowerCutOfAllTheLongestLogLeadsInMemoryMode) {
  Open(3, {{"durability", "memory"}, {"min.insync.replicas", "2"}});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendNow(leader()).error.ok());
  ASSERT_TRUE(cluster->StopClean(2).ok());  // its log is on its disk
  cluster->Start(2);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  ASSERT_TRUE(AppendNow(leader()).error.ok());
  for (const int id : {1, 2, 3}) cluster->Stop(id, End::kPowerLossOfAll);
  world().RunFor(kSecondUs);
  // The others count as eligible until they are back without what they held.
  cluster->Start(2);
  ASSERT_TRUE(world().RunUntil(
      [&] { return cluster->image().IsActive(NodeId(2)); }, 10 * kSecondUs));
  cluster->Start(1);
  cluster->Start(3);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_EQ(state().last_unclean_leader_epoch.value() > 0, true);
  EXPECT_THAT(Values(Read(leader(), 0)), SizeIs(3));
}

TEST_F(ShardReset, WhatIsToldAndGetsLostIsToldAgain) {
  Open(1, {{"durability", "memory"}});
  cluster->Stop(1, End::kPowerLossOfAll);
  cluster->Start(1);
  ASSERT_TRUE(world().RunUntil(
      [&] { return state().leader == NodeId(1); }, 10 * kSecondUs));
  cluster->Stop(1, End::kPowerLossOfAll);
  cluster->DropTold(1);
  cluster->Start(1);
  ASSERT_TRUE(world().RunUntil(
      [&] { return state().leader == NodeId(1); }, 10 * kSecondUs));
}

}  // namespace
}  // namespace sluice
