#include "storage/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "common/base/bytes.h"
#include "common/env/posix_file_system.h"
#include "storage/log_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

class LogTest : public LogTestBase {
 protected:
  void SetUp() override { ASSERT_TRUE(Open().ok()); }
};

// ---- Appending ----

TEST_F(LogTest, ANewLogIsEmpty) {
  EXPECT_EQ(log_->log_start(), Offset(0));
  EXPECT_EQ(log_->leo(), Offset(0));
  EXPECT_EQ(log_->segment_count(), 0u);
  EXPECT_FALSE(log_->has_unsynced());
  EXPECT_EQ(ReadAll(), "");
}

TEST_F(LogTest, ALeadersBatchesGetOffsetsFromTheLeoOnAndItsEpoch) {
  Append(3, 1);
  const auto payload = Concatenate({MakeBatch({2}).view(), MakeBatch({4}).view()});
  const auto info = log_->AppendAsLeader(MutableBuffer::CopyOf(payload.view()),
                                         LeaderEpoch(2));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->base, Offset(3));
  EXPECT_EQ(info->next, Offset(9));
  EXPECT_TRUE(info->epoch_started);
  EXPECT_EQ(log_->leo(), Offset(9));
  BatchCursor cursor(info->batches.view());
  const auto first = cursor.Next();
  EXPECT_EQ((*first)->header().base_offset, Offset(3));
  EXPECT_EQ((*first)->header().leader_epoch, LeaderEpoch(2));
  const auto second = cursor.Next();
  EXPECT_EQ((*second)->header().base_offset, Offset(5));
  EXPECT_TRUE((*second)->CrcMatches());
  EXPECT_EQ(log_->epochs().starts(),
            (std::vector<EpochStart>{{LeaderEpoch(1), Offset(0)},
                                     {LeaderEpoch(2), Offset(3)}}));
}

TEST_F(LogTest, WhatIsAppendedIsStoredAsItIs) {
  std::string all;
  for (int i = 0; i < 50; ++i) {
    all.append(Append(1 + i % 3).batches.view());
  }
  EXPECT_EQ(ReadAll(), all);
  EXPECT_EQ(Content(LogFile(0)), all);
  EXPECT_EQ(log_->size_bytes(), static_cast<int64_t>(all.size()));
}

TEST_F(LogTest, AFollowerAppendsOnlyWhatContinuesItsLog) {
  Append(3, 5);
  const std::string before = ReadAll();
  for (const Buffer& wrong :
       {MakeStoredBatch(Offset(2), LeaderEpoch(5)),
        MakeStoredBatch(Offset(4), LeaderEpoch(5)),
        MakeStoredBatch(Offset(3), LeaderEpoch(4)), Buffer(),
        Buffer::CopyOf("no batch")}) {
    const auto refused = log_->AppendAsFollower(wrong);
    EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kCorruptMessage);
  }
  // A row is taken whole or not at all.
  const auto row =
      Concatenate({MakeStoredBatch(Offset(3), LeaderEpoch(5)).view(),
                   MakeStoredBatch(Offset(7), LeaderEpoch(5)).view()});
  EXPECT_FALSE(log_->AppendAsFollower(Buffer::CopyOf(row.view())).ok());
  EXPECT_EQ(ReadAll(), before);
  const auto right =
      log_->AppendAsFollower(MakeStoredBatch(Offset(3), LeaderEpoch(6)));
  ASSERT_TRUE(right.ok()) << right.status();
  EXPECT_TRUE(right->epoch_started);
  EXPECT_EQ(log_->epochs().last_epoch(), LeaderEpoch(6));
}

// RP10, F4: a leader that appended nothing leaves a trace.
TEST_F(LogTest, AnEpochCanStartWithoutABatch) {
  Append(2, 1);
  EXPECT_TRUE(log_->StartEpoch(LeaderEpoch(3)));
  EXPECT_FALSE(log_->StartEpoch(LeaderEpoch(3)));
  EXPECT_TRUE(log_->StartEpoch(LeaderEpoch(4)));
  EXPECT_FALSE(Append(1, 4).epoch_started);
  EXPECT_EQ(log_->epochs().starts(),
            (std::vector<EpochStart>{{LeaderEpoch(1), Offset(0)},
                                     {LeaderEpoch(3), Offset(2)},
                                     {LeaderEpoch(4), Offset(2)}}));
}

// ---- Segments ----

