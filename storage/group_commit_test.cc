#include "storage/group_commit.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/env/mem_file_system.h"
#include "common/env/posix_file_system.h"
#include "common/env/sim_world.h"
#include "common/env/thread_executor.h"

namespace sluice {
namespace {

using Operation = MemFileSystem::Operation;

class GroupCommitTest : public ::testing::Test {
 protected:
  GroupCommitTest() {
    EXPECT_TRUE(fs_.CreateDirectory("/d").ok());
    EXPECT_TRUE(fs_.SyncDirectory("/").ok());
    GroupCommit::Deps deps;
    deps.fs = &fs_;
    deps.sync_executor = sync_.get();
    deps.directory = "/d";
    deps.on_fatal = [this](absl::Status why) { fatal_.push_back(why); };
    group_ = std::make_unique<GroupCommit>(std::move(deps));
  }

  // A file with `text` that nobody has synced.
  std::shared_ptr<File> Dirty(const std::string& name,
                              const std::string& text = "text") {
    auto file = fs_.Open("/d/" + name, OpenMode::kCreate);
    EXPECT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->Write(0, text).ok());
    return *file;
  }
  void Request(SyncSet targets, const std::string& name) {
    group_->Request(std::move(targets), owner_.get(),
                    [this, name] { done_.push_back(name); });
  }
  void Run() {
    while (world_.Step()) {
    }
  }
  std::string AfterPowerLoss(const std::string& path) {
    fs_.CrashLosingAll();
    return ReadFile(fs_, path, 1 << 20).value_or("(gone)");
  }

