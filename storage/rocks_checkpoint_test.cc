// Checkpoints of the real adapter: what is in their files, and what they leave
// alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

namespace stdfs = std::filesystem;
using Keys = std::map<std::string, std::string>;

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::map<std::string, std::string> FilesIn(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& entry : stdfs::directory_iterator(path)) {
    files[entry.path().filename()] = ReadAll(entry.path());
  }
  return files;
}

class RocksCheckpointTest : public testing::Test {
 protected:
  RocksCheckpointTest() : root_(testing::TempDir() + "/rocks_checkpoint") {
    stdfs::remove_all(root_);
    stdfs::create_directories(root_);
    // As the views of offsets are kept.
    options_.every_write_is_synced = false;
    options_.write_ahead_log = false;
    auto opened = RocksKvStore::Open(root_ + "/live", options_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }
  void Put(int from, int to) {
    KvBatch batch;
    for (int i = from; i < to; ++i) {
      batch.Put(StrCat("key", 10'000 + i), std::string(100, 'a' + i % 26));
    }
    ASSERT_TRUE(store_->Write(batch, KvStore::Sync::kNo).ok());
  }
  absl::StatusOr<Keys> KeysOf(const std::string& path) {
    auto opened = RocksKvStore::OpenCheckpoint(path, options_);
    if (!opened.ok()) return opened.status();
    Keys keys;
    const absl::Status read =
        (*opened)->Scan("", "", [&](auto key, auto value) {
          keys.emplace(key, value);
          return true;
        });
    if (!read.ok()) return read;
    return keys;
  }

  const std::string root_;
  RocksKvOptions options_;
  std::unique_ptr<RocksKvStore> store_;
};

TEST_F(RocksCheckpointTest, HasWhatWasWrittenBeforeItAndNothingOfLater) {
  Put(0, 500);
  ASSERT_TRUE(store_->Checkpoint(root_ + "/one").ok());
  Put(500, 900);
  ASSERT_TRUE(store_->Checkpoint(root_ + "/two").ok());
  KvBatch gone;
  gone.DeleteRange("", "l");
  ASSERT_TRUE(store_->Write(gone, KvStore::Sync::kNo).ok());
  EXPECT_EQ(KeysOf(root_ + "/one")->size(), 500u);
  EXPECT_EQ(KeysOf(root_ + "/two")->size(), 900u);
  EXPECT_EQ(KeysOf(root_ + "/two")->at("key10899"),
            std::string(100, 'a' + 899 % 26));
}

// The checksums that RocksDB took of its tables are those of their bytes.
TEST_F(RocksCheckpointTest, NamesEachFileWithItsSizeAndChecksum) {
  Put(0, 500);
  ASSERT_TRUE(store_->Checkpoint(root_ + "/one").ok());
  Put(500, 900);
  const auto told = store_->Checkpoint(root_ + "/two");
  ASSERT_TRUE(told.ok()) << told.status();
  const auto files = FilesIn(root_ + "/two");
  EXPECT_EQ(told->size(), files.size());
  int tables = 0;
  for (const KvFile& file : *told) {
    ASSERT_TRUE(files.contains(file.name)) << file.name;
    const std::string& content = files.at(file.name);
    EXPECT_EQ(file.bytes, static_cast<int64_t>(content.size())) << file.name;
    EXPECT_EQ(file.crc32c, Crc32c(content)) << file.name;
    if (!file.name.ends_with(".sst")) continue;
    ++tables;
    EXPECT_GE(stdfs::hard_link_count(root_ + "/two/" + file.name), 2u);
  }
  EXPECT_EQ(tables, 2);
}

// A bit that flips on the disk before the checkpoint is made is not taken for
// what was meant.
TEST_F(RocksCheckpointTest, ATableThatWasDamagedBeforeIsTold) {
  Put(0, 500);
  ASSERT_TRUE(store_->Checkpoint(root_ + "/one").ok());
  for (const auto& [name, content] : FilesIn(root_ + "/live")) {
    if (!name.ends_with(".sst")) continue;
    std::fstream out(root_ + "/live/" + name,
                     std::ios::in | std::ios::out | std::ios::binary);
    out.seekp(100);
    out.put(static_cast<char>(content[100] ^ 1));
  }
  const auto told = store_->Checkpoint(root_ + "/two");
  ASSERT_TRUE(told.ok()) << told.status();
  const auto files = FilesIn(root_ + "/two");
  EXPECT_TRUE(std::any_of(told->begin(), told->end(), [&](const auto& file) {
    return file.crc32c != Crc32c(files.at(file.name));
  }));
}

TEST_F(RocksCheckpointTest, ReadingLeavesNoFileBehind) {
  Put(0, 500);
  ASSERT_TRUE(store_->Checkpoint(root_ + "/one").ok());
  const auto before = FilesIn(root_ + "/one");
  for (int i = 0; i < 2; ++i) {
    auto opened = RocksKvStore::OpenCheckpoint(root_ + "/one", options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE((*opened)->Get("key10007")->has_value());
    KvBatch batch;
    batch.Put("key", "value");
    EXPECT_EQ(CodeOf((*opened)->Write(batch, KvStore::Sync::kNo)),
              ErrorCode::kStorageError);
  }
  EXPECT_EQ(FilesIn(root_ + "/one"), before);
}

// But for a MANIFEST of RocksDB's that is cut short: that opens as an older
// store. Only who has kept its size and checksum can tell.
TEST_F(RocksCheckpointTest, DamageIsAnErrorOfOpeningOrOfReading) {
  Put(0, 500);
  ASSERT_TRUE(store_->Checkpoint(root_ + "/one").ok());
  for (const auto& [name, content] : FilesIn(root_ + "/one")) {
    if (name.starts_with("OPTIONS")) continue;  // not read
    SCOPED_TRACE(name);
    stdfs::remove_all(root_ + "/copy");
    stdfs::copy(root_ + "/one", root_ + "/copy",
                stdfs::copy_options::recursive);
    stdfs::resize_file(root_ + "/copy/" + name, content.size() / 2);
    if (!name.starts_with("MANIFEST")) {
      EXPECT_EQ(CodeOf(KeysOf(root_ + "/copy").status()),
                ErrorCode::kStorageError);
    }
    stdfs::remove(root_ + "/copy/" + name);
    EXPECT_EQ(CodeOf(KeysOf(root_ + "/copy").status()),
              ErrorCode::kStorageError);
  }
}

TEST_F(RocksCheckpointTest, APlaceThatIsTakenOrMissingIsRefused) {
  Put(0, 10);
  stdfs::create_directories(root_ + "/taken");
  EXPECT_EQ(CodeOf(store_->Checkpoint(root_ + "/taken").status()),
            ErrorCode::kStorageError);
  EXPECT_EQ(CodeOf(store_->Checkpoint(root_ + "/no/where").status()),
            ErrorCode::kStorageError);
  // And the store goes on.
  Put(10, 20);
  EXPECT_TRUE(store_->Get("key10015")->has_value());
}

}  // namespace
}  // namespace sluice
