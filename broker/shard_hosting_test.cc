// Which partitions a shard hosts, and what becomes of their files: creation,
// restart, removal, strays, disks that are full, failing or rotten.
#include "broker/shard_fixture_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using End = SimCluster::End;

const std::map<std::string, std::string> kTwoInSync = {
    {"min.insync.replicas", "2"}};

class ShardHosting : public ShardFixture {
 protected:
  std::vector<std::string> Directories(int id) {
    std::vector<std::string> names;
    const auto entries = cluster->fs(id).List("/data");
    for (const DirectoryEntry& entry : *entries) {
      if (entry.is_directory) names.push_back(entry.name);
    }
    return names;
  }
  std::string Home(const TopicPartition& of) {
    return PartitionDirectoryName(of);
  }
  std::string SegmentPath() {
    return "/data/" + Home(tp) + "/" + SegmentFileName(Offset(0), ".log");
  }
  // On all replicas, committed, durable, their marks too.
  void Fill(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(AppendNow(leader()).error.ok());
    }
    world().RunFor(2 * kSecondUs);
  }
};

// ---- Restart ----

TEST_F(ShardHosting, AfterACleanStopNothingIsScannedAndTheHighWatermarkIsKept) {
  Open(1);
  for (int i = 0; i < 21; ++i) {  // the last marks are not written yet
    ASSERT_TRUE(
        AppendNow(1, api::Acks::kAll, std::string(5000, 'x')).error.ok());
  }
  const absl::Status closed = cluster->StopClean(1);
  ASSERT_TRUE(closed.ok()) << closed;
  cluster->Start(1);
  EXPECT_TRUE(cluster->broker(1)->directory().previous_run().clean());
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  const RecoveryReport& report = partition(1).log().recovery_report();
  EXPECT_EQ(report.leo, Offset(21));
  EXPECT_EQ(report.high_watermark, Offset(21));
  EXPECT_FALSE(report.lossy);
  EXPECT_LE(report.bytes_scanned, 3 * 5100);  // from the last index entry on
}

TEST_F(ShardHosting, AKilledBrokerKeepsItsTailAndLeadsANewEpoch) {  // RP16
  Open(1);
  ASSERT_TRUE(AppendNow(1).error.ok());
  const LeaderEpoch before = partition(1).core().leader_epoch();
  cluster->Stop(1, End::kPowerLossOfAll);
  cluster->Start(1);
  EXPECT_FALSE(cluster->broker(1)->directory().previous_run().clean());
  ASSERT_TRUE(cluster->RunUntilReadable(tp));
  EXPECT_EQ(partition(1).leo(), Offset(1));
  EXPECT_GT(partition(1).core().leader_epoch(), before);
  EXPECT_THAT(Values(Read(1, 0)), ElementsAre("v"));
}