  SimWorld world_;
  MemFileSystem fs_;
  std::unique_ptr<Executor> sync_ = world_.NewExecutor();
  std::unique_ptr<Executor> owner_ = world_.NewExecutor();
  std::vector<absl::Status> fatal_;
  std::vector<std::string> done_;
  std::unique_ptr<GroupCommit> group_;
};

TEST_F(GroupCommitTest, WhatIsAcknowledgedSurvivesAPowerCut) {
  Request({{Dirty("f")}, {"/d"}}, "f");
  EXPECT_TRUE(done_.empty());
  Run();
  EXPECT_EQ(done_, std::vector<std::string>{"f"});
  EXPECT_EQ(AfterPowerLoss("/d/f"), "text");
}

TEST_F(GroupCommitTest, WaitersOfOneFileShareOneSync) {
  const auto file = Dirty("f");
  for (int i = 0; i < 10; ++i) Request({{file}, {"/d"}}, std::to_string(i));
  Run();
  EXPECT_EQ(done_.size(), 10u);
  EXPECT_EQ(group_->requests(), 10);
  EXPECT_EQ(group_->rounds(), 1);
  EXPECT_EQ(group_->file_syncs(), 2);
  EXPECT_EQ(fs_.sync_count(), 1 + 2);  // and "/" in the set-up
}

TEST_F(GroupCommitTest, ARequestDuringARoundWaitsForTheNext) {
  const auto file = Dirty("f");
  Request({{file}, {"/d"}}, "first");
  world_.Step();  // queued
  world_.Step();  // its round
  EXPECT_EQ(group_->rounds(), 1);
  EXPECT_TRUE(file->Write(4, " more").ok());
  Request({{file}, {}}, "second");
  Run();
  EXPECT_EQ(group_->rounds(), 2);
  EXPECT_EQ(done_, (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(AfterPowerLoss("/d/f"), "text more");
}

TEST_F(GroupCommitTest, FourFilesAreSyncedOneByOne) {
  for (size_t i = 0; i < kFilesSyncedOneByOneMax; ++i) {
    Request({{Dirty(std::to_string(i))}, {}}, std::to_string(i));
  }
  Run();
  EXPECT_EQ(group_->file_syncs(), 4);
  EXPECT_EQ(group_->full_syncs(), 0);
}

TEST_F(GroupCommitTest, FiveAreSyncedAtOnce) {
  for (size_t i = 0; i <= kFilesSyncedOneByOneMax; ++i) {
    Request({{Dirty(std::to_string(i))}, {}}, std::to_string(i));
  }
  Run();
  EXPECT_EQ(done_.size(), 5u);
  EXPECT_EQ(group_->file_syncs(), 0);
  EXPECT_EQ(group_->full_syncs(), 1);
}

TEST_F(GroupCommitTest, MoreFilesAreSyncedByOneSyncOfTheFileSystem) {
  for (int i = 0; i < 100; ++i) {
    const std::string name = std::to_string(i);
    Request({{Dirty(name)}, {"/d"}}, name);
  }
  Run();
  EXPECT_EQ(done_.size(), 100u);
  EXPECT_EQ(group_->rounds(), 1);
  EXPECT_EQ(group_->full_syncs(), 1);
  EXPECT_EQ(group_->file_syncs(), 0);
  EXPECT_EQ(fs_.sync_count(), 1 + 1);
  EXPECT_EQ(AfterPowerLoss("/d/99"), "text");
  EXPECT_EQ(AfterPowerLoss("/d/0"), "text");
}

TEST_F(GroupCommitTest, DirectoriesOfARequestAreSynced) {
  EXPECT_TRUE(fs_.CreateDirectory("/d/p").ok());
  auto file = fs_.Open("/d/p/f", OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  Request({{*file}, {"/d/p", "/d"}}, "p");
  Run();
  EXPECT_EQ(group_->file_syncs(), 3);
  EXPECT_EQ(AfterPowerLoss("/d/p/f"), "");
}

TEST_F(GroupCommitTest, NothingToSyncIsAcknowledgedWithoutASync) {
  Request({}, "empty");
  Run();
  EXPECT_EQ(done_.size(), 1u);
  EXPECT_EQ(group_->file_syncs(), 0);
}

// ST4: the first failure is the last word.
TEST_F(GroupCommitTest, AfterAFailedSyncNothingIsSyncedOrAcknowledged) {
  Request({{Dirty("a")}, {}}, "a");
  Request({{Dirty("b")}, {}}, "b");
  Request({{Dirty("c")}, {}}, "c");
  fs_.FailNextOn("/d/b", Operation::kSyncData);
  Run();
  // What was synced before the failure is durable.
  EXPECT_EQ(done_, std::vector<std::string>{"a"});
  ASSERT_EQ(fatal_.size(), 1u);
  EXPECT_EQ(CodeOf(fatal_[0]), ErrorCode::kStorageError);
  EXPECT_TRUE(group_->failed());
  const int64_t syncs = fs_.sync_count();
  Request({{Dirty("b")}, {}}, "b again");
  Request({{Dirty("d")}, {}}, "d");
  Run();
  EXPECT_EQ(done_.size(), 1u);
  EXPECT_EQ(fatal_.size(), 1u);
  EXPECT_EQ(fs_.sync_count(), syncs);
}

TEST_F(GroupCommitTest, AFailedSyncOfTheFileSystemAcknowledgesNobody) {
  for (int i = 0; i < 17; ++i) {
    const std::string name = std::to_string(i);
    Request({{Dirty(name)}, {}}, name);
  }
  fs_.FailNext(Operation::kSyncAny);
  Run();
  EXPECT_TRUE(done_.empty());
  EXPECT_EQ(fatal_.size(), 1u);
}

TEST_F(GroupCommitTest, AFailedSyncOfADirectoryAcknowledgesNobody) {
  Request({{}, {"/d"}}, "entries");
  fs_.FailNextOn("/d", Operation::kSyncAny);
  Run();
  EXPECT_TRUE(done_.empty());
  EXPECT_EQ(fatal_.size(), 1u);
}

// ST14: a flush that races a deletion is no I/O failure.
TEST_F(GroupCommitTest, APartitionThatWasDeletedMeanwhileIsNoFailure) {
  EXPECT_TRUE(fs_.CreateDirectory("/d/p").ok());
  auto file = fs_.Open("/d/p/f", OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  Request({{*file}, {"/d/p"}}, "p");
  ASSERT_TRUE(RemoveTree(fs_, "/d/p").ok());
  Run();
  EXPECT_EQ(done_.size(), 1u);
  EXPECT_TRUE(fatal_.empty());
}

TEST_F(GroupCommitTest, TheLogDirectoryItselfMustBeThere) {
  Request({{}, {"/d"}}, "d");
  ASSERT_TRUE(fs_.RemoveDirectory("/d").ok());
  Run();
  EXPECT_TRUE(done_.empty());
  EXPECT_EQ(fatal_.size(), 1u);
}

TEST_F(GroupCommitTest, RequestsNotBegunAreDroppedWithIt) {
  Request({{Dirty("a")}, {}}, "done");
  Run();
  Request({{Dirty("b")}, {}}, "dropped");
  group_.reset();
  Run();
  EXPECT_EQ(done_, std::vector<std::string>{"done"});
  EXPECT_TRUE(fatal_.empty());
}

// ---- Real threads, a real disk ----

TEST(GroupCommitOnPosixTest, AcknowledgesWhatItSyncedOneByOneAndAtOnce) {
  PosixFileSystem fs;
  const std::string directory =
      StrCat(std::getenv("TEST_TMPDIR"), "/group_commit_on_posix");
  ASSERT_TRUE(CreateDirectories(fs, directory).ok());
  ThreadExecutor owner("owner");
  ThreadExecutor sync("sync");
  GroupCommit::Deps deps;
  deps.fs = &fs;
  deps.sync_executor = &sync;
  deps.directory = directory;
  deps.on_fatal = [](absl::Status why) { ADD_FAILURE() << why; };
  GroupCommit group(std::move(deps));
  for (const int files : {1, 4, 100}) {
    std::promise<void> all_done;
    int left = files;  // on the owner
    // From one task, as a shard would: one round takes them all, or two.
    owner.Post([&] {
      for (int i = 0; i < files; ++i) {
        auto file = fs.Open(StrCat(directory, "/", i), OpenMode::kCreate);
        ASSERT_TRUE(file.ok()) << file.status();
        ASSERT_TRUE((*file)->Write(0, "bytes").ok());
        group.Request({{*file}, {}}, &owner, [&] {
          EXPECT_TRUE(owner.IsCurrent());
          if (--left == 0) all_done.set_value();
        });
      }
    });
    all_done.get_future().wait();
    EXPECT_EQ(group.requests(), files == 1 ? 1 : files == 4 ? 5 : 105);
  }
  EXPECT_GT(group.file_syncs(), 0);
  EXPECT_FALSE(group.failed());
  sync.Stop();
  EXPECT_TRUE(RemoveTree(fs, directory).ok());
}

}  // namespace
}  // namespace sluice
