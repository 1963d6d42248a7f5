// What the injectors of disks, clocks and processes do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/base/str_cat.h"
#include "controller/raft/raft_core.h"
#include "test/sim/fault.h"
#include "test/sim/fault_atlas.h"
#include "test/sim/fault_injector.h"

namespace sluice::sim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// ---- Clocks ----

TEST(SimHostTest, AFastClockShowsMoreAndItsTimersAreNotEarlyByIt) {
  SimWorld world;
  SimHost host(&world, NodeId(1));
  host.SetDrift(100'000);  // a tenth
  const auto executor = host.NewExecutor();
  int64_t fired_us = 0;
  executor->PostAfter(1'000'000, [&] { fired_us = host.MonoMicros(); });
  world.RunFor(900'000);
  EXPECT_EQ(fired_us, 0);
  world.RunFor(100'000);
  EXPECT_GE(fired_us, 1'000'000);
  EXPECT_EQ(host.MonoMicros(), 1'100'000);
}

TEST(SimHostTest, TheWallJumpsAndTheMonotonicClockDoesNot) {
  SimWorld world;
  SimHost host(&world, NodeId(1));
  world.RunFor(1'000'000);
  const int64_t wall_ms = host.WallMillis();
  host.JumpWall(-3'600'000);
  EXPECT_EQ(host.WallMillis(), wall_ms - 3'600'000);
  host.SetWall(0);
  EXPECT_EQ(host.WallMillis(), 0);
  host.CorrectWall();
  EXPECT_EQ(host.WallMillis(), wall_ms);
  EXPECT_EQ(host.MonoMicros(), 1'000'000);
}

TEST(SimHostTest, WhatWasDueDuringAPauseRunsAtOnceInOrder) {
  SimWorld world;
  SimHost host(&world, NodeId(1));
  const auto executor = host.NewExecutor();
  std::vector<int> ran;
  executor->PostAfter(200, [&] { ran.push_back(2); });
  executor->PostAfter(100, [&] { ran.push_back(1); });
  const TimerId cancelled =
      executor->PostAfter(150, [&] { ran.push_back(99); });
  host.Pause();
  world.RunFor(1'000);
  EXPECT_THAT(ran, IsEmpty());
  EXPECT_TRUE(executor->Cancel(cancelled));
  host.Resume();
  world.RunFor(0);
  EXPECT_THAT(ran, ElementsAre(1, 2));
}

// ---- The thread that waits for a disk ----

TEST(DiskExecutorTest, ATaskTakesAsLongAsTheDiskAndAHungOneWaits) {
  SimWorld world;
  const auto speed = std::make_shared<DiskSpeed>();
  DiskExecutor thread(world.NewExecutor(), speed, nullptr);
  std::vector<int64_t> ran_us;
  const auto note = [&] { ran_us.push_back(world.MonoMicros()); };
  speed->task_us = 1'000;
  thread.Post(note);
  thread.Post(note);
  world.RunFor(1'500);
  EXPECT_THAT(ran_us, ElementsAre(1'000));
  speed->hung = true;
  world.RunFor(60'000'000);
  EXPECT_THAT(ran_us, ElementsAre(1'000));
  speed->hung = false;
  speed->task_us = 0;
  thread.Wake();
  world.RunFor(1);
  EXPECT_THAT(ran_us, ElementsAre(1'000, 60'001'500));
}

TEST(DiskExecutorTest, ATimerThatIsDueStandsInLineAndCanBeCancelledThere) {
  SimWorld world;
  const auto speed = std::make_shared<DiskSpeed>();
  DiskExecutor thread(world.NewExecutor(), speed, nullptr);
  bool ran = false;
  speed->hung = true;
  const TimerId timer = thread.PostAfter(100, [&] { ran = true; });
  world.RunFor(1'000);
  EXPECT_TRUE(thread.Cancel(timer));
  speed->hung = false;
  thread.Wake();
  world.RunFor(1'000);
  EXPECT_FALSE(ran);
}

// As fsync: what others write while it runs may not be on the disk.
TEST(DiskExecutorTest, ASyncPromisesWhatWasWrittenBeforeTheDiskGotIt) {
  SimWorld world;
  MemFileSystem fs;
  const auto speed = std::make_shared<DiskSpeed>();
  DiskExecutor thread(world.NewExecutor(), speed, &fs);
  auto file = *fs.Open("/file", OpenMode::kCreate);
  ASSERT_TRUE(fs.SyncDirectory("/").ok());
  speed->task_us = 1'000;
  ASSERT_TRUE(file->Write(0, "before").ok());
  thread.Post([&] { EXPECT_TRUE(file->SyncData().ok()); });
  world.RunFor(500);
  ASSERT_TRUE(file->Write(6, " meanwhile").ok());
  // Hung, and back: it is the same sync.
  speed->hung = true;
  world.RunFor(10'000);
  speed->hung = false;
  thread.Wake();
  world.RunFor(10'000);
  ASSERT_EQ(fs.sync_count(), 2);
  fs.CrashLosingAll();
  EXPECT_EQ(fs.Peek("/file"), "before");
}

// ---- Faults of a cluster ----

class FaultInjectorTest : public testing::Test {
 protected:
  void SetUp() override {
    cluster.BootAll();
    ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
    ASSERT_TRUE(cluster
                    .CreateTopic("memory", 1, 3,
                                 {{"min.insync.replicas", "2"},
                                  {"durability", "memory"}})
                    .ok());
    ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  }
  bool Do(FaultKind kind, int node, int64_t for_us = 1'000'000,
          int64_t amount = 0, int other = 0) {
    return injector.Do({.kind = kind,
                        .node = node,
                        .other = other,
                        .for_us = for_us,
                        .amount = amount});
  }
  int64_t Fired(FaultKind kind) {
    return injector.fired()[static_cast<size_t>(kind)];
  }

  SimCluster cluster{{.separate = true}, 3};
  FaultAtlas atlas{&cluster};
  FaultInjector injector{&cluster, &atlas, 1, [](const std::string&) {}};
};

TEST_F(FaultInjectorTest, AKilledNodeIsBackAfterItsTimeAndCountsOnce) {
  EXPECT_TRUE(Do(FaultKind::kKill, 1));
  EXPECT_FALSE(Do(FaultKind::kKill, 1)) << "it is down";
  EXPECT_EQ(Fired(FaultKind::kKill), 1);
  EXPECT_FALSE(cluster.up(1));
  cluster.RunFor(1'001);
  EXPECT_TRUE(cluster.up(1));
}

TEST_F(FaultInjectorTest, TheAtlasSparesTheLastCopyInMemory) {
  EXPECT_TRUE(Do(FaultKind::kPowerLoss, 1));
  EXPECT_FALSE(Do(FaultKind::kPowerLoss, 2)) << "min ISR is 2: one may go";
  EXPECT_FALSE(Do(FaultKind::kWipeLogs, 3));
  EXPECT_TRUE(Do(FaultKind::kKill, 3)) << "a page cache that lives is no loss";
  cluster.RunFor(2'000);
  ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
  EXPECT_TRUE(Do(FaultKind::kPowerLoss, 2)) << "1 is in the ISR once more";
}

TEST_F(FaultInjectorTest, ACleanStopComesBackByItself) {
  EXPECT_TRUE(Do(FaultKind::kCleanStop, 1));
  const LifePtr first = cluster.at(1).life;
  EXPECT_TRUE(cluster.RunUntil(
      [&] { return cluster.up(1) && cluster.at(1).life != first; }, 10'000));
  EXPECT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
}

// Seeds 1030 and 1091: the fault was over before the stop was.
TEST_F(FaultInjectorTest, ALifeIsAskedToStopOnce) {
  EXPECT_TRUE(Do(FaultKind::kCleanStop, 1, 1));
  cluster.RunFor(1);
  EXPECT_FALSE(Do(FaultKind::kCleanStop, 1, 1)) << "it is stopping";
  const LifePtr first = cluster.at(1).life;
  EXPECT_TRUE(cluster.RunUntil(
      [&] { return cluster.up(1) && cluster.at(1).life != first; }, 10'000));
  EXPECT_TRUE(Do(FaultKind::kCleanStop, 1, 1)) << "this is another life";
}

TEST_F(FaultInjectorTest, LinksAreMendedOneByOne) {
  EXPECT_TRUE(Do(FaultKind::kCutOneWay, 1, 2'000'000, 0, 2));
  EXPECT_TRUE(Do(FaultKind::kIsolate, 3, 1'000'000));
  EXPECT_FALSE(cluster.network().Reaches(NodeId(1), NodeId(2)));
  EXPECT_TRUE(cluster.network().Reaches(NodeId(2), NodeId(1)));
  EXPECT_FALSE(cluster.network().Reaches(NodeId(3), NodeId(101)));
  cluster.RunFor(1'500);
  EXPECT_TRUE(cluster.network().Reaches(NodeId(3), NodeId(101)));
  EXPECT_FALSE(cluster.network().Reaches(NodeId(1), NodeId(2)));
  cluster.RunFor(1'000);
  EXPECT_TRUE(cluster.network().Reaches(NodeId(1), NodeId(2)));
}

// What met nothing has tested nothing.
TEST_F(FaultInjectorTest, AFaultOfLinksCountsWhenItMeetsAMessage) {
  constexpr auto kNone = static_cast<int64_t>(MessageKind::kLeaveGroup);
  constexpr auto kSome = static_cast<int64_t>(MessageKind::kLiveness);
  EXPECT_TRUE(Do(FaultKind::kDropKind, 0, 1'000'000, kNone));
  cluster.RunFor(2'000);
  EXPECT_EQ(Fired(FaultKind::kDropKind), 0) << "nobody sends that";
  EXPECT_TRUE(Do(FaultKind::kDropKind, 0, 1'000'000, kSome));
  EXPECT_EQ(Fired(FaultKind::kDropKind), 0);
  cluster.RunFor(2'000);
  EXPECT_EQ(Fired(FaultKind::kDropKind), 1);
  EXPECT_TRUE(Do(FaultKind::kHalfOpen, 101, 0, 0, 102));
  EXPECT_EQ(Fired(FaultKind::kHalfOpen), 0);
  cluster.RunFor(2'000);
  EXPECT_EQ(Fired(FaultKind::kHalfOpen), 1);
  EXPECT_TRUE(Do(FaultKind::kReset, 101, 0, 0, 103));
  EXPECT_EQ(Fired(FaultKind::kReset), 1);
  cluster.Kill(1);
  cluster.RunFor(5'000);
  EXPECT_FALSE(Do(FaultKind::kReset, 1, 0, 0, 2)) << "nothing is connected";
  EXPECT_FALSE(Do(FaultKind::kHalfOpen, 1, 0, 0, 2));
  EXPECT_EQ(Fired(FaultKind::kReset), 1);
}

TEST_F(FaultInjectorTest, ARingLeavesEachTwoNeighbours) {
  EXPECT_TRUE(Do(FaultKind::kRing, 1));
  const std::vector<int> ids = cluster.ids();
  for (const int a : ids) {
    int reached = 0;
    for (const int b : ids) {
      if (a != b && cluster.network().Reaches(NodeId(a), NodeId(b))) ++reached;
    }
    EXPECT_EQ(reached, 2) << a;
  }
}

TEST_F(FaultInjectorTest, ABridgeReachesBothSides) {
  EXPECT_TRUE(Do(FaultKind::kBridge, 2, 1'000'000, 0b010101));
  for (const int id : cluster.ids()) {
    EXPECT_TRUE(cluster.network().Reaches(NodeId(2), NodeId(id))) << id;
  }
  EXPECT_FALSE(cluster.network().Reaches(NodeId(1), NodeId(101)));
}

TEST_F(FaultInjectorTest, AFailedSyncEndsTheProcessAndNotTheOthers) {
  EXPECT_TRUE(Do(FaultKind::kSyncError, 1, 60'000'000, -1));
  EXPECT_TRUE(cluster.RunUntil(
      [&] {
        // Any write will do.
        return !cluster.up(1) || !cluster.Produce("memory", 0, "x").ok();
      },
      10'000));
  EXPECT_TRUE(cluster.RunUntil([&] { return !cluster.up(1); }, 20'000));
  EXPECT_THAT(cluster.at(1).fatal, testing::Not(IsEmpty()));
  EXPECT_TRUE(cluster.up(2));
}

// What a failed sync dropped looks well in the page cache: nobody may find it
// there.
TEST_F(FaultInjectorTest, WhoseDiskFailedIsStartedAgainWithoutItsPageCache) {
  const int boots = cluster.at(1).boots;
  EXPECT_TRUE(Do(FaultKind::kSyncError, 1, 12'000'000, -1));
  EXPECT_TRUE(cluster.RunUntil(
      [&] {
        (void)cluster.Produce("memory", 0, "x");
        return !cluster.up(1);
      },
      10'000));
  EXPECT_TRUE(injector.HasFailedSync(NodeId(1)));
  EXPECT_FALSE(injector.HasFailedSync(NodeId(1))) << "it was told";
  EXPECT_TRUE(Do(FaultKind::kKillAll, 0)) << "whose end starts all again";
  cluster.RunFor(1'001);
  EXPECT_TRUE(cluster.up(2));
  EXPECT_FALSE(cluster.up(1)) << "but not the one whose disk lies";
  EXPECT_FALSE(injector.MayHaveEnded(1, 0)) << "it is not over";
  cluster.RunFor(12'000);
  EXPECT_TRUE(cluster.up(1));
  EXPECT_EQ(cluster.at(1).boots, boots + 1);
  EXPECT_TRUE(injector.MayHaveEnded(1, 0));
  EXPECT_FALSE(injector.MayHaveEnded(1, cluster.at(1).fatal.size()));
  EXPECT_FALSE(injector.MayHaveEnded(2, 0));
}

// Its controller's disk is replaced: it follows, and is nobody's voter.
TEST_F(FaultInjectorTest, OneControllerLosesItsVote) {
  EXPECT_FALSE(Do(FaultKind::kWipeRaft, 1)) << "it is no controller";
  EXPECT_TRUE(Do(FaultKind::kWipeRaft, 102));
  EXPECT_EQ(injector.wiped_controller(), 102);
  EXPECT_FALSE(cluster.up(102));
  EXPECT_FALSE(Do(FaultKind::kWipeRaft, 101)) << "one is enough";
  cluster.RunFor(10'000);
  ASSERT_TRUE(cluster.up(102));
  const raft::RaftCore* core = cluster.at(102).controller->raft().core();
  ASSERT_NE(core, nullptr);
  EXPECT_FALSE(core->is_voter());
  EXPECT_GT(core->commit_index(), LogIndex(1));
}

// Outside the core: dead, still, alone or with a disk that hangs; a process that
// gave its disk up had reason to.
TEST_F(FaultInjectorTest, WhoHangsOutsideTheCoreMayEnd) {
  // Which of the four is drawn.
  for (int draw = 0; draw < 40 && !injector.Hangs(1); ++draw) {
    injector.LeaveHealthy({2, 3, 101, 102, 103});
    if (!cluster.up(1)) injector.HealAll();
  }
  ASSERT_TRUE(injector.Hangs(1));
  EXPECT_TRUE(cluster.RunUntil([&] { return !cluster.up(1); }, 60'000));
  EXPECT_FALSE(injector.MayHaveEnded(1, 0)) << "it is not over";
  injector.HealAll();
  EXPECT_FALSE(injector.Hangs(1));
  EXPECT_TRUE(injector.MayHaveEnded(1, 0));
  cluster.RunFor(5'000);
  EXPECT_TRUE(cluster.up(1));
}

TEST_F(FaultInjectorTest, FaultsOfOneDiskAreMendedOneByOne) {
  SimNode& node = cluster.at(1);
  EXPECT_TRUE(Do(FaultKind::kSlowDisk, 1, 1'000'000, 300));
  EXPECT_TRUE(Do(FaultKind::kSlowDisk, 1, 2'000'000, 20));
  EXPECT_TRUE(Do(FaultKind::kHungDisk, 1, 1'000'000));
  EXPECT_TRUE(Do(FaultKind::kHungDisk, 1, 2'000'000));
  EXPECT_TRUE(Do(FaultKind::kFullDisk, 1, 2'000'000));
  EXPECT_TRUE(Do(FaultKind::kReadError, 1, 3'000'000, -1));
  EXPECT_TRUE(Do(FaultKind::kReadError, 1, 1'000'000, -1));
  EXPECT_EQ(node.log_disk->task_us, 320);
  const auto reads = [&] { return node.fs.List("/data").ok(); };
  const auto has_room = [&] {
    auto file = *node.fs.Open("/data/probe", OpenMode::kCreate);
    return file->Write(0, std::string(1 << 20, 'x')).ok();
  };
  cluster.RunFor(1'500);
  EXPECT_EQ(node.log_disk->task_us, 20);
  EXPECT_EQ(node.raft_disk->task_us, 20);
  EXPECT_TRUE(node.log_disk->hung);
  EXPECT_FALSE(has_room());
  EXPECT_FALSE(reads());
  cluster.RunFor(1'000);
  EXPECT_EQ(node.log_disk->task_us, 0);
  EXPECT_FALSE(node.log_disk->hung);
  EXPECT_TRUE(has_room());
  EXPECT_FALSE(reads());
  cluster.RunFor(1'000);
  EXPECT_TRUE(reads());
}

// ---- Disks that lie ----

class DiskLiesTest : public FaultInjectorTest {
 protected:
  void SetUp() override {
    FaultInjectorTest::SetUp();
    ASSERT_TRUE(
        cluster.CreateTopic("disk", 1, 3, {{"min.insync.replicas", "2"}}).ok());
    ASSERT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
    tp = {cluster.TopicIdOf("disk"), PartitionIndex(0)};
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(cluster.ProduceHard("disk", 0, StrCat("m", i)).ok());
    }
    cluster.RunFor(2'000);  // marks are on the disk
    leader = cluster.LeaderOf("disk", 0);
    follower = leader == 1 ? 2 : 1;
  }
  bool Lies(int node) {
    atlas.NewestImage();
    return atlas.Lies(NodeId(node), tp);
  }

  TopicPartition tp;
  int leader = 0;
  int follower = 0;
};

TEST_F(DiskLiesTest, AFlipSparesTheLastCopyAndIsOverWhenItIsFilledAgain) {
  EXPECT_TRUE(Do(FaultKind::kBitFlip, leader));
  EXPECT_TRUE(Lies(leader));
  EXPECT_FALSE(Lies(follower));
  EXPECT_FALSE(Do(FaultKind::kBitFlip, follower)) << "min ISR is 2: one may";
  EXPECT_FALSE(Do(FaultKind::kMisdirectedWrite, follower));
  EXPECT_FALSE(Do(FaultKind::kWipeLogs, follower));
  EXPECT_FALSE(Do(FaultKind::kReadError, follower));
  EXPECT_TRUE(cluster.LogBytes(leader, tp) == cluster.LogBytes(follower, tp))
      << "what was written is known still";
  cluster.Kill(leader);
  cluster.Boot(leader);
  EXPECT_TRUE(cluster.RunUntil([&] { return !Lies(leader); }, 60'000));
  EXPECT_EQ(atlas.lies().counts().told, 1);
  EXPECT_EQ(atlas.lies().counts().healed, 1);
  EXPECT_TRUE(Do(FaultKind::kBitFlip, follower));
}

TEST_F(DiskLiesTest, WhereAWriteWentAstrayThePowerStaysUntilItIsMarked) {
  EXPECT_TRUE(Do(FaultKind::kMisdirectedWrite, follower, 60'000'000));
  EXPECT_FALSE(atlas.lies().MayLosePower(NodeId(follower)));
  EXPECT_FALSE(Do(FaultKind::kSyncError, follower)) << "it would lose its cache";
  ASSERT_TRUE(cluster.ProduceHard("disk", 0, "astray").ok());
  EXPECT_TRUE(Lies(follower));
  EXPECT_FALSE(atlas.lies().MayLosePower(NodeId(follower)));
  EXPECT_TRUE(cluster.RunUntil(
      [&] {
        atlas.NewestImage();
        return atlas.lies().MayLosePower(NodeId(follower));
      },
      10'000));
  EXPECT_TRUE(Lies(follower));
}

TEST_F(DiskLiesTest, AWriteThatNeverCameHarmsNothing) {
  EXPECT_TRUE(Do(FaultKind::kMisdirectedWrite, follower, 1'000));
  EXPECT_TRUE(Lies(follower));
  cluster.RunFor(10);
  EXPECT_FALSE(Lies(follower));
}

TEST_F(DiskLiesTest, WhoCannotReadLiesOfEverythingUntilItCan) {
  EXPECT_TRUE(Do(FaultKind::kReadError, follower, 1'000'000, -1));
  EXPECT_TRUE(Lies(follower));
  EXPECT_FALSE(Do(FaultKind::kWipeLogs, leader));
  cluster.Kill(follower);
  cluster.Boot(follower);
  EXPECT_FALSE(cluster.up(follower));
  EXPECT_TRUE(cluster.RunUntil([&] { return !Lies(follower); }, 30'000));
  EXPECT_TRUE(cluster.up(follower));
  EXPECT_TRUE(injector.MayHaveEnded(follower, 0));
}

TEST_F(FaultInjectorTest, HealAllEndsEverything) {
  Do(FaultKind::kKill, 1, 60'000'000);
  Do(FaultKind::kPause, 2, 60'000'000);
  Do(FaultKind::kIsolate, 3, 60'000'000);
  Do(FaultKind::kHungDisk, 3, 60'000'000);
  Do(FaultKind::kLoss, 0, 60'000'000, 500'000);
  injector.HealAll();
  cluster.RunFor(5'000);
  EXPECT_TRUE(cluster.AwaitHealthy()) << cluster.Health();
}

}  // namespace
}  // namespace sluice::sim