TEST_F(ShardHosting, AnEpochThatWasLedIsOnDiskThoughNothingWasAppended) {
  Open(1);  // F4, RP10
  const LeaderEpoch led = partition(1).core().leader_epoch();
  cluster->Stop(1, End::kPowerLossOfAll);
  cluster->Start(1);
  world().RunFor(1'000);
  const auto& marks = cluster->broker(1)->directory().partitions_at_start();
  ASSERT_TRUE(marks.contains(tp));
  EXPECT_EQ(marks.at(tp).epochs.last_epoch(), led);
}

TEST_F(ShardHosting, AStoppingBrokerRefusesAndAnswersWhoWaits) {
  Open(3, kTwoInSync);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  const auto waiting = Append(1, Batch(), api::Acks::kAll, 60 * kSecondUs);
  world().RunFor(100'000);
  std::optional<absl::Status> closed;
  cluster->broker(1)->replicas().StopClean(
      BrokerEpoch(7), [&](absl::Status s) { closed = s; });
  ASSERT_TRUE(world().RunUntil([&] { return closed.has_value(); }, kSecondUs));
  EXPECT_TRUE(closed->ok()) << *closed;
  EXPECT_EQ(waiting->code(), ErrorCode::kShuttingDown);
  EXPECT_EQ(AppendNow(1).error.code, ErrorCode::kShuttingDown);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kShuttingDown);
}

// ---- Removal ----

TEST_F(ShardHosting, ADeletedTopicFreesItsFilesAndAnswersWhoWaits) {
  Open(3, kTwoInSync);
  Fill(3);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  const auto waiting = Append(1, Batch(), api::Acks::kAll, 60 * kSecondUs);
  world().RunFor(100'000);
  cluster->DeleteTopic("t");
  world().RunFor(2 * kSecondUs);
  EXPECT_FALSE(Finish(waiting).error.ok());
  for (int id = 1; id <= 3; ++id) {
    EXPECT_THAT(Directories(id), IsEmpty()) << id;
    EXPECT_EQ(cluster->broker(id)->Find(tp), nullptr);
  }
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kUnknownTopicOrPartition);
  // Nor does a restart find anything of it.
  cluster->Stop(1, End::kPowerLossOfAll);
  cluster->Start(1);
  EXPECT_THAT(cluster->broker(1)->directory().partitions_at_start(),
              IsEmpty());
}

TEST_F(ShardHosting, ANameThatIsUsedAgainHasNothingOfTheOldTopic) {  // MD7
  Open(1);
  Fill(3);
  const TopicPartition old = tp;
  cluster->DeleteTopic("t");
  tp = cluster->CreateTopic("t", {1});
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_NE(tp, old);
  EXPECT_EQ(partition(1).leo(), Offset(0));
  ASSERT_TRUE(AppendNow(1, api::Acks::kAll, "new").error.ok());
  EXPECT_THAT(Values(Read(1, 0)), ElementsAre("new"));
  world().RunFor(2 * kSecondUs);
  EXPECT_THAT(Directories(1), ElementsAre(Home(tp)));
}

TEST_F(ShardHosting, WhatWasDeletedWhileTheBrokerWasAwayIsSetAside) {  // ST11
  Open(3, kTwoInSync);
  Fill(3);
  cluster->Stop(3, End::kKill);
  cluster->DeleteTopic("t");
  cluster->Start(3);
  world().RunFor(2 * kSecondUs);
  EXPECT_EQ(cluster->broker(3)->Find(tp), nullptr);
  EXPECT_THAT(Directories(3), ElementsAre(Home(tp) + ".stray-0"));
}

// ---- Disks ----

TEST_F(ShardHosting, AnEmptyDiskIsFilledAgainFromTheLeader) {
  Open(3, kTwoInSync);
  Fill(10);
  cluster->Stop(3, End::kKill);
  cluster->Wipe(3);
  cluster->Start(3);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_EQ(partition(3).leo(), Offset(10));
  EXPECT_EQ(SimClient(cluster.get()).CheckReplicas(tp, true), "");
}

TEST_F(ShardHosting, AFullDiskRefusesAppendsAndGoesOnWhenThereIsRoom) {  // ST9
  Open(1);
  Fill(3);
  cluster->fs(1).FailNextOn(".log", MemFileSystem::Operation::kWrite, 1,
                            /*full=*/true);
  const api::ItemError refused = AppendNow(1).error;
  EXPECT_EQ(refused.code, ErrorCode::kStorageFull);
  // Which file, not where this broker keeps it.
  EXPECT_THAT(refused.message, testing::HasSubstr(Home(tp) + "/0000"));
  EXPECT_THAT(refused.message,
              testing::Not(testing::HasSubstr("/" + Home(tp))));
  EXPECT_EQ(partition(1).leo(), Offset(3));
  EXPECT_THAT(Values(Read(1, 0)), SizeIs(3));
  EXPECT_TRUE(AppendNow(1).error.ok());
  EXPECT_THAT(cluster->fatal(), IsEmpty());
}

TEST_F(ShardHosting, AFollowerWhoseDiskIsFullCatchesUpWhenThereIsRoom) {
  Open(3, kTwoInSync);
  Fill(3);
  cluster->fs(3).FailNextOn(".log", MemFileSystem::Operation::kWrite, 1,
                            /*full=*/true);
  ASSERT_TRUE(AppendNow(1).error.ok());
  ASSERT_TRUE(world().RunUntil(
      [&] { return partition(3).leo() == Offset(4); }, 10 * kSecondUs));
  EXPECT_THAT(cluster->fatal(), IsEmpty());
}

// One replica that takes nothing must not use up the stream's window for the
// others between the same two brokers.
TEST_F(ShardHosting, AReplicaThatTakesNothingDoesNotStallItsNeighbours) {
  for (const bool full : {true, false}) {
    SCOPED_TRACE(full ? "its disk is full" : "it has failed");
    SimCluster::Options options;
    options.shards = 1;
    options.node_defaults = {{"replica.lag.time.max.ms", "1000"}};
    Open(3, kTwoInSync, options);
    TopicPartition other = cluster->CreateTopic("other", {1, 2, 3},
                                                kTwoInSync);
    ASSERT_TRUE(cluster->RunUntilHealthy(other));
    cluster->fs(3).FailNextOn(Home(tp) + "/", MemFileSystem::Operation::kWrite,
                              full ? 1'000'000 : 1, full);
    // Four windows of it.
    const std::string value(256 << 10, 'x');
    for (int i = 0; i < 4 * 32; ++i) {
      ASSERT_TRUE(AppendNow(1, api::Acks::kLeader, value).error.ok()) << i;
    }
    world().RunFor(2 * kSecondUs);  // it is out of the ISR
    std::swap(tp, other);
    for (int i = 0; i < 20; ++i) {
      const int64_t from_us = world().MonoMicros();
      ASSERT_TRUE(AppendNow(1).error.ok());
      ASSERT_TRUE(world().RunUntil(
          [&] { return partition(3).leo() == partition(1).leo(); },
          100'000)) << world().MonoMicros() - from_us;
    }
  }
}

TEST_F(ShardHosting, APartitionThatFindsNoRoomIsHostedLater) {
  Open(1);
  // The first thing that is done with a new directory says so, twice.
  cluster->fs(1).FailNextOn("-0", MemFileSystem::Operation::kRead, 2,
                            /*full=*/true);
  tp = cluster->CreateTopic("later", {1});
  world().RunFor(kSecondUs / 2);
  EXPECT_EQ(cluster->broker(1)->Find(tp), nullptr);
  EXPECT_EQ(AppendNow(1).error.code, ErrorCode::kStorageFull);
  EXPECT_TRUE(cluster->RunUntilHealthy(tp, 2 * Shard::kHostAgainUs));
  EXPECT_THAT(cluster->fatal(), IsEmpty());
}

// Nor one that finds no descriptor.
TEST_F(ShardHosting, AStartThatFindsNoRoomEndsAndCostsNoReplica) {
  Open(3, kTwoInSync);
  Fill(3);
  cluster->Stop(3, End::kKill);
  cluster->fs(3).FailNextOn(".log", MemFileSystem::Operation::kOpen, 1,
                            /*full=*/true);
  cluster->Start(3);
  ASSERT_TRUE(world().RunUntil([&] { return !cluster->fatal().empty(); },
                               kSecondUs));
  EXPECT_EQ(CodeOf(cluster->fatal().front()), ErrorCode::kStorageFull);
  cluster->Stop(3, End::kKill);
  cluster->Start(3);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_EQ(partition(3).leo(), Offset(3));
  EXPECT_THAT(Directories(3), ElementsAre(Home(tp)));
}

TEST_F(ShardHosting, AFailedSyncIsFatalAndAcknowledgesNothing) {  // ST4
  Open(1);
  cluster->fs(1).FailNextOn(".log", MemFileSystem::Operation::kSyncData);
  const auto call = Append(1, Batch(), api::Acks::kAll, 60 * kSecondUs);
  world().RunFor(5 * kSecondUs);
  EXPECT_FALSE(call->outcome.has_value());
  EXPECT_THAT(cluster->fatal(), SizeIs(testing::Ge(1u)));
  EXPECT_EQ(partition(1).high_watermark(), Offset(0));
}

TEST_F(ShardHosting, AFailedWriteIsFatalAndTheReplicaOutOfUse) {
  Open(1);
  cluster->fs(1).FailNextOn(".log", MemFileSystem::Operation::kWrite);
  EXPECT_FALSE(AppendNow(1).error.ok());
  EXPECT_THAT(cluster->fatal(), SizeIs(1));
  EXPECT_TRUE(partition(1).failed());
  // Its directory must not pass for cleanly closed.
  std::optional<absl::Status> closed;
  cluster->broker(1)->replicas().StopClean(
      BrokerEpoch(1), [&](absl::Status s) { closed = s; });
  world().RunFor(kSecondUs);
  ASSERT_TRUE(closed.has_value());
  EXPECT_FALSE(closed->ok());
}

TEST_F(ShardHosting, AColdReadComesFromTheDisk) {
  SimCluster::Options options;
  options.tail_cache_bytes = 1;
  Open(1, {}, options);
  Fill(5);
  cluster->fs(1).SetCold(true);
  EXPECT_THAT(Values(Read(1, 0)), SizeIs(5));
  EXPECT_THAT(Values(Read(1, 4)), SizeIs(1));
}

TEST_F(ShardHosting, AnUnreadableSectorFailsItsRequestAlone) {  // ST10
  SimCluster::Options options;
  options.tail_cache_bytes = 1;
  Open(1, {}, options);
  Fill(5);
  cluster->fs(1).FailNextOn(".log", MemFileSystem::Operation::kRead);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kStorageError);
  EXPECT_THAT(Values(Read(1, 0)), SizeIs(5));
  EXPECT_THAT(cluster->fatal(), IsEmpty());
}

// F52: reads of nobody succeed any more, writes do.
TEST_F(ShardHosting, ALeaderThatCannotReadItsDiskIsReplacedAndFilledAgain) {
  SimCluster::Options options;
  options.tail_cache_bytes = 1;
  Open(3, kTwoInSync, options);
  Fill(5);
  ASSERT_EQ(leader(), 1);
  cluster->fs(1).FailNextOn(".log", MemFileSystem::Operation::kRead,
                            MemFileSystem::kForEver);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kStorageError);
  world().RunFor(Partition::kUnreadableUs / 2);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kStorageError);
  EXPECT_EQ(leader(), 1);
  world().RunFor(Partition::kUnreadableUs / 2);
  EXPECT_NE(Read(1, 0).error.code, ErrorCode::kNone);
  ASSERT_TRUE(world().RunUntil(
      [&] { return leader() != 0 && leader() != 1; }, 10 * kSecondUs));
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_THAT(Values(Read(leader(), 0)), SizeIs(5));
  EXPECT_THAT(cluster->fatal(), IsEmpty());
}

