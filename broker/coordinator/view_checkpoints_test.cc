// A checkpoint is there whole or not at all, whatever happens on the way.
#include "broker/coordinator/view_checkpoints.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>

#include "broker/coordinator/view_prefix.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/base/str_cat.h"
#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"
#include "storage/mem_kv_store.h"

namespace sluice::coordinator {
namespace {

using Keys = std::map<std::string, std::string>;

class ViewCheckpointsTest : public testing::Test {
 protected:
  ViewCheckpointsTest() : io_(world_.NewExecutor()) {
    disk_.SetFiles(&fs_);
    Open();
  }

  void Open() {
    ViewCheckpoints::Deps deps;
    deps.fs = &fs_;
    deps.path = "/data/v.checkpoints";
    deps.io_executor = io_.get();
    deps.open = [this](const std::string& path)
        -> absl::StatusOr<std::unique_ptr<KvStore>> {
      return MemKvStore::OpenCheckpoint(fs_, path);
    };
    checkpoints_ = std::make_unique<ViewCheckpoints>(std::move(deps));
    checkpoints_->Load();
  }
  // Two views, each applied up to `next`.
  void Fill(int64_t next) {
    KvBatch batch;
    for (const int32_t partition : {0, 7}) {
      const std::string prefix = ViewPrefixOf(Tp(partition));
      for (int i = 0; i < 30; ++i) {
        batch.Put(StrCat(prefix, "okey", i), StrCat("at ", next));
      }
      batch.Put(prefix + offsets::AppliedKey(),
                offsets::EncodeApplied({Offset(next), LeaderEpoch(1)}));
    }
    ASSERT_TRUE(disk_.Write(batch, KvStore::Sync::kNo).ok());
  }
  static TopicPartition Tp(int32_t partition) {
    return {TopicId(Uuid(7, 8)), PartitionIndex(partition)};
  }
  // Everything of one, or an error.
  absl::StatusOr<Keys> ReadAll(uint64_t number) {
    std::optional<absl::StatusOr<ViewCheckpoints::Piece>> got;
    checkpoints_->Read(number, "", "", io_.get(),
                       [&](absl::StatusOr<ViewCheckpoints::Piece> piece) {
                         got = std::move(piece);
                       });
    world_.RunFor(1'000'000);
    if (!got.has_value()) {
      return MakeError(ErrorCode::kRequestTimedOut, "no answer");
    }
    if (!got->ok()) return got->status();
    EXPECT_TRUE((*got)->last);
    return Keys((*got)->keys.begin(), (*got)->keys.end());
  }
  // Each that is listed is whole, and of one moment.
  void ExpectWhole() {
    const auto list = checkpoints_->Now();
    for (const auto& one : *list) {
      ASSERT_EQ(one.manifest.views.size(), 2u);
      const auto mark = one.manifest.views[0].applied;
      const auto keys = ReadAll(one.number);
      ASSERT_TRUE(keys.ok()) << keys.status();
      EXPECT_EQ(keys->size(), 62u);
      EXPECT_EQ(keys->at(ViewPrefixOf(Tp(7)) + "okey9"),
                StrCat("at ", mark.next));
    }
  }