TEST_F(LogTest, RollsBeforeASegmentWouldGrowPastItsSize) {
  const auto size = static_cast<int64_t>(Append().batches.size());
  log_->SetSegmentBytes(3 * size);
  EXPECT_FALSE(Append().rolled);
  EXPECT_FALSE(Append().rolled);
  EXPECT_TRUE(Append().rolled);
  EXPECT_EQ(log_->segment_bases(),
            (std::vector<Offset>{Offset(0), Offset(3)}));
  EXPECT_EQ(static_cast<int64_t>(Content(LogFile(0)).size()), 3 * size);
  EXPECT_EQ(static_cast<int64_t>(Content(LogFile(3)).size()), size);
}

// Nothing to wait for: it would be refused for ever, and look well.
TEST_F(LogTest, ADirectoryThatWentAwayUnderTheLogIsDamage) {
  const auto size = static_cast<int64_t>(Append().batches.size());
  log_->SetSegmentBytes(size);
  ASSERT_TRUE(RemoveTree(fs_, kPath).ok());
  const auto refused = log_->AppendAsLeader(
      MakeBatch({1, Codec::kNone, NextValue(20)}), LeaderEpoch(1));
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kStorageError)
      << refused.status();
}

TEST_F(LogTest, AnAppendLargerThanASegmentGetsOneOfItsOwn) {
  Append();
  log_->SetSegmentBytes(100);
  Append(1, 1, 5000);
  Append();
  EXPECT_EQ(log_->segment_count(), 3u);
  EXPECT_EQ(ReadAll(), Content(LogFile(0)) + Content(LogFile(1)) +
                           Content(LogFile(2)));
}

TEST_F(LogTest, EveryOffsetOfManySegmentsIsFound) {
  config_.segment_bytes = 2000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 100; ++i) Append(1 + i % 4, 1 + i / 30);
  ASSERT_GT(log_->segment_count(), 5u);
  for (Offset at; at < log_->leo(); at += 1) {
    const auto plan = log_->PlanRead(at, log_->leo(), 1);
    ASSERT_TRUE(plan.ok());
    const auto read = ExecuteRead(*plan, false);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_LE((*read)->base, at);
    EXPECT_GT((*read)->next_offset, at);
    const auto batch = BatchView::Parse((*read)->batches.view());
    EXPECT_EQ(batch->header().base_offset, (*read)->base);
  }
}

// Kafka's layout: foreign tools read it.
TEST_F(LogTest, IndexEntriesAreTheLastOffsetAndThePositionOfABatch) {
  const auto size = static_cast<int64_t>(Append(2, 1, 100).batches.size());
  for (int i = 0; i < 9; ++i) Append(2, 1, 100);
  ASSERT_GT(size, config_.index_interval_bytes);
  ASSERT_TRUE(log_->SaveCaches().ok());
  const std::string index = Content(IndexFile(0));
  ASSERT_EQ(index.size(), 9u * 8);  // none for the first batch
  for (int64_t i = 0; i < 9; ++i) {
    const char* entry = index.data() + 8 * i;
    EXPECT_EQ(LoadBig32(entry), 2 * (i + 1) + 1);
    EXPECT_EQ(LoadBig32(entry + 4), size * (i + 1));
  }
}

// ---- The tail in memory ----

TEST_F(LogTest, TheTailIsReadFromMemoryAsTheSameBuffer) {
  const AppendInfo info = Append(4);
  const int64_t reads = fs_.read_count();
  const auto read = log_->ReadInMemory(Offset(2), Offset(4), 1);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->base, Offset(0));
  EXPECT_EQ(read->next_offset, Offset(4));
  EXPECT_EQ(read->batches.data(), info.batches.data());
  EXPECT_EQ(fs_.read_count(), reads);
}

TEST_F(LogTest, AReadInMemoryEndsAtUptoAndAtBytesMaxButGivesABatch) {
  const auto row = Concatenate({MakeBatch({2}).view(), MakeBatch({2}).view(),
                                MakeBatch({2}).view()});
  ASSERT_TRUE(log_->AppendAsLeader(MutableBuffer::CopyOf(row.view()),
                                   LeaderEpoch(1))
                  .ok());
  const auto next = [&](int64_t from, int64_t upto, int64_t bytes) {
    const auto read = log_->ReadInMemory(Offset(from), Offset(upto), bytes);
    return read.has_value() ? read->next_offset.value() : -1;
  };
  const auto batch = static_cast<int64_t>(MakeBatch({2}).size());
  EXPECT_EQ(next(0, 6, 1 << 20), 6);
  EXPECT_EQ(next(0, 6, 1), 2);
  EXPECT_EQ(next(0, 6, 2 * batch), 4);
  EXPECT_EQ(next(0, 5, 1 << 20), 4);
  EXPECT_EQ(next(3, 6, 1), 4);
  EXPECT_EQ(next(0, 1, 1 << 20), -1);
  EXPECT_EQ(next(4, 4, 1 << 20), -1);
  EXPECT_EQ(next(6, 9, 1 << 20), -1);
}

