#include "storage/dir_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/env/posix_file_system.h"
#include "storage/dir_store_testing.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

const ClusterId kCluster(Uuid(1, 2));
const ClusterId kOtherCluster(Uuid(1, 3));

class DirStoreTest : public DirStoreTestBase {};

// ---- Whose directory it is ----

TEST_F(DirStoreTest, ANewDirectoryHasAnIdAndNoOwner) {
  Open();
  EXPECT_TRUE(store_->is_new());
  EXPECT_TRUE(store_->facts().directory_id.is_set());
  EXPECT_FALSE(store_->facts().cluster_id.is_set());
  EXPECT_EQ(store_->facts().node_id, NodeId(0));
  EXPECT_EQ(store_->previous_run().boot_id, "");
  EXPECT_FALSE(store_->previous_run().clean());
  // It is there from the first moment on, with all above it.
  const DirectoryId id = store_->facts().directory_id;
  fs_.CrashLosingAll();
  Open();
  EXPECT_FALSE(store_->is_new());
  EXPECT_EQ(store_->facts().directory_id, id);
}

TEST_F(DirStoreTest, ADirectoryThatAnOperatorMadeIsMadeDurable) {
  ASSERT_TRUE(fs_.CreateDirectory("/data").ok());
  ASSERT_TRUE(fs_.SyncDirectory("/").ok());
  ASSERT_TRUE(fs_.CreateDirectory(kDirectory).ok());
  Open();
  fs_.CrashLosingAll();
  Open();
  EXPECT_FALSE(store_->is_new());
}

TEST_F(DirStoreTest, AnOwnerIsTakenOnceAndForGood) {
  Open();
  ASSERT_TRUE(store_->SetIdentity(kCluster, NodeId(3)).ok());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(store_->facts().cluster_id, kCluster);
  EXPECT_EQ(store_->facts().node_id, NodeId(3));
  EXPECT_TRUE(store_->SetIdentity(kCluster, NodeId(3)).ok());
  EXPECT_EQ(CodeOf(store_->SetIdentity(kOtherCluster, NodeId(3))),
            ErrorCode::kDataDirMismatch);
  EXPECT_EQ(CodeOf(store_->SetIdentity(kCluster, NodeId(4))),
            ErrorCode::kDataDirMismatch);
  EXPECT_EQ(store_->facts().node_id, NodeId(3));
}

TEST_F(DirStoreTest, AnothersDirectoryIsRefusedAndNotTouched) {
  Open();
  ASSERT_TRUE(store_->SetIdentity(kCluster, NodeId(3)).ok());
  store_.reset();
  const std::string before = Journal();
  EXPECT_EQ(CodeOf(OpenFails({.cluster_id = kOtherCluster})),
            ErrorCode::kDataDirMismatch);
  EXPECT_EQ(CodeOf(OpenFails({.node_id = NodeId(4)})),
            ErrorCode::kDataDirMismatch);
  EXPECT_EQ(CodeOf(OpenFails({kOtherCluster, NodeId(3)})),
            ErrorCode::kDataDirMismatch);
  EXPECT_EQ(Journal(), before);
  Open({kCluster, NodeId(3)});
}

TEST_F(DirStoreTest, OneProcessAtATime) {
  Open();
  EXPECT_EQ(CodeOf(OpenFails()), ErrorCode::kDataDirInUse);
  store_.reset();
  Open();
}

// ---- How the last run ended ----

TEST_F(DirStoreTest, ACleanStopIsTrueForOneStart) {
  Open({}, "boot 1");
  store_->Put(Tp(1, 0), Marks(10));
  ASSERT_TRUE(store_->StopClean(BrokerEpoch(77)).ok());
  fs_.CrashLosingAll();
  Open({}, "boot 2");
  EXPECT_EQ(store_->previous_run().boot_id, "boot 1");
  EXPECT_EQ(store_->previous_run().clean_broker_epoch, BrokerEpoch(77));
  EXPECT_TRUE(store_->RecoveryMarksOf(Tp(1, 0)).clean_shutdown);
  EXPECT_EQ(*store_->Find(Tp(1, 0)), Marks(10));
  // This run has begun, and that is durable at once.
  fs_.CrashLosingAll();
  Open({}, "boot 3");
  EXPECT_EQ(store_->previous_run().boot_id, "boot 2");
  EXPECT_FALSE(store_->previous_run().clean());
  EXPECT_FALSE(store_->RecoveryMarksOf(Tp(1, 0)).clean_shutdown);
}

