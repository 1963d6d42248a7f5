// Cutting a log: boundaries, segments, epochs, and crashes on the way (F59).
#include <gtest/gtest.h>

#include <set>

#include "storage/log_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

class LogTruncateTest : public LogTestBase {
 protected:
  void SetUp() override { ASSERT_TRUE(Open().ok()); }

  Offset Cut(int64_t target) {
    const auto leo = log_->TruncateTo(Offset(target));
    EXPECT_TRUE(leo.ok()) << leo.status();
    EXPECT_EQ(leo.value_or(kNoOffset), log_->leo());
    return log_->leo();
  }
};

TEST_F(LogTruncateTest, CutsToTheBatchBoundaryAtOrBelowTheTarget) {
  std::vector<std::string> batches;
  for (int i = 0; i < 4; ++i) {
    batches.emplace_back(Append(3).batches.view());
  }
  EXPECT_EQ(Cut(12), Offset(12));
  EXPECT_EQ(Cut(50), Offset(12));
  EXPECT_EQ(Cut(11), Offset(9));
  EXPECT_EQ(Cut(9), Offset(9));
  EXPECT_EQ(ReadAll(), batches[0] + batches[1] + batches[2]);
  EXPECT_EQ(Cut(3), Offset(3));
  EXPECT_EQ(Content(LogFile(0)), batches[0]);
  EXPECT_EQ(Cut(2), Offset(0));
  EXPECT_EQ(ReadAll(), "");
  Append();
  EXPECT_EQ(log_->leo(), Offset(1));
}

TEST_F(LogTruncateTest, EveryTargetOfManySegmentsIsCutExactly) {
  config_.segment_bytes = 1000;
  for (int64_t target = 0; target <= 60; ++target) {
    marks_ = {};
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(log_->ResetTo(Offset(0)).ok());
    for (int i = 0; i < 30; ++i) Append(2, 1 + i / 10);
    const std::string all = ReadAll();
    ASSERT_EQ(log_->leo(), Offset(60));
    const Offset leo = Cut(target);
    EXPECT_EQ(leo, Offset(target / 2 * 2));
    const auto left = all.size() * static_cast<size_t>(leo.value()) / 60;
    EXPECT_EQ(ReadAll(), all.substr(0, left));
    for (const EpochStart& start : log_->epochs().starts()) {
      EXPECT_LT(start.start, leo);
    }
    // What was cut is not on the disk either, and appends go on there.
    Append(1, 9);
    SyncAndMark();
    const std::string longer = ReadAll();
    fs_.CrashLosingAll();
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(log_->leo(), leo + 1);
    EXPECT_EQ(ReadAll(), longer);
  }
}

