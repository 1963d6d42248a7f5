// F58, F44, F50 on RocksDB itself: a disk that fails under it, operation by
// operation. Each fault is answered by name, and nothing that was synced is
// forgotten in silence.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "storage/rocks_kv_store.h"
#include "storage/rocks_kv_store_faults_testing.h"

namespace sluice {
namespace {

namespace stdfs = std::filesystem;
using Operation = FaultyRocksDisk::Operation;

class RocksFaultsTest : public testing::Test {
 protected:
  RocksFaultsTest() : path_(testing::TempDir() + "/rocks_faults") {
    stdfs::remove_all(path_);
    options_.env = disk_.env();
    EXPECT_TRUE(TryOpen().ok());
  }
  absl::Status TryOpen() {
    store_.reset();
    auto opened = RocksKvStore::Open(path_, options_);
    if (!opened.ok()) return opened.status();
    store_ = *std::move(opened);
    return absl::OkStatus();
  }
  absl::Status Put(int from, int to) {
    for (int i = from; i < to; ++i) {
      KvBatch batch;
      batch.Put(StrCat("key", 1000 + i), std::string(100, 'v'));
      const absl::Status written = store_->Write(batch, KvStore::Sync::kYes);
      if (!written.ok()) return written;
    }
    return absl::OkStatus();
  }
  // -1: it cannot be read.
  int Count() {
    int keys = 0;
    const absl::Status read = store_->Scan("", "", [&](auto, auto) {
      ++keys;
      return true;
    });
    return read.ok() ? keys : -1;
  }
  // All of it in tables: closed and opened again.
  void IntoTables(int keys) {
    ASSERT_TRUE(Put(0, keys).ok());
    ASSERT_TRUE(TryOpen().ok());
    stdfs::remove_all(path_ + "-copy");
    ASSERT_TRUE(store_->Checkpoint(path_ + "-copy").ok());  // flushes
  }

  const std::string path_;
  FaultyRocksDisk disk_;
  RocksKvOptions options_;
  std::unique_ptr<RocksKvStore> store_;
};

TEST_F(RocksFaultsTest, AFlippedBitInTheWalIsRefusedNotForgotten) {
  ASSERT_TRUE(Put(0, 20).ok());
  disk_.FlipReads(".log");
  EXPECT_EQ(CodeOf(TryOpen()), ErrorCode::kStorageError);
  EXPECT_GT(disk_.faults(), 0);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(Count(), 20);
}

TEST_F(RocksFaultsTest, AWalThatCannotBeReadIsRefused) {
  ASSERT_TRUE(Put(0, 20).ok());
  disk_.Fail(Operation::kRead, ".log", 1);
  EXPECT_EQ(CodeOf(TryOpen()), ErrorCode::kStorageError);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(Count(), 20);
}

TEST_F(RocksFaultsTest, AManifestThatIsDamagedOrCannotBeReadIsRefused) {
  IntoTables(20);
  disk_.FlipReads("MANIFEST");
  EXPECT_EQ(CodeOf(TryOpen()), ErrorCode::kStorageError);
  disk_.Mend();
  disk_.Fail(Operation::kRead, "MANIFEST", 1);
  EXPECT_EQ(CodeOf(TryOpen()), ErrorCode::kStorageError);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(Count(), 20);
}

// ST4: what a failed sync leaves is not known; the store writes no more.
TEST_F(RocksFaultsTest, AfterASyncThatFailsNothingIsWritten) {
  ASSERT_TRUE(Put(0, 20).ok());
  disk_.Fail(Operation::kSync, ".log", 1);
  EXPECT_EQ(CodeOf(Put(20, 21)), ErrorCode::kStorageError);
  EXPECT_EQ(CodeOf(Put(21, 22)), ErrorCode::kStorageError);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_GE(Count(), 20);  // what was acknowledged
}

TEST_F(RocksFaultsTest, AWriteThatFailsOrHasNoRoomIsNamed) {
  ASSERT_TRUE(Put(0, 20).ok());
  disk_.Fail(Operation::kWrite, ".log", 1, /*full=*/true);
  EXPECT_EQ(CodeOf(Put(20, 21)), ErrorCode::kStorageFull);
  EXPECT_EQ(CodeOf(Put(21, 22)), ErrorCode::kStorageFull)
      << "why, whoever writes next";
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_GE(Count(), 20);
  disk_.Fail(Operation::kWrite, ".log", 1);
  EXPECT_EQ(CodeOf(Put(30, 31)), ErrorCode::kStorageError);
  EXPECT_EQ(CodeOf(Put(31, 32)), ErrorCode::kStorageError);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_GE(Count(), 20);
}

TEST_F(RocksFaultsTest, ATableThatIsDamagedOrCannotBeReadFailsTheRead) {
  IntoTables(200);
  ASSERT_TRUE(TryOpen().ok());
  disk_.FlipReads(".sst");
  EXPECT_EQ(Count(), -1);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  disk_.Fail(Operation::kRead, ".sst");
  EXPECT_EQ(Count(), -1);
  EXPECT_EQ(CodeOf(store_->Get("key1007").status()),
            ErrorCode::kStorageError);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(Count(), 200);
}

TEST_F(RocksFaultsTest, ATableThatIsMissingIsRefused) {
  IntoTables(20);
  store_.reset();
  int removed = 0;
  for (const auto& entry : stdfs::directory_iterator(path_)) {
    if (entry.path().extension() == ".sst") {
      removed += stdfs::remove(entry.path());
    }
  }
  ASSERT_GT(removed, 0);
  EXPECT_EQ(CodeOf(TryOpen()), ErrorCode::kStorageError);
}

TEST_F(RocksFaultsTest, ACheckpointThatCannotBeWrittenIsAnErrorByName) {
  ASSERT_TRUE(Put(0, 200).ok());
  disk_.Fail(Operation::kWrite, ".sst", FaultyRocksDisk::kForEver,
             /*full=*/true);
  EXPECT_EQ(CodeOf(store_->Checkpoint(path_ + "-c1").status()),
            ErrorCode::kStorageFull);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(Count(), 200);
  ASSERT_TRUE(Put(200, 210).ok());
  disk_.Fail(Operation::kSync, ".sst");
  EXPECT_EQ(CodeOf(store_->Checkpoint(path_ + "-c2").status()),
            ErrorCode::kStorageError);
  disk_.Mend();
  ASSERT_TRUE(TryOpen().ok());
  EXPECT_EQ(Count(), 210);
}

}  // namespace
}  // namespace sluice
