#include "common/env/mem_file_system.h"

#include <memory>
#include <string>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

class MemCrashTest : public testing::Test {
 protected:
  MemCrashTest() {
    EXPECT_TRUE(fs_.CreateDirectory("/d").ok());
    EXPECT_TRUE(fs_.SyncDirectory("/").ok());
  }
  std::shared_ptr<File> Create(const std::string& path) {
    return *fs_.Open(path, OpenMode::kCreate);
  }
  std::string Content(const std::string& path) {
    return ReadFile(fs_, path, 1 << 20).value_or("(none)");
  }

  MemFileSystem fs_;
};

TEST_F(MemCrashTest, OnlySyncedBytesOfSyncedEntriesSurviveLosingAll) {
  auto kept = Create("/d/kept");
  ASSERT_TRUE(kept->Write(0, "synced").ok());
  ASSERT_TRUE(kept->SyncData().ok());
  ASSERT_TRUE(fs_.SyncDirectory("/d").ok());
  ASSERT_TRUE(kept->Write(6, " and not").ok());
  auto unnamed = Create("/d/unnamed");
  ASSERT_TRUE(unnamed->Write(0, "x").ok());
  ASSERT_TRUE(unnamed->SyncData().ok());
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/kept"), "synced");
  EXPECT_EQ(Content("/d/unnamed"), "(none)");
}

TEST_F(MemCrashTest, RenamesAndRemovalsAreUndoneUnlessTheDirectoryIsSynced) {
  ASSERT_TRUE(WriteFileAtomically(fs_, "/d", "a", "old").ok());
  ASSERT_TRUE(WriteFileAtomically(fs_, "/d", "b", "b").ok());
  auto draft = Create("/d/a.tmp");
  ASSERT_TRUE(draft->Write(0, "new").ok());
  ASSERT_TRUE(draft->SyncData().ok());
  ASSERT_TRUE(fs_.Rename("/d/a.tmp", "/d/a").ok());
  ASSERT_TRUE(fs_.RemoveFile("/d/b").ok());
  EXPECT_EQ(Content("/d/a"), "new");
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/a"), "old");
  EXPECT_EQ(Content("/d/b"), "b");
}

// What another thread writes while a sync runs may have missed it.
TEST_F(MemCrashTest, ALongSyncPromisesWhatWasWrittenBeforeItBegan) {
  auto file = Create("/d/file");
  ASSERT_TRUE(fs_.SyncDirectory("/d").ok());
  ASSERT_TRUE(file->Write(0, "before").ok());
  const int64_t began = fs_.change_count();
  ASSERT_TRUE(file->Write(6, " meanwhile").ok());
  auto late = Create("/d/late");
  fs_.BeginLongSync(began);
  ASSERT_TRUE(file->SyncData().ok());
  ASSERT_TRUE(fs_.SyncDirectory("/d").ok());
  fs_.EndLongSync();
  EXPECT_EQ(Content("/d/file"), "before meanwhile");
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/file"), "before");
  EXPECT_EQ(Content("/d/late"), "(none)");
}

TEST_F(MemCrashTest, ALongSyncOfEverythingPromisesNoMoreThanOneOfAFile) {
  auto file = Create("/d/file");
  ASSERT_TRUE(file->Write(0, "before").ok());
  const int64_t began = fs_.change_count();
  ASSERT_TRUE(file->Write(6, " meanwhile").ok());
  auto late = Create("/d/late");
  fs_.BeginLongSync(began);
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  fs_.EndLongSync();
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/file"), "before");
  EXPECT_EQ(Content("/d/late"), "(none)");
}

TEST_F(MemCrashTest, ALongSyncTakesAllOfWhatItsOwnThreadWrote) {
  auto file = Create("/d/file");
  ASSERT_TRUE(fs_.SyncDirectory("/d").ok());
  const int64_t began = fs_.change_count();
  ASSERT_TRUE(file->Write(0, "meanwhile").ok());
  fs_.BeginLongSync(began);
  ASSERT_TRUE(file->Write(9, " and own").ok());
  ASSERT_TRUE(file->SyncData().ok());
  fs_.EndLongSync();
  ASSERT_TRUE(file->Write(17, " and none").ok());
  ASSERT_TRUE(file->SyncData().ok());  // a short one again
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/file"), "meanwhile and own and none");
}

