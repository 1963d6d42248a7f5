// Partitions whose topic is configured anew while they are written to.
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

class RuntimeConfigs : public ShardFixture {
 protected:
  void Set(const std::string& key, const std::string& value) {
    const auto result = cluster->metadata().AlterConfigs("t", {{key, value}});
    ASSERT_FALSE(result.has_error()) << result.error().message();
    cluster->Publish();
  }
  std::string Promise() {
    return shard(leader()).DescribeLog(tp).durability();
  }
  Offset Durable(int id) { return partition(id).log().durable_leo(); }
};

// ---- F31 ----

TEST_F(RuntimeConfigs, F31RaisingMinIsrRefusesAndLoweringResumes) {
  Open(3, {{"min.insync.replicas", "2"}});
  cluster->Stop(3, SimCluster::End::kKill);
  world().RunFor(kSecondUs);
  ASSERT_TRUE(AppendNow(1).error.ok());

  Set("min.insync.replicas", "3");
  world().RunFor(kSecondUs);
  EXPECT_EQ(AppendNow(1).error.code, ErrorCode::kNotEnoughReplicas);
  EXPECT_TRUE(AppendNow(1, api::Acks::kLeader).below_min_isr);
  EXPECT_EQ(partition(1).high_watermark(), Offset(1));

  Set("min.insync.replicas", "2");
  EXPECT_TRUE(world().RunUntil(
      [&] { return partition(1).high_watermark() == Offset(2); }, kSecondUs));
  EXPECT_TRUE(AppendNow(1).error.ok());
}

// ---- Durability ----

TEST_F(RuntimeConfigs, ToDiskWhatWasAcknowledgedIsSyncedAndThenPromised) {
  Open(3, {{"durability", "memory"}});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(AppendNow(1).durability, "memory");
  ASSERT_EQ(Durable(2), Offset(0));
  EXPECT_EQ(Promise(), "memory");

  Set("durability", "disk");
  EXPECT_TRUE(world().RunUntil([&] { return Promise() == "disk"; },
                               10 * kSecondUs));
  EXPECT_FALSE(cluster->image().FindPartition(tp)->durability_settling);
  for (int id = 1; id <= 3; ++id) EXPECT_GE(Durable(id), Offset(3)) << id;
  EXPECT_EQ(AppendNow(1).durability, "disk");
  for (int id = 1; id <= 3; ++id) EXPECT_EQ(Durable(id), Offset(4)) << id;
}

TEST_F(RuntimeConfigs, AnAnswerNamesDiskOnlyWhenTheSwitchHasSettled) {
  SimCluster::Options options;
  options.lose_one_proposal_in = 1;  // the leader's word never arrives
  Open(3, {{"durability", "memory"}}, options);
  Set("durability", "disk");
  world().RunFor(5 * kSecondUs);
  const AppendOutcome outcome = AppendNow(1);
  ASSERT_TRUE(outcome.error.ok()) << outcome.error.message;
  for (int id = 1; id <= 3; ++id) EXPECT_EQ(Durable(id), Offset(1)) << id;
  EXPECT_EQ(outcome.durability, "memory");
  EXPECT_EQ(Promise(), "memory");
}

TEST_F(RuntimeConfigs, ToMemoryNoAnswerWaitsForADisk) {
  Open(1);
  EXPECT_EQ(AppendNow(1).durability, "disk");
  Set("durability", "memory");
  world().RunFor(kSecondUs);
  const int64_t syncs = cluster->fs(1).sync_count();
  EXPECT_EQ(AppendNow(1).durability, "memory");
  EXPECT_EQ(cluster->fs(1).sync_count(), syncs);
  EXPECT_EQ(Durable(1), Offset(1));
}

// ---- flush.messages, flush.ms ----

TEST_F(RuntimeConfigs, InMemoryALogIsSyncedAfterSoManyRecords) {
  Open(3, {{"durability", "memory"}, {"flush.messages", "3"}});
  AppendNow(1);
  AppendNow(1);
  world().RunFor(10 * kSecondUs);
  EXPECT_EQ(Durable(1), Offset(0));
  AppendNow(1);
  world().RunFor(kSecondUs);
  for (int id = 1; id <= 3; ++id) EXPECT_EQ(Durable(id), Offset(3)) << id;
}

TEST_F(RuntimeConfigs, InMemoryALogIsSyncedAfterSuchATime) {
  Open(3, {{"durability", "memory"}, {"flush.ms", "2000"}});
  AppendNow(1);
  world().RunFor(kSecondUs);
  AppendNow(1);  // does not begin the time anew
  EXPECT_EQ(Durable(1), Offset(0));
  world().RunFor(2 * kSecondUs);
  for (int id = 1; id <= 3; ++id) EXPECT_EQ(Durable(id), Offset(2)) << id;
}

}  // namespace
}  // namespace sluice
