// One contract, two stores.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

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

TEST(MemKvStoreTest, AFaultOfTheDiskOutlivesTheProcessAndNotItsMending) {
  MemKvStore store;
  KvBatch batch;
  batch.Put("key", "one");
  ASSERT_TRUE(store.Write(batch, KvStore::Sync::kYes).ok());
  const uint64_t writes = store.BreakDisk(MemKvStore::Operation::kWrite);
  const uint64_t reads = store.BreakDisk(MemKvStore::Operation::kRead, 1);
  EXPECT_FALSE(store.Get("key").ok());
  EXPECT_TRUE(store.Get("key").ok()) << "one read was to fail";
  store.MendDisk(reads);
  batch.Put("key", "two");
  EXPECT_EQ(CodeOf(store.Write(batch, KvStore::Sync::kYes)),
            ErrorCode::kStorageError);
  store.Reopen();
  EXPECT_FALSE(store.Write(batch, KvStore::Sync::kYes).ok());
  store.MendDisk(writes);
  EXPECT_FALSE(store.Write(batch, KvStore::Sync::kYes).ok())
      << "it has to be opened again";
  store.Reopen();
  EXPECT_EQ(*store.Get("key"), "one");
  EXPECT_TRUE(store.Write(batch, KvStore::Sync::kYes).ok());
  EXPECT_EQ(*store.Get("key"), "two");
}

TEST(MemKvStoreTest, AFullDiskRefusesByName) {
  MemKvStore store;
  KvBatch batch;
  batch.Put("key", "one");
  store.SetFull(true);
  EXPECT_EQ(CodeOf(store.Write(batch, KvStore::Sync::kYes)),
            ErrorCode::kStorageFull);
  store.SetFull(false);
  store.Reopen();
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

}  // namespace
}  // namespace sluice