TEST_F(MemCrashTest, ABrokenDiskOutlivesProcessAndMachineUntilItIsMended) {
  using Operation = MemFileSystem::Operation;
  const uint64_t one = fs_.BreakDisk(Operation::kWrite);
  const uint64_t other = fs_.BreakDisk(Operation::kWrite, 2);
  const auto writes = [this] { return Create("/d/file")->Write(0, "x").ok(); };
  EXPECT_FALSE(writes());
  fs_.Kill();
  EXPECT_FALSE(writes());
  fs_.CrashLosingAll();
  EXPECT_FALSE(writes());
  fs_.MendDisk(one);
  EXPECT_FALSE(writes()) << "one fault does not end with another";
  EXPECT_FALSE(writes());
  EXPECT_TRUE(writes()) << "it was of two writes";
  fs_.MendDisk(other);
  EXPECT_TRUE(writes());
}

TEST_F(MemCrashTest, ACrashKeepsAPrefixOfUnsyncedBytesTornAtSectors) {
  bool lost_all = false;
  bool kept_all = false;
  bool tore = false;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    MemFileSystem fs;
    Random random(seed);
    auto file = *fs.Open("/f", OpenMode::kCreate);
    ASSERT_TRUE(fs.SyncDirectory("/").ok());
    const std::string bytes(2000, 'x');
    ASSERT_TRUE(file->Write(0, bytes).ok());
    fs.Crash(random);
    const std::string left = *ReadFile(fs, "/f", 4096);
    EXPECT_EQ(left, bytes.substr(0, left.size()));
    lost_all |= left.empty();
    kept_all |= left.size() == bytes.size();
    if (!left.empty() && left.size() < bytes.size()) {
      tore = true;
      EXPECT_EQ(left.size() % 512, 0u);
    }
  }
  EXPECT_TRUE(lost_all && kept_all && tore);
}

TEST_F(MemCrashTest, AReorderingCrashMayKeepLaterSectorsWithoutEarlierOnes) {
  bool hole = false;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    MemFileSystem fs;
    Random random(seed);
    auto file = *fs.Open("/f", OpenMode::kCreate);
    ASSERT_TRUE(fs.SyncDirectory("/").ok());
    ASSERT_TRUE(file->Write(0, std::string(2048, 'x')).ok());
    fs.CrashReordering(random);
    const std::string left = *ReadFile(fs, "/f", 4096);
    hole |= left.find('\0') != std::string::npos;
  }
  EXPECT_TRUE(hole);
}

TEST_F(MemCrashTest, AKillKeepsThePageCacheButEndsHandlesAndLocks) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, "cached").ok());
  auto lock = *fs_.Lock("/d/lock");
  fs_.Kill();
  EXPECT_FALSE(file->Write(0, "x").ok());
  EXPECT_FALSE(file->SyncData().ok());
  EXPECT_EQ(Content("/d/f"), "cached");
  EXPECT_TRUE(fs_.Lock("/d/lock").ok());
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/f"), "(none)") << "a kill syncs nothing";
}

TEST_F(MemCrashTest, SyncAllMakesEverythingDurable) {
  ASSERT_TRUE(fs_.CreateDirectory("/d/deep").ok());
  ASSERT_TRUE(Create("/d/deep/f")->Write(0, "x").ok());
  ASSERT_TRUE(fs_.SyncAll("/d").ok());
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/deep/f"), "x");
}

TEST_F(MemCrashTest, EntriesOfALostDirectoryAreLost) {
  ASSERT_TRUE(fs_.CreateDirectory("/d/new").ok());
  ASSERT_TRUE(Create("/d/new/f")->SyncData().ok());
  ASSERT_TRUE(fs_.SyncDirectory("/d/new").ok());
  fs_.CrashLosingAll();
  EXPECT_FALSE(*fs_.Exists("/d/new/f"));
}

TEST_F(MemCrashTest, OrderedFaultsHitTheirOperationAndPath) {
  auto a = Create("/d/a");
  auto b = Create("/d/b");
  fs_.FailNextOn("/b", MemFileSystem::Operation::kSyncData);
  fs_.FailNextOn("/b", MemFileSystem::Operation::kWrite, 1, true);
  EXPECT_TRUE(a->Write(0, "x").ok());
  EXPECT_TRUE(a->SyncData().ok());
  EXPECT_EQ(CodeOf(b->SyncData()), ErrorCode::kStorageError);
  EXPECT_TRUE(b->SyncData().ok());
  EXPECT_EQ(CodeOf(b->Write(0, "1234")), ErrorCode::kStorageFull);
  EXPECT_EQ(Content("/d/b"), "12") << "a failed write may leave a part";
}

TEST_F(MemCrashTest, StoppingLetsExactlySoManyChangesHappen) {
  auto file = Create("/d/f");
  const int64_t before = fs_.change_count();
  fs_.StopAfter(2);
  EXPECT_TRUE(file->Write(0, "1").ok());
  EXPECT_TRUE(file->Write(1, "2").ok());
  EXPECT_FALSE(fs_.stopped());
  EXPECT_FALSE(file->Write(2, "3").ok());
  EXPECT_TRUE(fs_.stopped());
  std::string out(1, ' ');
  EXPECT_FALSE(file->ReadAt(0, out).ok());
  EXPECT_EQ(fs_.change_count(), before + 2);
  fs_.Kill();
  EXPECT_EQ(Content("/d/f"), "12");
}

