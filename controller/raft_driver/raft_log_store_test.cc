#include "controller/raft_driver/raft_log_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "controller/raft_driver/bootstrap_codec.h"
#include "storage/mem_kv_store.h"

namespace sluice {
namespace {

using raft::Entry;
using raft::HardState;
using raft::TermStart;
using testing::ElementsAre;

const DirectoryId kDirectory(Uuid(1, 1));

raft::BootstrapRecord Record() {
  return {ClusterId(Uuid(5, 5)), Uuid(6, 6),
          {{NodeId(1), kDirectory, "a:1"},
           {NodeId(2), DirectoryId(Uuid(2, 2)), "b:2"}}};
}

Entry MakeEntry(int64_t term, int64_t index, size_t bytes = 3) {
  return {Term(term), LogIndex(index), raft::EntryType::kRecords,
          Buffer::Take(std::string(bytes, 'x'))};
}

class RaftLogStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    Reopen();
    ASSERT_TRUE(store_->WriteBootstrap(Record()).ok());
    ASSERT_TRUE(store_->Reload().ok());
  }
  void Reopen() {
    kv_.Crash();
    auto store = RaftLogStore::Open(&kv_, kDirectory);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Write(RaftWrite write) {
    store_->Cache(write);
    ASSERT_TRUE(store_->Write(write).ok());
  }
  std::vector<int64_t> Terms(int64_t from, int64_t end,
                             size_t bytes = 1 << 20) {
    auto read = store_->Read(LogIndex(from), LogIndex(end), 100, bytes);
    EXPECT_TRUE(read.ok()) << read.status();
    std::vector<int64_t> terms;
    for (const Entry& entry : *read) terms.push_back(entry.term.value());
    return terms;
  }

  MemKvStore kv_;
  std::unique_ptr<RaftLogStore> store_;
};

TEST_F(RaftLogStoreTest, TheBootstrapRecordIsTheFirstEntryAndSurvives) {
  Reopen();
  EXPECT_EQ(store_->bootstrap(), Record());
  EXPECT_EQ(store_->stable_state().last_index, raft::kBootstrapIndex);
  auto entry = store_->Read(LogIndex(1), LogIndex(2), 1, 1);
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ((*entry)[0].type, raft::EntryType::kBootstrap);
  EXPECT_EQ(*DecodeBootstrapRecord((*entry)[0].payload.view()), Record());
}

TEST_F(RaftLogStoreTest, VoteTermAndEntriesAreOneSyncedBatch) {
  const HardState state{Term(2), {NodeId(1), kDirectory}};
  const int before = kv_.synced_writes();
  Write({state, std::nullopt, {MakeEntry(1, 2), MakeEntry(2, 3)}});
  EXPECT_EQ(kv_.synced_writes(), before + 1);
  EXPECT_EQ(kv_.unsynced_batches(), 0u);

  Reopen();
  EXPECT_EQ(store_->stable_state().hard_state, state);
  EXPECT_EQ(store_->stable_state().last_index, LogIndex(3));
  EXPECT_THAT(store_->stable_state().term_starts,
              ElementsAre(TermStart{Term(0), LogIndex(1)},
                          TermStart{Term(1), LogIndex(2)},
                          TermStart{Term(2), LogIndex(3)}));
}

TEST_F(RaftLogStoreTest, ATruncationForgetsEntriesAndTheirTermsOnDisk) {
  Write({HardState{Term(1), {}}, std::nullopt,
         {MakeEntry(1, 2), MakeEntry(1, 3), MakeEntry(1, 4)}});
  Write({HardState{Term(3), {}}, LogIndex(2), {MakeEntry(3, 2)}});
  EXPECT_THAT(Terms(2, 3), ElementsAre(3));

  Reopen();
  EXPECT_EQ(store_->stable_state().last_index, LogIndex(2));
  EXPECT_EQ(store_->stable_state().term_starts.back(),
            (TermStart{Term(3), LogIndex(2)}));
  EXPECT_THAT(Terms(1, 3), ElementsAre(0, 3));
}

TEST_F(RaftLogStoreTest, TheCacheIsBoundedAndOlderEntriesComeFromDisk) {
  const size_t big = 4 << 20;
  for (int64_t i = 2; i <= 9; ++i) {
    Write({i == 2 ? std::optional(HardState{Term(1), {}}) : std::nullopt,
           std::nullopt,
           {MakeEntry(1, i, big)}});
  }
  EXPECT_LE(store_->cached_bytes(), RaftLogStore::kCacheBytesMax);
  EXPECT_EQ(Terms(2, 10, 2 * big + 100).size(), 2u);
  EXPECT_EQ(Terms(9, 10).size(), 1u);
}

TEST_F(RaftLogStoreTest, AFlippedByteOfAnEntryIsAnErrorNeverAnEntry) {
  Write({HardState{Term(1), {}}, std::nullopt,
         {MakeEntry(1, 2), MakeEntry(1, 3), MakeEntry(1, 4)}});
  const std::string key("e\0\0\0\0\0\0\0\3", 9);
  ASSERT_TRUE(kv_.FlipByte(key, 16));
  Reopen();
  EXPECT_EQ(
      CodeOf(store_->Read(LogIndex(2), LogIndex(5), 100, 1 << 20).status()),
      ErrorCode::kStorageError);
}

TEST_F(RaftLogStoreTest, AReadErrorIsReportedNotTakenForAnEmptyStore) {
  kv_.SetReadsFail(true);
  EXPECT_EQ(CodeOf(RaftLogStore::Open(&kv_, kDirectory).status()),
            ErrorCode::kStorageError);
}

// What no version wrote, its checksum right: an error, not a core that cannot
// start.
TEST_F(RaftLogStoreTest, TermsThatDoNotRiseAreDamage) {
  Write({HardState{Term(2), {}}, std::nullopt,
         {MakeEntry(1, 2), MakeEntry(2, 3)}});
  const std::string key("t\0\0\0\0\0\0\0\1", 9);
  const std::string body("\0\0\0\0\0\0\0\1", 8);  // where term 0 begins
  std::string value;
  PutBig32(value, ExtendCrc32c(Crc32c(key), body));
  KvBatch batch;
  batch.Put(key, value + body);
  ASSERT_TRUE(kv_.Write(batch, KvStore::Sync::kYes).ok());
  EXPECT_EQ(CodeOf(RaftLogStore::Open(&kv_, kDirectory).status()),
            ErrorCode::kStorageError);
}

TEST_F(RaftLogStoreTest, ANewerFormatIsRefused) {
  MemKvStore newer;
  auto store = RaftLogStore::Open(&newer, kDirectory);
  ASSERT_TRUE((*store)->WriteBootstrap(Record()).ok());
  // Version 2 with its checksum: crc32c("v" 00000002).
  std::string body("\0\0\0\2", 4);
  KvBatch batch;
  std::string value;
  PutBig32(value, ExtendCrc32c(Crc32c("v"), body));
  batch.Put("v", value + body);
  ASSERT_TRUE(newer.Write(batch, KvStore::Sync::kYes).ok());
  EXPECT_EQ(CodeOf(RaftLogStore::Open(&newer, kDirectory).status()),
            ErrorCode::kUnsupportedFormat);
}

TEST(BootstrapCodecTest, BytesThatAreNoRecordAreRefused) {
  EXPECT_EQ(*DecodeBootstrapRecord(EncodeBootstrapRecord(Record())), Record());
  EXPECT_FALSE(DecodeBootstrapRecord("\xff\xff").ok());
  raft::BootstrapRecord bad = Record();
  bad.voters[0].id = NodeId(0);
  EXPECT_FALSE(DecodeBootstrapRecord(EncodeBootstrapRecord(bad)).ok());
  bad = Record();
  bad.voters.resize(65, bad.voters[0]);
  EXPECT_FALSE(DecodeBootstrapRecord(EncodeBootstrapRecord(bad)).ok());
}

}  // namespace
}  // namespace sluice
