// The real adapter and damage on its disk.
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

namespace stdfs = std::filesystem;

std::string TestPath(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  stdfs::remove_all(path);
  return path;
}

size_t CountKeys(const KvStore& store) {
  size_t keys = 0;
  EXPECT_TRUE(store.Scan("", "", [&](auto, auto) {
                     ++keys;
                     return true;
                   }).ok());
  return keys;
}

void Put(KvStore& store, std::string_view key, std::string_view value) {
  KvBatch batch;
  batch.Put(key, value);
  ASSERT_TRUE(store.Write(batch, KvStore::Sync::kYes).ok());
}

std::string OnlyWal(const std::string& path) {
  std::string wal;
  for (const auto& entry : stdfs::directory_iterator(path)) {
    if (entry.path().extension() == ".log") wal = entry.path().string();
  }
  return wal;
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteAll(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// A copy of a live directory is what a power cut leaves when everything that
// was written had reached the disk.
class RocksDamageTest : public testing::Test {
 protected:
  static constexpr int kKeys = 20;

  void SetUp() override {
    live_ = TestPath("rocks_live");
    copy_ = TestPath("rocks_copy");
    auto store = RocksKvStore::Open(live_);
    ASSERT_TRUE(store.ok()) << store.status();
    for (int i = 0; i < kKeys; ++i) {
      Put(**store, StrCat("key", 100 + i), std::string(50, 'a' + i));
    }
    stdfs::copy(live_, copy_, stdfs::copy_options::recursive);
    stdfs::remove(copy_ + "/LOCK");
    store->reset();
    wal_path_ = OnlyWal(copy_);
    wal_ = ReadAll(wal_path_);
    ASSERT_GT(wal_.size(), size_t{kKeys} * 50);
  }

  // Opens the copy with this WAL; the number of keys, or -1: refused.
  int KeysWith(std::string_view wal) {
    const std::string path = TestPath("rocks_trial");
    stdfs::copy(copy_, path, stdfs::copy_options::recursive);
    WriteAll(path + "/" + stdfs::path(wal_path_).filename().string(), wal);
    auto store = RocksKvStore::Open(path);
    if (!store.ok()) {
      EXPECT_EQ(CodeOf(store.status()), ErrorCode::kStorageError);
      return -1;
    }
    return static_cast<int>(CountKeys(**store));
  }

  // The same by RocksDB's own defaults, as the adapter would be without its
  // mode and its check.
  int KeysByDefaultWith(std::string_view wal) {
    const std::string path = TestPath("rocks_default");
    stdfs::copy(copy_, path, stdfs::copy_options::recursive);
    WriteAll(path + "/" + stdfs::path(wal_path_).filename().string(), wal);
    rocksdb::DB* opened = nullptr;
    if (!rocksdb::DB::Open(rocksdb::Options(), path, &opened).ok()) return -1;
    const std::unique_ptr<rocksdb::DB> db(opened);
    const std::unique_ptr<rocksdb::Iterator> it(
        db->NewIterator(rocksdb::ReadOptions()));
    int keys = 0;
    for (it->SeekToFirst(); it->Valid(); it->Next()) ++keys;
    EXPECT_TRUE(it->status().ok());
    return keys;
  }

  std::string live_, copy_, wal_path_, wal_;
};

TEST_F(RocksDamageTest, SyncedKeysSurviveAPowerCut) {
  EXPECT_EQ(KeysWith(wal_), kKeys);
}

TEST_F(RocksDamageTest, RecordsOverSeveralBlocksOfTheWalAreNoDamage) {
  const std::string path = TestPath("rocks_blocks");
  auto store = RocksKvStore::Open(path);
  ASSERT_TRUE(store.ok());
  for (int i = 0; i < 200; ++i) {
    Put(**store, StrCat("key", 1000 + i), std::string(i * 613, 'x'));
  }
  stdfs::copy(path, path + "_copy", stdfs::copy_options::recursive);
  store->reset();

  auto again = RocksKvStore::Open(path + "_copy");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(CountKeys(**again), 200u);
  stdfs::remove_all(path + "_copy");
}

// F44, F50: a voter must not go on with an emptier log.
TEST_F(RocksDamageTest, AFlippedByteInTheMiddleOfTheWalIsRefused) {
  const size_t record = wal_.size() / kKeys;
  const size_t from = record * 9;
  for (size_t at = from; at < from + record; ++at) {
    std::string damaged = wal_;
    damaged[at] ^= 0x40;
    EXPECT_EQ(KeysWith(damaged), -1) << "byte " << at << " of record";
  }
}

// The mutant of correctness.md 4.6: the default WAL mode opens the same damage
// without an error and has forgotten every synced key from the bad one on.
TEST_F(RocksDamageTest, TheDefaultWalModeForgetsWhatWasSyncedAndSaysNothing) {
  const size_t record = wal_.size() / kKeys;
  std::string damaged = wal_;
  damaged[record * 9 + record / 2] ^= 0x40;
  EXPECT_EQ(KeysByDefaultWith(wal_), kKeys);
  EXPECT_EQ(KeysByDefaultWith(damaged), 9);
  EXPECT_EQ(KeysWith(damaged), -1);
}

// RocksDB alone forgets ten synced keys here and says nothing.
TEST_F(RocksDamageTest, ALengthThatPointsPastTheEndIsNoTornTail) {
  const size_t record = wal_.size() / kKeys;
  std::string damaged = wal_;
  damaged[record * 9 + 5] = '\x7f';
  EXPECT_EQ(KeysWith(damaged), -1);
}

TEST_F(RocksDamageTest, ATornLastRecordIsForgivenAndOnlyThat) {
  for (size_t cut = 1; cut < 40; cut += 6) {
    EXPECT_EQ(KeysWith(std::string_view(wal_).substr(0, wal_.size() - cut)),
              kKeys - 1)
        << cut;
  }
}

// /dev/full stands for a full disk. RocksDB itself would abort there.
TEST(RocksKvStoreTest, AStartOnAFullDiskIsRefusedByName) {
  const std::string path = TestPath("full");
  stdfs::create_directories(path);
  stdfs::create_symlink("/dev/full", path + "/room-probe");
  const auto refused = RocksKvStore::Open(path);
  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kStorageFull)
      << refused.status();
  EXPECT_NE(std::string(refused.status().message())
                .find(path + " has no room for the 1048576 bytes"),
            std::string::npos)
      << refused.status();
  // What looked for room is gone, and with room it starts.
  EXPECT_TRUE(RocksKvStore::Open(path).ok());
  EXPECT_FALSE(stdfs::exists(path + "/room-probe"));
}

}  // namespace
}  // namespace sluice