TEST_F(MemCrashTest, AFullDiskRefusesGrowthAndReadsGoOn) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, "1234").ok());
  fs_.SetCapacity(5);
  EXPECT_EQ(CodeOf(file->Write(4, "5678")), ErrorCode::kStorageFull);
  std::string out(4, ' ');
  EXPECT_EQ(*file->ReadAt(0, out), 4u);
  EXPECT_TRUE(file->Write(0, "abcd").ok()) << "no growth";
}

TEST_F(MemCrashTest, AFlippedBitIsOnTheDiskToo) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, "a").ok());
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  fs_.FlipBit("/d/f", 0, 1);
  EXPECT_EQ(Content("/d/f"), "c");
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/f"), "c");
}

TEST_F(MemCrashTest, AFailedSyncMarksThePagesCleanForGood) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, "old").ok());
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  ASSERT_TRUE(file->Write(0, "new").ok());
  fs_.FailNext(MemFileSystem::Operation::kSyncData);
  EXPECT_FALSE(file->SyncData().ok());
  EXPECT_EQ(Content("/d/f"), "new") << "the page cache still has it";
  EXPECT_TRUE(file->SyncData().ok()) << "nothing is dirty";
  fs_.DropCaches();
  EXPECT_EQ(Content("/d/f"), "old");
}

// Seed 428964: the disk writes sectors as the cache has them.
TEST_F(MemCrashTest, AWriteTakesAlongWhatAFailedSyncLeftInItsSector) {
  bool kept = false;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    MemFileSystem fs;
    Random random(seed);
    auto file = *fs.Open("/f", OpenMode::kCreate);
    ASSERT_TRUE(fs.SyncDirectory("/").ok());
    ASSERT_TRUE(file->Write(0, std::string(1000, 'x')).ok());
    fs.FailNext(MemFileSystem::Operation::kSyncData);
    EXPECT_FALSE(file->SyncData().ok());
    ASSERT_TRUE(file->Write(1000, "yy").ok());
    fs.CrashReordering(random);
    const std::string left = *ReadFile(fs, "/f", 4096);
    const std::string with =
        std::string(512, '\0') + std::string(488, 'x') + "yy";
    EXPECT_TRUE(left.empty() || left == with) << "seed " << seed;
    kept |= left == with;
  }
  EXPECT_TRUE(kept);

  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, "lost").ok());
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  ASSERT_TRUE(file->Write(0, "kept").ok());
  fs_.FailNext(MemFileSystem::Operation::kSyncData);
  EXPECT_FALSE(file->SyncData().ok());
  ASSERT_TRUE(file->Write(4, "!").ok());
  EXPECT_TRUE(file->SyncData().ok());
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/f"), "kept!");
}

TEST_F(MemCrashTest, AFailedSyncOfAllDropsEveryFilesDirtyPages) {
  auto file = Create("/d/f");
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  ASSERT_TRUE(file->Write(0, "x").ok());
  fs_.FailNext(MemFileSystem::Operation::kSyncAny, MemFileSystem::kForEver);
  EXPECT_FALSE(fs_.SyncAll("/").ok());
  EXPECT_FALSE(fs_.SyncAll("/").ok()) << "for ever";
  fs_.ClearFaults();
  EXPECT_TRUE(fs_.SyncAll("/").ok());
  fs_.CrashLosingAll();
  EXPECT_EQ(Content("/d/f"), "");
}

TEST_F(MemCrashTest, AMisdirectedWriteIsSeenOnceTheCacheIsGone) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, std::string(8192, 'a')).ok());
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  fs_.MisdirectNextWrite();
  ASSERT_TRUE(file->Write(4096, "b").ok());
  ASSERT_TRUE(file->SyncData().ok());
  EXPECT_EQ(Content("/d/f")[4096], 'b');
  fs_.DropCaches();
  EXPECT_EQ(Content("/d/f")[4096], 'a');
  EXPECT_EQ(Content("/d/f")[0], 'b');
}