TEST_F(LogTruncateTest, BelowTheLogStartNothingCanBeCut) {
  for (int i = 0; i < 4; ++i) Append(3);
  ASSERT_TRUE(log_->SetLogStart(Offset(7)).ok());
  EXPECT_EQ(CodeOf(log_->TruncateTo(Offset(6)).status()),
            ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(log_->leo(), Offset(12));
  EXPECT_FALSE(log_->failed());
  // Inside the batch that holds the log start nothing can be left.
  EXPECT_EQ(Cut(8), Offset(7));
  EXPECT_EQ(log_->segment_count(), 0u);
  EXPECT_EQ(Append().base, Offset(7));
}

TEST_F(LogTruncateTest, EpochsOfWhatIsCutGoEvenIfTheyAreEmpty) {
  Append(2, 1);
  Append(2, 4);
  log_->StartEpoch(LeaderEpoch(6));
  ASSERT_EQ(log_->epochs().last_epoch(), LeaderEpoch(6));
  Cut(4);
  EXPECT_EQ(log_->epochs().last_epoch(), LeaderEpoch(4));
  Cut(3);
  EXPECT_EQ(log_->epochs().last_epoch(), LeaderEpoch(1));
}

TEST_F(LogTruncateTest, NothingOfTheCutIsReadFromMemoryOrByOldPlans) {
  for (int i = 0; i < 6; ++i) Append();
  const auto plan = log_->PlanRead(Offset(4), Offset(6), 1000);
  ASSERT_EQ(plan->generation, log_->generation());
  Cut(3);
  EXPECT_NE(plan->generation, log_->generation());
  EXPECT_FALSE(log_->ReadInMemory(Offset(3), Offset(6), 1000).has_value());
  EXPECT_TRUE(log_->ReadInMemory(Offset(2), Offset(6), 1000).has_value());
  EXPECT_EQ(CodeOf(log_->PlanRead(Offset(4), Offset(6), 1000).status()),
            ErrorCode::kOffsetOutOfRange);
  const AppendInfo info = Append(1, 2);
  EXPECT_EQ(log_->ReadInMemory(Offset(3), Offset(4), 1)->batches.view(),
            info.batches.view());
}

TEST_F(LogTruncateTest, ACutInsideOneAppendLeavesNothingOfItInMemory) {
  const auto row = Concatenate({MakeBatch({2}).view(), MakeBatch({2}).view()});
  ASSERT_TRUE(log_->AppendAsLeader(MutableBuffer::CopyOf(row.view()),
                                   LeaderEpoch(1))
                  .ok());
  EXPECT_EQ(Cut(2), Offset(2));
  EXPECT_EQ(log_->tail_cache_bytes(), 0);
  EXPECT_FALSE(log_->ReadInMemory(Offset(2), Offset(4), 1).has_value());
}

TEST_F(LogTruncateTest, ACutThatCutsNothingKeepsTheGeneration) {
  Append();
  const uint64_t generation = log_->generation();
  Cut(1);
  Cut(9);
  EXPECT_EQ(log_->generation(), generation);
}

TEST_F(LogTruncateTest, ACutIsDurableAfterTheNextSync) {
  config_.segment_bytes = 600;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 20; ++i) Append(1, 1, 100);
  ASSERT_TRUE(log_->SyncNow().ok());
  Append();
  Cut(7);
  EXPECT_EQ(log_->durable_leo(), Offset(7));
  const auto unsynced = log_->TakeUnsynced();
  ASSERT_TRUE(unsynced.has_value());
  ASSERT_EQ(unsynced->targets.files.size(), 1u);
  ASSERT_TRUE(unsynced->targets.files[0]->SyncData().ok());
  log_->MarkDurable(*unsynced);
  const std::string left = ReadAll();
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->leo(), Offset(7));
  EXPECT_EQ(ReadAll(), left);
}

// Else a power cut could bring old batches back behind the new ones.
TEST_F(LogTruncateTest, NothingIsAppendedBeforeTheCutIsDurable) {
  for (int i = 0; i < 6; ++i) Append(1, 1, 100);
  ASSERT_TRUE(log_->SyncNow().ok());
  const int64_t syncs = fs_.sync_count();
  Cut(2);
  const std::string left = ReadAll();
  EXPECT_EQ(fs_.sync_count(), syncs);
  Append(1, 2, 100);
  EXPECT_EQ(fs_.sync_count(), syncs + 1);
  Append(1, 2, 100);
  EXPECT_EQ(fs_.sync_count(), syncs + 1);
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(ReadAll(), left);
}

TEST_F(LogTruncateTest, ACrashInTheMiddleOfACutLeavesALongerPrefix) {
  config_.segment_bytes = 300;
  std::set<Offset> seen;
  bool interrupted = true;
  for (int64_t stop = 0; interrupted; ++stop) {
    for (uint64_t how = 0; how < 3; ++how) {
      marks_ = {};
      fs_.Kill();
      ASSERT_TRUE(RemoveTree(fs_, kPath).ok());
      ASSERT_TRUE(Open().ok());
      values_ = 0;
      for (int i = 0; i < 12; ++i) Append(1, 1, 100);
      const std::string all = ReadAll();
      ASSERT_TRUE(log_->SyncNow().ok());
      fs_.StopAfter(stop);
      const bool cut = log_->TruncateTo(Offset(3)).ok() && log_->SyncNow().ok();
      interrupted = fs_.stopped();
      EXPECT_EQ(cut, !interrupted);
      EXPECT_EQ(log_->failed(), interrupted);
      Random random(static_cast<uint64_t>(stop));
      if (how == 0) fs_.Kill();
      if (how == 1) fs_.CrashReordering(random);
      if (how == 2) fs_.CrashLosingAll();
      const absl::Status opened = Open();
      ASSERT_TRUE(opened.ok()) << opened;
      EXPECT_GE(log_->leo(), Offset(3));
      EXPECT_LE(log_->leo(), interrupted ? Offset(12) : Offset(3));
      EXPECT_EQ(ReadAll(), all.substr(0, ReadAll().size()));
      seen.insert(log_->leo());
    }
  }
  EXPECT_GT(seen.size(), 3u) << "some stops must lie between";
}