TEST_F(DirStoreTest, AKilledRunTellsItsBootId) {
  Open({}, "the same boot");
  fs_.Kill();
  Open({}, "the same boot");
  EXPECT_EQ(store_->previous_run().boot_id, "the same boot");
  EXPECT_FALSE(store_->previous_run().clean());
  store_.reset();
  Open({}, std::string(1000, 'x'));
  ASSERT_TRUE(store_->ConfirmRun().ok());
  store_.reset();
  Open();
  EXPECT_EQ(store_->previous_run().boot_id, std::string(kBootIdBytesMax, 'x'));
}

// RP18: the run that finds what a power cut left may die before anybody was
// told. The next one of its boot must not look as if only a process had died.
TEST_F(DirStoreTest, ALostPageCacheIsRememberedUntilARunIsConfirmed) {
  Open({}, "boot 1");
  fs_.CrashLosingAll();
  Open({}, "boot 2");
  EXPECT_EQ(store_->previous_run().boot_id, "boot 1");
  fs_.Kill();
  Open({}, "boot 2");
  EXPECT_EQ(store_->previous_run().boot_id, "");
  fs_.Kill();
  Open({}, "boot 2");
  EXPECT_EQ(store_->previous_run().boot_id, "");
  // A clean stop of a run that never registered tells nobody either (seed 975).
  ASSERT_TRUE(store_->StopClean(kNoBrokerEpoch).ok());
  Open({}, "boot 2");
  EXPECT_EQ(store_->previous_run().boot_id, "");
  fs_.Kill();
  Open({}, "boot 2");
  EXPECT_EQ(store_->previous_run().boot_id, "");

  ASSERT_TRUE(store_->ConfirmRun().ok());
  fs_.CrashLosingAll();
  Open({}, "boot 3");
  EXPECT_EQ(store_->previous_run().boot_id, "boot 2");
}

TEST_F(DirStoreTest, AfterACleanStopNothingIsWritten) {
  Open();
  ASSERT_TRUE(store_->StopClean(BrokerEpoch(1)).ok());
  const std::string before = Journal();
  store_->Put(Tp(1, 0), Marks(10));
  EXPECT_EQ(CodeOf(store_->Flush().status()), ErrorCode::kShuttingDown);
  EXPECT_EQ(CodeOf(store_->Compact()), ErrorCode::kShuttingDown);
  EXPECT_EQ(CodeOf(store_->StopClean(BrokerEpoch(1))),
            ErrorCode::kShuttingDown);
  EXPECT_EQ(Journal(), before);
}

TEST_F(DirStoreTest, ACleanMarkerSurvivesWithAllMarksOrNotAtAll) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    WipeDisk();
    Open();
    store_->Put(Tp(1, 0), Marks(1));
    ASSERT_TRUE(store_->FlushDurably().ok());
    store_->Put(Tp(1, 0), Marks(2));
    for (int i = 1; i < 20; ++i) store_->Put(Tp(1, i), Marks(2));
    fs_.StopAfter(1);  // the write, and then not the sync
    EXPECT_FALSE(store_->StopClean(BrokerEpoch(5)).ok());
    Random random(seed);
    fs_.CrashReordering(random);
    Open();
    if (!store_->previous_run().clean()) continue;
    EXPECT_EQ(store_->partitions().size(), 20u);
    EXPECT_EQ(*store_->Find(Tp(1, 0)), Marks(2));
  }
}