  SimWorld world_;
  MemFileSystem fs_;
  MemKvStore disk_;
  std::unique_ptr<Executor> io_;
  std::unique_ptr<ViewCheckpoints> checkpoints_;
};

TEST_F(ViewCheckpointsTest, IsWhatTheStoreHadAndTheNewestComeFirst) {
  for (int64_t next = 1; next <= 5; ++next) {
    Fill(next);
    ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  }
  Fill(99);
  const auto list = checkpoints_->Now();
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ((*list)[0].number, 5u);
  EXPECT_EQ((*list)[0].manifest.Find(Tp(7))->next, Offset(5));
  EXPECT_EQ((*list)[1].manifest.Find(Tp(0))->next, Offset(4));
  ExpectWhole();
  Open();
  EXPECT_EQ(checkpoints_->Now()->size(), 2u);
  ExpectWhole();
  // Those that went are gone from the disk.
  EXPECT_EQ(fs_.List("/data/v.checkpoints")->size(), 2u);
}

// A view that is being filled has no mark: no checkpoint has it.
TEST_F(ViewCheckpointsTest, AViewWithoutAMarkIsNotInIt) {
  Fill(1);
  KvBatch batch;
  batch.Delete(ViewPrefixOf(Tp(0)) + offsets::AppliedKey());
  ASSERT_TRUE(disk_.Write(batch, KvStore::Sync::kNo).ok());
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  const auto& manifest = checkpoints_->Now()->front().manifest;
  EXPECT_EQ(manifest.Find(Tp(0)), nullptr);
  EXPECT_NE(manifest.Find(Tp(7)), nullptr);
}

// The machine ends at every point of a checkpoint's making.
TEST_F(ViewCheckpointsTest, ACrashLeavesTheNewOneWholeOrNot) {
  Fill(1);
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  Fill(2);
  const int64_t before = fs_.change_count();
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  const int64_t changes = fs_.change_count() - before;
  ASSERT_GT(changes, 8);
  Random random(11);
  int made = 0;
  for (int64_t stop = 0; stop <= changes; ++stop) {
    for (int how = 0; how < 3; ++how) {
      SCOPED_TRACE(StrCat("after ", stop, " changes, ", how));
      Fill(100 + 10 * stop + how);
      fs_.StopAfter(stop);
      const bool told = checkpoints_->Make(disk_).ok();
      switch (how) {
        case 0: fs_.Kill(); break;
        case 1: fs_.CrashLosingAll(); break;
        case 2: fs_.CrashReordering(random); break;
      }
      Open();
      ASSERT_FALSE(checkpoints_->Now()->empty());
      const bool there = checkpoints_->Now()->front().manifest.Find(Tp(0))
                             ->next == Offset(100 + 10 * stop + how);
      EXPECT_TRUE(there || !told);
      made += there;
      ExpectWhole();
      world_.RunFor(3 * ViewCheckpoints::kReaderIdleUs);
      EXPECT_EQ(*fs_.Exists("/data/v.checkpoints/damaged"), false);
      // And the next is made over what was left.
      Fill(101 + 10 * stop + how);
      ASSERT_TRUE(checkpoints_->Make(disk_).ok());
      EXPECT_LE(checkpoints_->Now()->size(), ViewCheckpoints::kMost);
    }
  }
  EXPECT_GT(made, 0);
}

TEST_F(ViewCheckpointsTest, AFaultOfTheDiskCostsThisOneAlone) {
  Fill(1);
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  using Operation = MemFileSystem::Operation;
  for (const auto operation : {Operation::kWrite, Operation::kSyncData,
                               Operation::kSyncAny, Operation::kOpen}) {
    for (const bool full : {false, true}) {
      if (full && operation != Operation::kWrite) continue;
      Fill(2);
      fs_.FailNext(operation, 1, full);
      const auto made = checkpoints_->Make(disk_);
      EXPECT_EQ(CodeOf(made.status()), full ? ErrorCode::kStorageFull
                                            : ErrorCode::kStorageError);
      fs_.ClearFaults();
      EXPECT_EQ(checkpoints_->Now()->size(), 1u);
      EXPECT_FALSE(*fs_.Exists("/data/v.checkpoints/draft"));
      ExpectWhole();
    }
  }
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  EXPECT_EQ(checkpoints_->Now()->size(), 2u);
}

// It is read in pieces, and is not removed meanwhile.
TEST_F(ViewCheckpointsTest, OneThatIsReadStays) {
  Fill(1);
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  ASSERT_TRUE(ReadAll(1).ok());
  for (int64_t next = 2; next <= 4; ++next) {
    Fill(next);
    ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  }
  EXPECT_TRUE(ReadAll(1).ok());
  world_.RunFor(3 * ViewCheckpoints::kReaderIdleUs);
  Fill(5);
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  EXPECT_FALSE(ReadAll(1).ok());
}

TEST_F(ViewCheckpointsTest, TwoWhoAskAtOnceAreBothAnswered) {
  Fill(1);
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  int answers = 0;
  for (const int32_t partition : {0, 7}) {
    const std::string prefix = ViewPrefixOf(Tp(partition));
    checkpoints_->Read(1, prefix, EndOfPrefix(prefix), io_.get(),
                       [&](absl::StatusOr<ViewCheckpoints::Piece> piece) {
                         ASSERT_TRUE(piece.ok()) << piece.status();
                         EXPECT_EQ(piece->keys.size(), 31u);
                         ++answers;
                       });
  }
  world_.RunFor(1'000'000);
  EXPECT_EQ(answers, 2);
}

TEST_F(ViewCheckpointsTest, AManifestThatIsDamagedIsSetAsideAtTheStart) {
  Fill(1);
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  fs_.FlipBit("/data/v.checkpoints/checkpoint-1/manifest", 30);
  Open();
  EXPECT_TRUE(checkpoints_->Now()->empty());
  EXPECT_TRUE(*fs_.Exists("/data/v.checkpoints/damaged/manifest"));
  // Its number is not used again.
  ASSERT_TRUE(checkpoints_->Make(disk_).ok());
  EXPECT_EQ(checkpoints_->Now()->front().number, 2u);
}

}  // namespace
}  // namespace sluice::coordinator