// ST4
TEST_F(LogTruncateTest, ACutWhoseSyncFailsFailsTheLog) {
  for (int i = 0; i < 4; ++i) Append();
  Cut(2);
  fs_.FailNext(Operation::kSyncData);
  EXPECT_EQ(CodeOf(log_->AppendAsLeader(MakeBatch(), LeaderEpoch(1)).status()),
            ErrorCode::kStorageError);
  EXPECT_TRUE(log_->failed());
  EXPECT_FALSE(log_->TruncateTo(Offset(2)).ok());
}

TEST_F(LogTruncateTest, AReadErrorWhileCuttingFailsTheLogAndCutsNothing) {
  for (int i = 0; i < 4; ++i) Append();
  const std::string all = Content(LogFile(0));
  fs_.FailNext(Operation::kRead);
  EXPECT_EQ(CodeOf(log_->TruncateTo(Offset(2)).status()),
            ErrorCode::kStorageError);
  EXPECT_TRUE(log_->failed());
  EXPECT_EQ(Content(LogFile(0)), all);
}

// F55: who is out of descriptors cuts all the same, and finds what is left.
TEST_F(LogTruncateTest, ACutNeedsNoDescriptor) {
  config_.segment_bytes = 2000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 40; ++i) Append(1, 1, 100);
  const size_t segments = log_->segment_count();
  ASSERT_GT(segments, 2u);
  ASSERT_TRUE(log_->SyncNow().ok());
  const std::string all = ReadAll();
  fs_.FailNext(Operation::kOpen, MemFileSystem::kForEver, /*full=*/true);
  EXPECT_EQ(Cut(5), Offset(5));
  EXPECT_FALSE(log_->failed());
  EXPECT_EQ(log_->segment_count(), 1u);
  const std::string left = ReadAll();
  EXPECT_EQ(left, all.substr(0, left.size()));
  EXPECT_EQ(left.size(), all.size() * 5 / 40);
  fs_.ClearFaults();
  // The index is that of the file, and appends go on.
  for (int i = 0; i < 40; ++i) Append(1, 2, 100);
  SyncAndMark();
  const std::string longer = ReadAll();
  const auto plan = log_->PlanRead(Offset(30), Offset(31), 1);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(ExecuteRead(*plan, /*no_wait=*/false).ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(ReadAll(), longer);
}

TEST_F(LogTruncateTest, AWrongIndexDoesNotMisleadACut) {
  config_.segment_bytes = 2000;
  for (const bool shifted : {false, true}) {
    marks_ = {};
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(log_->ResetTo(Offset(0)).ok());
    for (int i = 0; i < 40; ++i) Append(1, 1, 100);
    ASSERT_GT(log_->segment_count(), 2u);
    const std::string right = Content(IndexFile(0));
    ASSERT_GE(right.size(), 4 * 8u);
    std::string wrong = right;
    for (size_t i = 0; i + 8 < right.size(); i += 8) {
      if (shifted) {
        // The place of the next entry's batch.
        wrong.replace(i + 4, 4, right, i + 12, 4);
      } else {
        wrong[i + 7] ^= 3;  // no place of a batch
      }
    }
    SetContent(IndexFile(0), wrong);
    EXPECT_EQ(Cut(5), Offset(5));
    EXPECT_EQ(ReadAll(), Content(LogFile(0)));
  }
}

TEST_F(LogTruncateTest, AResetLogGoesOnElsewhere) {
  config_.segment_bytes = 300;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 12; ++i) Append(1, 3, 100);
  const uint64_t generation = log_->generation();
  ASSERT_TRUE(log_->ResetTo(Offset(100)).ok());
  EXPECT_GT(log_->generation(), generation);
  EXPECT_EQ(log_->log_start(), Offset(100));
  EXPECT_EQ(log_->leo(), Offset(100));
  EXPECT_EQ(log_->durable_leo(), Offset(100));
  EXPECT_EQ(log_->epochs().last_epoch(), kNoLeaderEpoch);
  EXPECT_EQ(log_->tail_cache_bytes(), 0);
  EXPECT_EQ(fs_.List(kPath)->size(), 0u);
  const std::string batch(Append(2, 3).batches.view());
  SyncAndMark();
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->leo(), Offset(102));
  EXPECT_EQ(ReadAll(), batch);
}

}  // namespace
}  // namespace sluice