TEST_F(DirStoreTest, TheCleanMarkerIsTheLastThingWritten) {
  Open();
  for (int i = 0; i < 15'000; ++i) store_->Put(Tp(1, i), Marks(i));
  ASSERT_TRUE(store_->StopClean(BrokerEpoch(5)).ok());
  const std::string all = Journal();
  ASSERT_GT(all.size(), kFrameRecordsBytes);
  EXPECT_TRUE(ParseJournal(all, "j")->state.clean_stop.has_value());
  const auto torn =
      ParseJournal(std::string_view(all).substr(0, all.size() - 1), "j");
  ASSERT_TRUE(torn.ok()) << torn.status();
  EXPECT_FALSE(torn->state.clean_stop.has_value());
}

// ---- Marks ----

TEST_F(DirStoreTest, MarksComeBackAsTheyWerePut) {
  Open();
  PartitionMarks marks = Marks(10);
  marks.lossy = true;
  marks.topic_name = std::string(kMarksNameBytesMax, 't');
  store_->Put(Tp(1, 0), marks);
  store_->Put(Tp(2, 7), PartitionMarks());
  ASSERT_TRUE(store_->FlushDurably().ok());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(store_->partitions().size(), 2u);
  EXPECT_EQ(*store_->Find(Tp(1, 0)), marks);
  EXPECT_EQ(*store_->Find(Tp(2, 7)), PartitionMarks());
  const RecoveryMarks recovery = store_->RecoveryMarksOf(Tp(1, 0));
  EXPECT_EQ(recovery.high_watermark, marks.high_watermark);
  EXPECT_EQ(recovery.recovery_point, marks.recovery_point);
  EXPECT_EQ(recovery.durable_mark, marks.durable_mark);
  EXPECT_EQ(recovery.log_start, marks.log_start);
  EXPECT_EQ(recovery.epochs, marks.epochs);
  EXPECT_TRUE(recovery.lossy);
  EXPECT_EQ(store_->Find(Tp(9, 9)), nullptr);
  EXPECT_EQ(store_->RecoveryMarksOf(Tp(9, 9)).recovery_point, Offset(0));
}

TEST_F(DirStoreTest, RemovedMarksDoNotComeBack) {
  Open();
  store_->Put(Tp(1, 0), Marks(10));
  store_->Put(Tp(1, 1), Marks(10));
  ASSERT_TRUE(store_->FlushDurably().ok());
  store_->Remove(Tp(1, 0));
  store_->Remove(Tp(5, 5));  // never there
  ASSERT_TRUE(store_->FlushDurably().ok());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(store_->Find(Tp(1, 0)), nullptr);
  EXPECT_NE(store_->Find(Tp(1, 1)), nullptr);
}

TEST_F(DirStoreTest, OfTooManyEpochsTheNewestAreKept) {
  Open();
  PartitionMarks marks;
  const auto many = static_cast<int32_t>(kEpochStartsMax) + 10;
  for (int32_t i = 0; i < many; ++i) {
    marks.epochs.Assign(LeaderEpoch(i), Offset(i));
  }
  store_->Put(Tp(1, 0), marks);
  ASSERT_TRUE(store_->FlushDurably().ok());
  store_.reset();
  Open();
  const auto& kept = store_->Find(Tp(1, 0))->epochs.starts();
  ASSERT_EQ(kept.size(), kEpochStartsMax);
  EXPECT_EQ(kept.front().epoch, LeaderEpoch(10));
  EXPECT_EQ(kept.back().epoch, LeaderEpoch(many - 1));
}

TEST_F(DirStoreTest, AFlushIsOneWriteThatSomebodyElseSyncs) {
  Open();
  EXPECT_FALSE(store_->Flush()->has_value());
  for (int i = 0; i < 100; ++i) store_->Put(Tp(1, i), Marks(i));
  const int64_t writes = fs_.write_count();
  const int64_t syncs = fs_.sync_count();
  auto pending = store_->Flush();
  ASSERT_TRUE(pending.ok());
  ASSERT_TRUE(pending->has_value());
  EXPECT_EQ(fs_.write_count(), writes + 1);
  EXPECT_EQ(fs_.sync_count(), syncs);
  ASSERT_EQ((*pending)->targets.files.size(), 1u);
  // Nothing new; but who waits now needs the same sync.
  EXPECT_TRUE(store_->Flush()->has_value());
  EXPECT_EQ(fs_.write_count(), writes + 1);
  ASSERT_TRUE((*pending)->targets.files[0]->SyncData().ok());
  store_->MarkSynced(**pending);
  EXPECT_FALSE(store_->Flush()->has_value());
  store_->Put(Tp(1, 5), Marks(5));  // as it was
  EXPECT_FALSE(store_->Flush()->has_value());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(store_->partitions().size(), 100u);
}

// ---- Failures ----

TEST_F(DirStoreTest, WhatCouldNotBeWrittenGoesWithTheNextFlush) {
  Open();
  store_->Put(Tp(1, 0), Marks(10));
  for (const bool full : {true, false}) {
    fs_.FailNextOn("journal", Operation::kWrite, 1, full);
    EXPECT_EQ(CodeOf(store_->Flush().status()),
              full ? ErrorCode::kStorageFull : ErrorCode::kStorageError);
  }
  store_->Put(Tp(1, 1), Marks(11));
  ASSERT_TRUE(store_->FlushDurably().ok());
  fs_.CrashLosingAll();
  Open();
  EXPECT_EQ(*store_->Find(Tp(1, 0)), Marks(10));
  EXPECT_EQ(*store_->Find(Tp(1, 1)), Marks(11));
}

// ST4
TEST_F(DirStoreTest, AFailedSyncIsTheLastWord) {
  Open();
  store_->Put(Tp(1, 0), Marks(10));
  fs_.FailNext(Operation::kSyncData);
  const absl::Status first = store_->FlushDurably();
  EXPECT_EQ(CodeOf(first), ErrorCode::kStorageError);
  const int64_t syncs = fs_.sync_count();
  EXPECT_EQ(store_->FlushDurably(), first);
  EXPECT_EQ(store_->Flush().status(), first);
  EXPECT_EQ(store_->Compact(), first);
  EXPECT_EQ(store_->SetIdentity(kCluster, NodeId(1)), first);
  EXPECT_EQ(store_->StopClean(BrokerEpoch(1)), first);
  EXPECT_EQ(fs_.sync_count(), syncs);
}

// ST4: what would pass for a write does not for a sync.
TEST_F(DirStoreTest, ASyncThatFoundNoRoomIsTheLastWordToo) {
  Open();
  store_->Put(Tp(1, 0), Marks(10));
  fs_.FailNextOn("journal", Operation::kSyncData, 1, /*full=*/true);
  EXPECT_EQ(CodeOf(store_->FlushDurably()), ErrorCode::kStorageError);
  EXPECT_EQ(CodeOf(store_->Flush().status()), ErrorCode::kStorageError);
}

TEST_F(DirStoreTest, ADamagedJournalNamesWhatToSetAsideAndWhatThatCosts) {
  Open();
  store_->Put(Tp(1, 0), Marks(10));
  ASSERT_TRUE(store_->FlushDurably().ok());
  store_.reset();
  std::string journal = Journal();
  journal[0] = 'x';
  SetJournal(journal);
  const absl::Status refused =
      DirStore::Open({&fs_, &random_, "it comes back"}, kDirectory, {}, "boot")
          .status();
  EXPECT_EQ(CodeOf(refused), ErrorCode::kStorageError);
  EXPECT_THAT(std::string(refused.message()),
              testing::HasSubstr("/data/d/journal is damaged at byte 0"));
  EXPECT_THAT(std::string(refused.message()),
              testing::EndsWith("Set /data/d aside, and nothing beside it: "
                                "it comes back"));
  EXPECT_EQ(Journal(), journal);
}

TEST_F(DirStoreTest, AFailedSyncFailsTheOpening) {
  Open();
  for (int nth = 0; nth < 2; ++nth) {
    fs_.Kill();
    store_.reset();
    fs_.FailNextOn("journal", Operation::kSyncData);
    EXPECT_EQ(CodeOf(OpenFails()), ErrorCode::kStorageError);
  }
  Open();
}

// ---- Directories ----

TEST_F(DirStoreTest, PartitionDirectoriesHaveOneSpelling) {
  const TopicPartition tp = Tp(0xabc, 12);
  const std::string name = PartitionDirectoryName(tp);
  EXPECT_EQ(name, "00000000000000070000000000000abc-12");
  EXPECT_EQ(ParsePartitionDirectoryName(name), tp);
  for (const char* wrong :
       {"", "journal", "00000000000000070000000000000abc",
        "00000000000000070000000000000abc-", "00000000000000070000000000000abc12",
        "00000000000000070000000000000abc--1",
        "00000000000000070000000000000abc-012",
        "00000000000000070000000000000ABC-12",
        "00000000000000070000000000000abc-2147483648",
        "00000000000000070000000000000abc-12.deleted-0",
        "00000000000000070000000000000abx-12",
        "00000000000000070000000000000abc-+1",
        "00000000000000070000000000000abc-1 "}) {
    EXPECT_FALSE(ParsePartitionDirectoryName(wrong).has_value()) << wrong;
  }
}

TEST_F(DirStoreTest, OnlyBrokenOffRemovalsAreFinishedStraysStay) {
  Open();
  const std::string path = store_->PartitionPath(Tp(1, 0));
  for (const char* suffix :
       {"", ".deleted-0", ".deleted-12", ".stray-0", ".deleted-x", ".deleted-"}) {
    ASSERT_TRUE(fs_.CreateDirectory(path + suffix).ok());
    ASSERT_TRUE(fs_.Open(path + suffix + "/file", OpenMode::kCreate).ok());
  }
  ASSERT_TRUE(fs_.CreateDirectory("/data/d/mine.deleted-0").ok());
  ASSERT_TRUE(store_->RemoveLeftovers().ok());
  const auto present = store_->ListPartitionDirectories();
  ASSERT_TRUE(present.ok());
  ASSERT_EQ(present->size(), 1u);
  EXPECT_EQ((*present)[0].tp, Tp(1, 0));
  EXPECT_FALSE(*fs_.Exists(path + ".deleted-0"));
  EXPECT_FALSE(*fs_.Exists(path + ".deleted-12"));
  EXPECT_TRUE(*fs_.Exists(path + ".stray-0/file"));
  EXPECT_TRUE(*fs_.Exists(path + ".deleted-x/file"));
  EXPECT_TRUE(*fs_.Exists(path + ".deleted-/file"));
  EXPECT_TRUE(*fs_.Exists("/data/d/mine.deleted-0"));
}

// ST11
TEST_F(DirStoreTest, AMissingJournalBesidePartitionsIsNoNewDirectory) {
  Open();
  ASSERT_TRUE(fs_.CreateDirectory(store_->PartitionPath(Tp(1, 0))).ok());
  store_.reset();
  ASSERT_TRUE(fs_.RemoveFile(kJournal).ok());
  EXPECT_EQ(CodeOf(OpenFails()), ErrorCode::kStorageError);
  EXPECT_FALSE(*fs_.Exists(kJournal));
}

// ---- A real directory ----

TEST(DirStoreOnPosixTest, IsReopenedWithItsMarks) {
  PosixFileSystem fs;
  Random random(1);
  const std::string path =
      StrCat(std::getenv("TEST_TMPDIR"), "/dir_store_on_posix/below");
  ASSERT_FALSE(*fs.Exists(path));
  DirectoryId id;
  for (int run = 0; run < 3; ++run) {
    auto store = DirStore::Open({&fs, &random}, path, {}, "boot");
    ASSERT_TRUE(store.ok()) << store.status();
    if (run == 0) id = (*store)->facts().directory_id;
    EXPECT_EQ((*store)->facts().directory_id, id);
    EXPECT_EQ((*store)->partitions().size(), static_cast<size_t>(run));
    EXPECT_EQ((*store)->previous_run().clean(), run == 2);
    (*store)->Put(Tp(1, run), Marks(run));
    ASSERT_TRUE((*store)->FlushDurably().ok());
    ASSERT_TRUE((*store)->Compact().ok());
    auto second = DirStore::Open({&fs, &random}, path, {}, "boot");
    EXPECT_EQ(CodeOf(second.status()), ErrorCode::kDataDirInUse);
    if (run == 1) {
      ASSERT_TRUE((*store)->StopClean(BrokerEpoch(4)).ok());
    }
  }
  ASSERT_TRUE(RemoveTree(fs, path).ok());
}

}  // namespace
}  // namespace sluice