// What programs wrote is known past both, until it is written anew or goes.
TEST_F(MemCrashTest, WhatWasWrittenOutlivesHarm) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, std::string(8192, 'a')).ok());
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  EXPECT_FALSE(fs_.IsHarmed("/d/f"));
  fs_.MisdirectNextWrite("/d/", ".log");
  ASSERT_TRUE(file->Write(4096, "b").ok());
  EXPECT_TRUE(fs_.misdirects_next()) << "another file's";
  fs_.MisdirectNextWrite("/d/", "f");
  ASSERT_TRUE(file->Write(8192, "c").ok());
  EXPECT_FALSE(fs_.misdirects_next());
  EXPECT_TRUE(fs_.IsHarmed("/d/f"));
  EXPECT_FALSE(fs_.DropCache("/d/f")) << "there is something to write back";
  ASSERT_TRUE(file->SyncData().ok());
  ASSERT_TRUE(file->Write(8193, "d").ok());
  ASSERT_TRUE(file->SyncData().ok());
  fs_.FlipBit("/d/f", 1, 1);
  EXPECT_TRUE(fs_.DropCache("/d/f"));
  const std::string written =
      std::string(4096, 'a') + "b" + std::string(4095, 'a') + "cd";
  EXPECT_EQ(fs_.PeekWritten("/d/f"), written);
  EXPECT_EQ(Content("/d/f")[1], 'c');
  EXPECT_EQ(Content("/d/f")[4096], 'c');
  EXPECT_EQ(Content("/d/f")[8192], '\0');
  EXPECT_EQ(fs_.PeekDurable("/d/f"), Content("/d/f"));
  ASSERT_TRUE(file->Write(0, std::string(4097, 'x')).ok());
  EXPECT_TRUE(fs_.IsHarmed("/d/f"));
  ASSERT_TRUE(file->Truncate(8192).ok());
  EXPECT_FALSE(fs_.IsHarmed("/d/f"));
}

// Seed 204: what lies past the end was not written there.
TEST_F(MemCrashTest, AWriteThatGoesAstrayPastTheEndIsNotPartOfTheFile) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, "ab").ok());
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  fs_.MisdirectNextWrite();
  ASSERT_TRUE(file->Write(2, "cd").ok());
  ASSERT_TRUE(file->SyncData().ok());
  EXPECT_TRUE(fs_.DropCache("/d/f"));
  EXPECT_EQ(Content("/d/f").size(), 4100u);
  EXPECT_EQ(fs_.PeekWritten("/d/f"), "abcd");
  ASSERT_TRUE(file->Write(4, "ef").ok());
  EXPECT_EQ(fs_.PeekWritten("/d/f"), "abcdef");
}

TEST_F(MemCrashTest, AWriteThatGoesAstrayAndIsLostHarmsNothing) {
  auto file = Create("/d/f");
  ASSERT_TRUE(file->Write(0, std::string(8192, 'a')).ok());
  ASSERT_TRUE(fs_.SyncAll("/").ok());
  fs_.MisdirectNextWrite();
  ASSERT_TRUE(file->Write(8192, "c").ok());
  fs_.CrashLosingAll();
  EXPECT_FALSE(fs_.IsHarmed("/d/f"));
}

TEST_F(MemCrashTest, ARandomFlipChangesOneBitOfAFileThatHasSome) {
  Random random(1);
  auto file = Create("/d/f");
  EXPECT_FALSE(fs_.FlipRandomBit("/d/f", random));
  EXPECT_FALSE(fs_.FlipRandomBit("/d/missing", random));
  ASSERT_TRUE(file->Write(0, std::string(100, '\0')).ok());
  ASSERT_TRUE(fs_.FlipRandomBit("/d/f", random));
  int bits = 0;
  for (const char c : Content("/d/f")) {
    bits += __builtin_popcount(static_cast<unsigned char>(c));
  }
  EXPECT_EQ(bits, 1);
}

TEST(MemFileSystemTest, ADirectoryUnderAReusedNameKeepsWhatWasSyncedInIt) {
  MemFileSystem fs;
  ASSERT_TRUE(fs.CreateDirectory("/d").ok());
  ASSERT_TRUE(fs.CreateDirectory("/d/p").ok());
  ASSERT_TRUE(fs.Open("/d/p/old", OpenMode::kCreate).ok());
  ASSERT_TRUE(fs.SyncAll("/").ok());
  ASSERT_TRUE(fs.Rename("/d/p", "/d/q").ok());
  ASSERT_TRUE(fs.CreateDirectory("/d/p").ok());
  ASSERT_TRUE(fs.Open("/d/p/new", OpenMode::kCreate).ok());
  ASSERT_TRUE(fs.SyncDirectory("/d/p").ok());
  ASSERT_TRUE(fs.SyncDirectory("/d").ok());
  fs.CrashLosingAll();
  EXPECT_TRUE(*fs.Exists("/d/p/new"));
  EXPECT_FALSE(*fs.Exists("/d/p/old"));
  EXPECT_TRUE(*fs.Exists("/d/q/old"));
}

}  // namespace
}  // namespace sluice