TEST_F(ShardHosting, ALoneLeaderThatCannotReadItsDiskLeadsOn) {
  SimCluster::Options options;
  options.tail_cache_bytes = 1;
  Open(1, {}, options);
  Fill(5);
  cluster->fs(1).FailNextOn(".log", MemFileSystem::Operation::kRead,
                            MemFileSystem::kForEver);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kStorageError);
    world().RunFor(Partition::kUnreadableUs);
  }
  EXPECT_EQ(leader(), 1);
  EXPECT_THAT(cluster->fatal(), IsEmpty());
}

TEST_F(ShardHosting, ARottenLeaderIsReplacedAndFilledAgain) {  // ST1, ST2
  SimCluster::Options options;
  options.tail_cache_bytes = 1;
  Open(3, kTwoInSync, options);
  Fill(5);
  ASSERT_EQ(leader(), 1);
  cluster->fs(1).FlipBit(SegmentPath(), 70);
  // In a moment somebody else has it; by then this one names it.
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kLeaderNotAvailable);
  // Another leads, and the rotten files make room for good ones.
  ASSERT_TRUE(world().RunUntil(
      [&] { return leader() != 0 && leader() != 1; }, 10 * kSecondUs));
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_THAT(Values(Read(leader(), 0)), SizeIs(5));
  EXPECT_EQ(SimClient(cluster.get()).CheckReplicas(tp, true), "");
  EXPECT_THAT(Directories(1),
              ElementsAre(Home(tp), Home(tp) + ".stray-0"));
  EXPECT_THAT(cluster->fatal(), IsEmpty());
}