TEST_F(LogTest, TheTailCacheHoldsNoMoreThanItsBytes) {
  config_.tail_cache_bytes = 1000;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 50; ++i) {
    Append();
    EXPECT_LE(log_->tail_cache_bytes(), 1000);
  }
  EXPECT_TRUE(log_->ReadInMemory(Offset(49), Offset(50), 1).has_value());
  EXPECT_FALSE(log_->ReadInMemory(Offset(0), Offset(50), 1).has_value());
  Append(1, 1, 2000);
  EXPECT_EQ(log_->tail_cache_bytes(), 0);
}

TEST_F(LogTest, LogsOfOneBudgetGiveUpTheOldestOfAnyOfThem) {
  budget_ = std::make_shared<TailBudget>(1000);
  ASSERT_TRUE(Open().ok());
  auto other = Log::Open({&fs_, budget_}, "/d/other", config_, {});
  ASSERT_TRUE(other.ok());
  while (budget_->bytes() < 800) Append();
  const int64_t mine = log_->tail_cache_bytes();
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE((*other)->AppendAsLeader(MakeBatch(), LeaderEpoch(1)).ok());
    EXPECT_LE(budget_->bytes(), 1000);
    EXPECT_EQ(budget_->bytes(),
              log_->tail_cache_bytes() + (*other)->tail_cache_bytes());
  }
  EXPECT_EQ(log_->tail_cache_bytes(), 0);
  EXPECT_GT(mine, 0);
  other->reset();
  EXPECT_EQ(budget_->bytes(), 0);
}

// ---- Failed writes (ST9) ----

TEST_F(LogTest, AFailedWriteLeavesTheLogAsItWas) {
  Append(3);
  const std::string before = ReadAll();
  for (const bool full : {false, true}) {
    fs_.FailNextOn("/p/", Operation::kWrite, 1, full);
    const auto failed =
        log_->AppendAsLeader(MakeBatch({2}), LeaderEpoch(9));
    EXPECT_EQ(CodeOf(failed.status()), full ? ErrorCode::kStorageFull
                                            : ErrorCode::kStorageError);
    EXPECT_FALSE(log_->failed());
    EXPECT_EQ(log_->leo(), Offset(3));
    EXPECT_EQ(log_->epochs().last_epoch(), LeaderEpoch(1));
    EXPECT_EQ(Content(LogFile(0)), before);
  }
  const AppendInfo info = Append(2);
  EXPECT_EQ(info.base, Offset(3));
  EXPECT_EQ(ReadAll(), before + std::string(info.batches.view()));
}

TEST_F(LogTest, AFullDiskRefusesAppendsServesReadsAndRecoversByItself) {
  Append(3);
  const std::string before = ReadAll();
  fs_.SetCapacity(fs_.bytes() + 50);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(CodeOf(log_->AppendAsLeader(MakeBatch(), LeaderEpoch(1))
                         .status()),
              ErrorCode::kStorageFull);
  }
  EXPECT_EQ(ReadAll(), before);
  fs_.SetCapacity(1 << 20);
  Append();
  EXPECT_EQ(log_->leo(), Offset(4));
}

TEST_F(LogTest, AWriteThatCannotBeUndoneFailsTheLog) {
  Append();
  fs_.StopAfter(0);  // the write breaks off, and so does the undoing
  EXPECT_EQ(CodeOf(log_->AppendAsLeader(MakeBatch(), LeaderEpoch(1)).status()),
            ErrorCode::kStorageError);
  EXPECT_TRUE(log_->failed());
  fs_.Kill();
  EXPECT_EQ(CodeOf(log_->AppendAsLeader(MakeBatch(), LeaderEpoch(1)).status()),
            ErrorCode::kStorageError);
  EXPECT_FALSE(log_->PlanRead(Offset(0), Offset(1), 1).ok());
}

