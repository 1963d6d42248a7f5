// One contract, two stores; and what each does with damage.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "storage/mem_kv_store.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

using testing::ElementsAre;
namespace stdfs = std::filesystem;

std::string TestPath(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  stdfs::remove_all(path);
  return path;
}

std::vector<std::string> Keys(const KvStore& store, std::string_view from,
                              std::string_view end) {
  std::vector<std::string> keys;
  EXPECT_TRUE(store.Scan(from, end, [&](auto key, auto) {
                     keys.emplace_back(key);
                     return true;
                   }).ok());
  return keys;
}

void Put(KvStore& store, std::string_view key, std::string_view value,
         KvStore::Sync sync = KvStore::Sync::kYes) {
  KvBatch batch;
  batch.Put(key, value);
  ASSERT_TRUE(store.Write(batch, sync).ok());
}

std::string GetOr(const KvStore& store, std::string_view key) {
  auto value = store.Get(key);
  return value.ok() ? value->value_or("(none)") : "(error)";
}

class KvStoreTest : public testing::TestWithParam<bool> {
 protected:
  KvStoreTest() {
    if (GetParam()) {
      auto opened = RocksKvStore::Open(TestPath("kv_contract"));
      EXPECT_TRUE(opened.ok()) << opened.status();
      store_ = *std::move(opened);
    } else {
      store_ = std::make_unique<MemKvStore>();
    }
  }
  std::unique_ptr<KvStore> store_;
};

TEST_P(KvStoreTest, ScansHalfOpenRangesInByteOrderAndStopsWhenTold) {
  const std::string high("e\xff", 2);
  for (std::string_view key : {"b", "a", "e", "d"}) Put(*store_, key, "v");
  Put(*store_, high, "v");

  EXPECT_THAT(Keys(*store_, "a", "d"), ElementsAre("a", "b"));
  EXPECT_THAT(Keys(*store_, "d", ""), ElementsAre("d", "e", high));
  int seen = 0;
  EXPECT_TRUE(store_->Scan("", "", [&](auto, auto) {
                      return ++seen < 2;
                    }).ok());
  EXPECT_EQ(seen, 2);
}

TEST_P(KvStoreTest, LastIsTheGreatestKeyInsideTheRange) {
  for (std::string_view key : {"a1", "a2", "b1"}) Put(*store_, key, key);

  EXPECT_EQ((*store_->Last("a", "b"))->first, "a2");
  EXPECT_EQ((*store_->Last("a", "b1"))->first, "a2");
  EXPECT_EQ((*store_->Last("a", ""))->second, "b1");
  EXPECT_FALSE(store_->Last("c", "")->has_value());
  EXPECT_FALSE(store_->Last("a3", "b")->has_value());
}

TEST_P(KvStoreTest, OpsOfABatchApplyInOrder) {
  for (std::string_view key : {"a", "b", "c", "d"}) Put(*store_, key, "old");

  KvBatch batch;
  batch.DeleteRange("b", "d");
  batch.Put("c", "new");
  batch.Delete("d");
  ASSERT_TRUE(store_->Write(batch, KvStore::Sync::kYes).ok());

  EXPECT_THAT(Keys(*store_, "", ""), ElementsAre("a", "c"));
  EXPECT_EQ(GetOr(*store_, "c"), "new");
  EXPECT_EQ(GetOr(*store_, "b"), "(none)");
}

INSTANTIATE_TEST_SUITE_P(Stores, KvStoreTest, testing::Bool(),
                         [](const auto& info) {
                           return std::string(info.param ? "Rocks" : "Mem");
                         });

TEST(MemKvStoreTest, ACrashForgetsWhatWasNotSyncedAndASyncCoversWhatWasBefore) {
  MemKvStore store;
  Put(store, "a", "1", KvStore::Sync::kNo);
  Put(store, "b", "2", KvStore::Sync::kYes);
  Put(store, "c", "3", KvStore::Sync::kNo);
  EXPECT_EQ(GetOr(store, "c"), "3");

  store.Crash();

  EXPECT_THAT(Keys(store, "", ""), ElementsAre("a", "b"));
}

TEST(MemKvStoreTest, AfterAFailedWriteNothingIsWrittenUntilItIsOpenedAgain) {
  MemKvStore store;
  store.FailWriteAfter(1);
  Put(store, "a", "1");
  KvBatch batch;
  batch.Put("b", "2");
  const absl::Status failed = store.Write(batch, KvStore::Sync::kYes);
  EXPECT_EQ(CodeOf(failed), ErrorCode::kStorageError);
  EXPECT_FALSE(store.Write(batch, KvStore::Sync::kYes).ok());

  store.Crash();

  EXPECT_THAT(Keys(store, "", ""), ElementsAre("a"));
  EXPECT_TRUE(store.Write(batch, KvStore::Sync::kYes).ok());
}

TEST(MemKvStoreTest, ReadFaultsAndFlippedBytesAreSeenByReaders) {
  MemKvStore store;
  Put(store, "a", "1");
  EXPECT_TRUE(store.FlipByte("a", 0));
  EXPECT_NE(GetOr(store, "a"), "1");
  store.SetReadsFail(true);
  EXPECT_EQ(GetOr(store, "a"), "(error)");
}

// --- the real adapter and damage on disk -----------------------------------

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
    return static_cast<int>(Keys(**store, "", "").size());
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
  EXPECT_EQ(Keys(**again, "", "").size(), 200u);
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

}  // namespace
}  // namespace sluice