TEST_F(ShardHosting, ARottenReplicaThatIsAloneSaysSoAndIsKept) {
  SimCluster::Options options;
  options.tail_cache_bytes = 1;
  Open(1, {}, options);
  Fill(5);
  cluster->fs(1).FlipBit(SegmentPath(), 70);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kReplicaFailed);
  world().RunFor(5 * kSecondUs);
  EXPECT_EQ(Read(1, 0).error.code, ErrorCode::kReplicaFailed);
  EXPECT_THAT(Directories(1), ElementsAre(Home(tp)));
}

TEST_F(ShardHosting, RotFoundAtTheStartIsFilledAgainAndNeverLeads) {
  Open(3, kTwoInSync);
  Fill(5);
  cluster->Stop(1, End::kPowerLossOfAll);
  cluster->fs(1).FlipBit(SegmentPath(), 70);
  ASSERT_TRUE(cluster->RunUntilLed(tp));
  cluster->Start(1);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_EQ(partition(1).leo(), Offset(5));
  EXPECT_THAT(Directories(1),
              ElementsAre(Home(tp), Home(tp) + ".stray-0"));
  EXPECT_EQ(SimClient(cluster.get()).CheckReplicas(tp, true), "");
}

TEST_F(ShardHosting, InMemoryModeAFullSegmentIsSynced) {
  Open(1, {{"durability", "memory"}, {"segment.bytes", "1048576"}});
  const std::string value(300'000, 'x');
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(AppendNow(1, api::Acks::kAll, value).error.ok());
  }
  world().RunFor(kSecondUs);
  ASSERT_GE(partition(1).log().segment_count(), 2u);
  EXPECT_GE(partition(1).log().durable_leo(), Offset(3));
}