// A refused produce must not be read later: not even when a power cut loses
// the undoing, but not the batches in its place.
TEST_F(LogTest, BatchesOfAFailedWriteNeverComeBack) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    fs_.Kill();
    ASSERT_TRUE(RemoveTree(fs_, kPath).ok());
    marks_ = {};
    ASSERT_TRUE(Open().ok());
    Append(1, 1, 400);
    SyncAndMark();
    const std::string batch(MakeBatch({1, Codec::kNone, "refused"}).view());
    fs_.FailNextOn("/p/", Operation::kWrite);
    ASSERT_FALSE(
        log_->AppendAsLeader(
                Concatenate({batch, batch, batch, batch, batch, batch}),
                LeaderEpoch(1))
            .ok());
    ASSERT_TRUE(log_->AppendAsLeader(
                        MakeBatch({1, Codec::kNone, "allowed"}),
                        LeaderEpoch(1))
                    .ok());
    Random random(seed);
    fs_.CrashReordering(random);
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(ReadAll().find("refused"), std::string::npos) << seed;
  }
}

// ---- Durability ----

TEST_F(LogTest, WhatWasTakenAndSyncedIsDurable) {
  Append(3);
  EXPECT_TRUE(log_->has_unsynced());
  const auto first = log_->TakeUnsynced();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->leo, Offset(3));
  EXPECT_EQ(first->targets.files.size(), 1u);
  EXPECT_EQ(first->targets.directories,
            (std::vector<std::string>{kPath, "/d"}));
  EXPECT_FALSE(log_->has_unsynced());
  EXPECT_FALSE(log_->TakeUnsynced().has_value());
  EXPECT_EQ(log_->durable_leo(), Offset(0));
  log_->MarkDurable(*first);
  EXPECT_EQ(log_->durable_leo(), Offset(3));
  Append(1);
  const auto second = log_->TakeUnsynced();
  EXPECT_EQ(second->targets.files.size(), 1u);
  EXPECT_TRUE(second->targets.directories.empty());
}

// Whoever syncs the second must not count the first as durable too early.
TEST_F(LogTest, ATakingCoversWhatWasTakenBeforeAndNotMarkedDurable) {
  const auto size = static_cast<int64_t>(Append().batches.size());
  log_->SetSegmentBytes(size);
  const auto first = log_->TakeUnsynced();
  Append();  // rolls
  const auto second = log_->TakeUnsynced();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->targets.files.size(), 2u);
  log_->MarkDurable(*second);
  EXPECT_EQ(log_->durable_leo(), Offset(2));
  log_->MarkDurable(*first);
  EXPECT_EQ(log_->durable_leo(), Offset(2));
  Append();
  EXPECT_EQ(log_->TakeUnsynced()->targets.files.size(), 1u);
}

TEST_F(LogTest, SyncNowCoversASyncThatIsStillUnderWay) {
  Append();
  ASSERT_TRUE(log_->TakeUnsynced().has_value());  // never reported
  ASSERT_TRUE(log_->SyncNow().ok());
  EXPECT_EQ(log_->durable_leo(), Offset(1));
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->leo(), Offset(1));
}

TEST_F(LogTest, AnEarlierSyncDoesNotAnswerForALaterOne) {
  Append();
  const auto first = log_->TakeUnsynced();
  Append();
  ASSERT_TRUE(log_->TakeUnsynced().has_value());  // never reported
  log_->MarkDurable(*first);
  EXPECT_EQ(log_->durable_leo(), Offset(1));
  ASSERT_TRUE(log_->SyncNow().ok());
  EXPECT_EQ(log_->durable_leo(), Offset(2));
  fs_.CrashLosingAll();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->leo(), Offset(2));
}

TEST_F(LogTest, ASyncFromBeforeACutMarksNothing) {
  Append();
  Append();
  const auto taken = log_->TakeUnsynced();
  ASSERT_TRUE(log_->TruncateTo(Offset(1)).ok());
  Append();
  log_->MarkDurable(*taken);
  EXPECT_EQ(log_->durable_leo(), Offset(1));
}

// ST4: what a second fsync says after a failed one means nothing.
TEST_F(LogTest, AFailedSyncIsFinal) {
  Append();
  fs_.FailNext(Operation::kSyncData);
  EXPECT_EQ(CodeOf(log_->SyncNow()), ErrorCode::kStorageError);
  EXPECT_TRUE(log_->failed());
  EXPECT_FALSE(log_->SyncNow().ok());
  EXPECT_EQ(log_->durable_leo(), Offset(0));
}

// ---- The log start ----