// ---- Cuts ----

TEST_F(ShardHosting, ADivergentTailIsCutOnceAndItsMarksWithIt) {
  Open(3, kTwoInSync);
  Fill(3);
  cluster->network().Cut(NodeId(1), NodeId(2));
  cluster->network().Cut(NodeId(1), NodeId(3));
  ASSERT_TRUE(AppendNow(1, api::Acks::kLeader, "lost").error.ok());
  world().RunFor(kSecondUs);  // and marked durable
  cluster->Stop(1, End::kKill);
  ASSERT_TRUE(cluster->RunUntilLed(tp));
  cluster->network().Heal();
  ASSERT_TRUE(AppendNow(leader(), api::Acks::kAll, "kept").error.ok());
  cluster->Start(1);
  ASSERT_TRUE(cluster->RunUntilHealthy(tp));
  EXPECT_EQ(cluster->broker(1)->Counters().truncations, 1);
  EXPECT_EQ(SimClient(cluster.get()).CheckReplicas(tp, true), "");
}

// The marks are of the shorter log before it is shorter: at no moment does a
// crash make a cut look like a loss (ST8).
TEST_F(ShardHosting, ACutIsNoLossWheneverTheCrashComes) {
  for (int64_t delay_us = 0; delay_us < 2000; delay_us += 100) {
    SCOPED_TRACE(delay_us);
    Open(3, kTwoInSync);
    Fill(3);
    cluster->network().Cut(NodeId(1), NodeId(2));
    cluster->network().Cut(NodeId(1), NodeId(3));
    ASSERT_TRUE(AppendNow(1, api::Acks::kLeader, "lost").error.ok());
    world().RunFor(kSecondUs);  // and marked durable
    cluster->Stop(1, End::kKill);
    ASSERT_TRUE(cluster->RunUntilLed(tp));
    cluster->network().Heal();
    cluster->Start(1);
    ASSERT_TRUE(world().RunUntil(
        [&] {
          const Partition* own = cluster->broker(1)->Find(tp);
          return own != nullptr &&
                 own->core().state() == replica::State::kCutting;
        },
        kSecondUs));
    world().RunFor(delay_us);
    cluster->Stop(1, End::kPowerLossOfAll);
    cluster->Start(1);
    ASSERT_TRUE(cluster->RunUntilHealthy(tp));
    EXPECT_FALSE(partition(1).log().recovery_report().lossy);
  }
}

// A follower that catches up in disk mode is told of more than its disk has yet.
// Were that marked, a power cut would look like a loss (ST8).
TEST_F(ShardHosting, AHighWatermarkPastTheDiskIsNotMarked) {
  Open(3, kTwoInSync);
  Fill(1);
  cluster->Stop(3, End::kKill);
  Fill(20);
  cluster->Start(3);
  ASSERT_TRUE(world().RunUntil(
      [&] {
        const Partition* own = cluster->broker(3)->Find(tp);
        return own != nullptr &&
               own->core().high_watermark() > own->log().durable_leo();
      },
      20 * kSecondUs));
  // What its shard's next tick would write.
  const auto marks = const_cast<Partition&>(partition(3)).TakeChangedMarks();
  ASSERT_TRUE(marks.has_value());
  EXPECT_LE(marks->high_watermark, marks->durable_mark);
}

}  // namespace
}  // namespace sluice