TEST_F(LogTest, BelowTheLogStartNothingIsReadAndWholeSegmentsGo) {
  config_.segment_bytes = 1;
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 4; ++i) Append(2, 1 + i);
  EXPECT_EQ(CodeOf(log_->SetLogStart(Offset(9))), ErrorCode::kOffsetOutOfRange);
  ASSERT_TRUE(log_->SetLogStart(Offset(5)).ok());
  ASSERT_TRUE(log_->SetLogStart(Offset(3)).ok());  // never back
  EXPECT_EQ(log_->log_start(), Offset(5));
  EXPECT_EQ(CodeOf(log_->PlanRead(Offset(4), Offset(8), 1).status()),
            ErrorCode::kOffsetOutOfRange);
  EXPECT_FALSE(log_->ReadInMemory(Offset(4), Offset(8), 1).has_value());
  EXPECT_EQ(log_->segment_count(), 4u);
  ASSERT_TRUE(log_->DropBelowLogStart().ok());
  EXPECT_EQ(log_->segment_bases(),
            (std::vector<Offset>{Offset(4), Offset(6)}));
  EXPECT_FALSE(*fs_.Exists(LogFile(0)));
  EXPECT_FALSE(*fs_.Exists(IndexFile(0)));
  EXPECT_EQ(log_->epochs().starts().front(),
            (EpochStart{LeaderEpoch(3), Offset(5)}));
  EXPECT_EQ(ReadAll(), Content(LogFile(4)) + Content(LogFile(6)));
  SyncAndMark();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(log_->log_start(), Offset(5));
  EXPECT_EQ(log_->leo(), Offset(8));
}

// ---- Deleting ----

TEST_F(LogTest, ADeletedLogIsGoneAndPlansOfItCanStillRead) {
  const std::string batch(Append().batches.view());
  const auto plan = log_->PlanRead(Offset(0), Offset(1), 1);
  const uint64_t generation = log_->generation();
  ASSERT_TRUE(log_->Delete().ok());
  EXPECT_FALSE(*fs_.Exists(kPath));
  EXPECT_EQ(fs_.List("/d")->size(), 0u);
  EXPECT_TRUE(log_->failed());
  EXPECT_GT(log_->generation(), generation);
  EXPECT_FALSE(log_->AppendAsLeader(MakeBatch(), LeaderEpoch(1)).ok());
  const auto read = ExecuteRead(*plan, false);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ((*read)->batches.view(), batch);
}

TEST_F(LogTest, ADeletionThatBreaksOffLeavesAnotherName) {
  Append();
  ASSERT_TRUE(fs_.CreateDirectory("/d/p.deleted-0").ok());
  fs_.StopAfter(1);  // the renaming
  EXPECT_FALSE(log_->Delete().ok());
  fs_.Kill();
  EXPECT_FALSE(*fs_.Exists(kPath));
  EXPECT_TRUE(*fs_.Exists("/d/p.deleted-1"));
}

// ---- A real directory ----

TEST(LogOnPosixTest, AppendsRollsReadsAndReopens) {
  PosixFileSystem fs;
  const char* const temporary = std::getenv("TEST_TMPDIR");
  ASSERT_NE(temporary, nullptr);
  const std::string path = StrCat(temporary, "/log_on_posix");
  LogConfig config;
  config.segment_bytes = 10'000;
  auto log = Log::Open({&fs, nullptr}, path, config, {});
  ASSERT_TRUE(log.ok()) << log.status();
  std::string all;
  for (int i = 0; i < 100; ++i) {
    const auto info = (*log)->AppendAsLeader(
        MakeBatch({3, Codec::kNone, std::string(200, 'v')}), LeaderEpoch(1));
    ASSERT_TRUE(info.ok()) << info.status();
    all.append(info->batches.view());
  }
  ASSERT_TRUE((*log)->TruncateTo(Offset(200)).ok());
  ASSERT_TRUE((*log)->SyncNow().ok());
  RecoveryMarks marks;
  marks.recovery_point = Offset(100);
  marks.durable_mark = (*log)->durable_leo();
  marks.epochs = (*log)->epochs();
  log = Log::Open({&fs, nullptr}, path, config, marks);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ((*log)->leo(), Offset(198));
  EXPECT_GT((*log)->segment_count(), 3u);
  std::string read;
  for (Offset at; at < (*log)->leo();) {
    const auto plan = (*log)->PlanRead(at, (*log)->leo(), 1 << 20);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const auto part = ExecuteRead(*plan, false);
    ASSERT_TRUE(part.ok()) << part.status();
    read.append((*part)->batches.view());
    at = (*part)->next_offset;
  }
  EXPECT_EQ(read, all.substr(0, read.size()));
  EXPECT_EQ(read.size(), all.size() / 100 * 66);
  ASSERT_TRUE((*log)->Delete().ok());
  EXPECT_FALSE(*fs.Exists(path));
}

}  // namespace
}  // namespace sluice
