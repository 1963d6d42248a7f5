// A view on real RocksDB: what a death, a flipped bit or an `rm -r` leaves
// (F58).
#include "broker/process/view_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/coordinator/fake_replica_testing.h"
#include "broker/coordinator/offsets_view.h"
#include "common/env/posix_file_system.h"
#include "common/env/sim_world.h"
#include "storage/rocks_kv_store_faults_testing.h"

namespace sluice {
namespace {

namespace stdfs = std::filesystem;
using coordinator::Change;
using coordinator::FakeReplica;
using coordinator::OffsetsView;
using coordinator::ViewStore;

offsets::OffsetKey KeyOf(int i) {
  return {"group-" + std::to_string(i % 100),
          {TopicId(Uuid(1, 2)), PartitionIndex(i / 100)}};
}

class ViewFilesTest : public testing::Test {
 protected:
  ViewFilesTest()
      : root_(testing::TempDir() + "/view_files"),
        io_(world_.NewExecutor()),
        shard_(world_.NewExecutor()) {
    stdfs::remove_all(root_);
    stdfs::create_directories(root_);
    for (int batch = 0; batch < 50; ++batch) {
      std::vector<Change> changes;
      for (int i = 0; i < 40; ++i) {
        offsets::OffsetPut put{KeyOf(batch * 40 + i), {}};
        put.committed.offset = Offset(batch * 40 + i);
        changes.push_back(std::move(put));
      }
      replica_.Put(changes, 1);
    }
    replica_.hw = replica_.durable = replica_.leo();
  }

  void Open() {
    store_ = std::make_unique<ViewStore>(
        ViewStore::Deps{MakeViewFiles(disk_.env()), Path(), io_.get(),
                        &fs_, &world_, checkpoint_bytes_});
    store_->Open();
    OffsetsView::Deps deps;
    deps.executor = shard_.get();
    deps.clock = &world_;
    deps.store = store_.get();
    deps.tp = {TopicId(Uuid(9, 9)), PartitionIndex(0)};
    deps.name = "__consumer_offsets-0";
    deps.on_moved = [] {};
    view_ = std::make_unique<OffsetsView>(std::move(deps));
    view_->Bind(replica_.epochs(), replica_.leo());
  }
  void Close() {
    view_.reset();
    store_.reset();
  }
  void FollowToTheEnd() {
    for (int i = 0; i < 20; ++i) {
      view_->Follow(replica_);
      world_.RunFor(1'000'000);
    }
    EXPECT_EQ(view_->applied().next, replica_.leo());
  }
  int Found() {
    int found = 0;
    for (int i = 0; i < 2'000; ++i) {
      const auto committed = view_->FindOffset(KeyOf(i));
      if (!committed.ok()) return -1;
      if (committed->has_value() && (*committed)->offset == Offset(i)) ++found;
    }
    return found;
  }
  std::string Path() const { return root_ + "/offsets-view"; }

  // A commit of everything, once more; older ones are overwritten.
  void CommitAll(int64_t offset) {
    for (int batch = 0; batch < 50; ++batch) {
      std::vector<Change> changes;
      for (int i = 0; i < 40; ++i) {
        offsets::OffsetPut put{KeyOf(batch * 40 + i), {}};
        put.committed.offset = Offset(offset);
        changes.push_back(std::move(put));
      }
      replica_.Put(changes, 1);
    }
    replica_.hw = replica_.durable = replica_.leo();
  }
  // How many have `offset`; -1: the view answers nothing, now.
  int FoundAt(int64_t offset) {
    int found = 0;
    for (int i = 0; i < 2'000; ++i) {
      const auto committed = view_->FindOffset(KeyOf(i));
      if (!committed.ok()) return -1;
      found += committed->has_value() && (*committed)->offset == Offset(offset);
    }
    return found;
  }
  // It is told of what it does not know yet.
  void Recover() {
    for (int i = 0; i < 20; ++i) {
      view_->Follow(replica_);
      world_.RunFor(1'000'000);
    }
  }
  std::vector<uint64_t> Checkpoints() {
    std::vector<uint64_t> numbers;
    for (const auto& one : *store_->checkpoints().Now()) {
      numbers.push_back(one.number);
    }
    return numbers;
  }
  std::string CheckpointPath(uint64_t number) const {
    return Path() + ".checkpoints/checkpoint-" + std::to_string(number) +
           "/store";
  }

  const std::string root_;
  FaultyRocksDisk disk_;  // outlives the store
  int64_t checkpoint_bytes_ = 64 << 20;
  PosixFileSystem fs_;
  SimWorld world_;
  std::unique_ptr<Executor> io_;
  std::unique_ptr<Executor> shard_;
  FakeReplica replica_;
  std::unique_ptr<ViewStore> store_;
  std::unique_ptr<OffsetsView> view_;
};

TEST_F(ViewFilesTest, AClosedStoreHasEverything) {
  Open();
  FollowToTheEnd();
  Close();
  Open();
  EXPECT_EQ(view_->applied().next, replica_.leo());
  EXPECT_EQ(Found(), 2'000);
}

// A copy of the files of a store that is open is what a killed process leaves.
TEST_F(ViewFilesTest, AKilledProcessLeavesAnEarlierWholeView) {
  Open();
  FollowToTheEnd();
  stdfs::copy(Path(), root_ + "/copy", stdfs::copy_options::recursive);
  Close();
  stdfs::remove_all(Path());
  stdfs::rename(root_ + "/copy", Path());
  Open();
  EXPECT_LT(view_->applied().next, replica_.leo());
  FollowToTheEnd();
  EXPECT_EQ(Found(), 2'000);
}

TEST_F(ViewFilesTest, ADeletedDirectoryIsReplayed) {
  Open();
  FollowToTheEnd();
  Close();
  stdfs::remove_all(Path());
  Open();
  EXPECT_EQ(view_->applied().next, Offset(0));
  FollowToTheEnd();
  EXPECT_EQ(Found(), 2'000);
}

// Every file in turn, in its middle: found when it is opened, or when it is
// read; never a wrong offset.
TEST_F(ViewFilesTest, AFlippedBitCostsAReplayAndNothingElse) {
  Open();
  FollowToTheEnd();
  Close();
  std::vector<std::string> names;
  for (const auto& entry : stdfs::directory_iterator(Path())) {
    if (entry.is_regular_file() && entry.file_size() > 0) {
      names.push_back(entry.path().filename());
    }
  }
  ASSERT_GT(names.size(), 2u);
  stdfs::copy(Path(), root_ + "/good", stdfs::copy_options::recursive);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    stdfs::remove_all(Path());
    stdfs::copy(root_ + "/good", Path(), stdfs::copy_options::recursive);
    const std::string file = Path() + "/" + name;
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(stdfs::file_size(file) / 2);
    bytes.seekg(middle);
    const char was = static_cast<char>(bytes.get());
    bytes.seekp(middle);
    bytes.put(static_cast<char>(was ^ 0x10));
    bytes.close();
    Open();
    FollowToTheEnd();
    int found = Found();
    if (found < 0) {  // found by this read: the store is replaced
      world_.RunFor(1'000'000);
      FollowToTheEnd();
      found = Found();
    }
    EXPECT_EQ(found, 2'000);
    Close();
  }
}

// ---- What is no directory of ours ----

class NoDirectoryTest : public ViewFilesTest {
 protected:
  // All is there again, `harm` was done to the path, and it was set aside.
  void ExpectRebuilt(const std::function<void()>& harm) {
    Open();
    FollowToTheEnd();
    Close();
    stdfs::remove_all(Path());
    harm();
    Open();
    EXPECT_TRUE(store_->trouble().ok()) << store_->trouble();
    FollowToTheEnd();
    EXPECT_EQ(Found(), 2'000);
    EXPECT_TRUE(stdfs::is_directory(stdfs::symlink_status(Path())));
    EXPECT_TRUE(stdfs::exists(stdfs::symlink_status(Path() + ".damaged")));
    Close();
  }
};

TEST_F(NoDirectoryTest, ALinkThatLeadsNowhereIsSetAside) {
  // Twice: the second finds the first one's link set aside.
  for (int i = 0; i < 2; ++i) {
    ExpectRebuilt([&] { stdfs::create_symlink(root_ + "/gone", Path()); });
  }
}

TEST_F(NoDirectoryTest, AFileIsSetAside) {
  for (int i = 0; i < 2; ++i) {
    ExpectRebuilt([&] { std::ofstream(Path()) << "no directory"; });
  }
}

TEST_F(NoDirectoryTest, WhatALinkLeadsToIsNotTouched) {
  stdfs::create_directories(root_ + "/elsewhere");
  std::ofstream(root_ + "/elsewhere/CURRENT") << "no manifest";
  for (int i = 0; i < 2; ++i) {
    ExpectRebuilt([&] {
      stdfs::create_directory_symlink(root_ + "/elsewhere", Path());
    });
  }
  EXPECT_TRUE(stdfs::exists(root_ + "/elsewhere/CURRENT"));
}

TEST_F(NoDirectoryTest, WhereNoneCanBeMadeItSaysWhyAndGoesOnOnceItCan) {
  const std::string parent = stdfs::path(Path()).parent_path();
  stdfs::rename(parent, parent + ".away");
  std::ofstream(parent) << "in its way";
  Open();
  EXPECT_EQ(CodeOf(store_->trouble()), ErrorCode::kStorageError);
  EXPECT_NE(store_->trouble().message().find(Path()), absl::string_view::npos);
  EXPECT_NE(store_->trouble().message().find("Not a directory"),
            absl::string_view::npos)
      << store_->trouble();
  stdfs::remove(parent);
  stdfs::rename(parent + ".away", parent);
  world_.RunFor(2 * ViewStore::kOpenAgainUs);
  EXPECT_TRUE(store_->trouble().ok()) << store_->trouble();
  FollowToTheEnd();
  EXPECT_EQ(Found(), 2'000);
}

// ---- Checkpoints ----

TEST_F(ViewFilesTest, ADeletedDirectoryTakesACheckpointAndTheLogBehindIt) {
  checkpoint_bytes_ = 64 << 10;
  Open();
  FollowToTheEnd();
  CommitAll(7);
  FollowToTheEnd();
  ASSERT_GE(Checkpoints().size(), 1u);
  Close();
  stdfs::remove_all(Path());
  replica_.lowest_read = Offset(INT64_MAX);
  Open();
  EXPECT_EQ(view_->applied().next, Offset(0));
  FollowToTheEnd();
  EXPECT_EQ(FoundAt(7), 2'000);
  EXPECT_GT(replica_.lowest_read, Offset(1'000));
}

// Every file of the newest checkpoint in turn: a bit, half of it, all of it.
// The manifest finds each; an older one is taken, or the log.
TEST_F(ViewFilesTest, ADamagedCheckpointIsNeverUsed) {
  checkpoint_bytes_ = 64 << 10;
  Open();
  FollowToTheEnd();
  CommitAll(7);
  FollowToTheEnd();
  const auto numbers = Checkpoints();
  ASSERT_GE(numbers.size(), 2u);
  Close();
  stdfs::remove_all(Path());
  const std::string all = Path() + ".checkpoints";
  stdfs::copy(all, root_ + "/good", stdfs::copy_options::recursive);
  std::vector<std::string> names;
  for (const auto& entry :
       stdfs::directory_iterator(CheckpointPath(numbers[0]))) {
    names.push_back(entry.path().filename());
  }
  ASSERT_GT(names.size(), 2u);
  for (const std::string& name : names) {
    for (const int harm : {0, 1, 2}) {
      SCOPED_TRACE(name + " " + std::to_string(harm));
      stdfs::remove_all(Path());
      stdfs::remove_all(all);
      stdfs::copy(root_ + "/good", all, stdfs::copy_options::recursive);
      const std::string file = CheckpointPath(numbers[0]) + "/" + name;
      const auto bytes = static_cast<std::streamoff>(stdfs::file_size(file));
      if (harm == 0) {
        if (bytes == 0) continue;
        std::fstream io(file, std::ios::in | std::ios::out | std::ios::binary);
        io.seekg(bytes / 2);
        const char was = static_cast<char>(io.get());
        io.seekp(bytes / 2);
        io.put(static_cast<char>(was ^ 0x10));
      } else if (harm == 1) {
        if (bytes == 0) continue;
        stdfs::resize_file(file, static_cast<uintmax_t>(bytes / 2));
      } else {
        stdfs::remove(file);
      }
      Open();
      FollowToTheEnd();
      EXPECT_EQ(FoundAt(7), 2'000);
      const auto left = Checkpoints();
      EXPECT_EQ(std::count(left.begin(), left.end(), numbers[0]), 0);
      EXPECT_TRUE(stdfs::exists(all + "/damaged"));
      Close();
    }
  }
}

// ---- F58: a disk that fails under it, operation by operation ----

struct DiskFault {
  const char* name;
  FaultyRocksDisk::Operation operation;
  const char* part;
  bool full = false;
  bool flips = false;  // instead: reads come back wrong
};

void PrintTo(const DiskFault& fault, std::ostream* out) { *out << fault.name; }

class ViewFaultsTest : public ViewFilesTest,
                       public testing::WithParamInterface<DiskFault> {};

// While the fault lasts the view answers what is right, or nothing; once the
// disk is well it is whole again. The replica's log is on another disk.
TEST_P(ViewFaultsTest, CostsARebuildAndNoOffset) {
  checkpoint_bytes_ = 64 << 10;
  Open();
  FollowToTheEnd();
  Close();
  Open();  // what it reads from here on comes from tables
  FollowToTheEnd();
  const DiskFault& fault = GetParam();
  if (fault.flips) {
    disk_.FlipReads(fault.part);
  } else {
    disk_.Fail(fault.operation, fault.part, FaultyRocksDisk::kForEver,
               fault.full);
  }
  for (int64_t offset = 100; offset < 104; ++offset) {
    const Offset before = replica_.leo();
    CommitAll(offset);
    Recover();
    if (view_->usable() && view_->applied().next > before) {
      const int found = FoundAt(offset);
      EXPECT_TRUE(found == 2'000 || found == -1) << found;
    }
  }
  EXPECT_GT(disk_.faults(), 0) << "it was not met";
  disk_.Mend();
  CommitAll(200);
  Recover();
  int found = FoundAt(200);
  if (found < 0) {  // found by this read
    Recover();
    found = FoundAt(200);
  }
  EXPECT_EQ(found, 2'000);
  EXPECT_EQ(view_->applied().next, replica_.leo());
  // And what is on the disk is good for the next process.
  Close();
  Open();
  FollowToTheEnd();
  EXPECT_EQ(FoundAt(200), 2'000);
}

using Operation = FaultyRocksDisk::Operation;
INSTANTIATE_TEST_SUITE_P(
    F58, ViewFaultsTest,
    testing::Values(
        DiskFault{"FlippedTable", Operation::kRead, ".sst", false, true},
        DiskFault{"FlippedManifest", Operation::kRead, "MANIFEST", false, true},
        DiskFault{"UnreadableTable", Operation::kRead, ".sst"},
        DiskFault{"UnwritableTable", Operation::kWrite, ".sst"},
        DiskFault{"FullTable", Operation::kWrite, ".sst", true},
        DiskFault{"UnsyncedTable", Operation::kSync, ".sst"},
        DiskFault{"UnopenedTable", Operation::kOpen, ".sst"},
        DiskFault{"UnwritableManifest", Operation::kWrite, "MANIFEST"},
        DiskFault{"FullManifest", Operation::kWrite, "MANIFEST", true},
        DiskFault{"UnsyncedManifest", Operation::kSync, "MANIFEST"}),
    [](const auto& info) { return std::string(info.param.name); });

// A table is missing, or the file that says which there are.
TEST_F(ViewFilesTest, AMissingFileCostsAReplayAndNothingElse) {
  Open();
  FollowToTheEnd();
  Close();
  stdfs::copy(Path(), root_ + "/good", stdfs::copy_options::recursive);
  for (const auto& entry : stdfs::directory_iterator(root_ + "/good")) {
    SCOPED_TRACE(entry.path());
    stdfs::remove_all(Path());
    stdfs::copy(root_ + "/good", Path(), stdfs::copy_options::recursive);
    stdfs::remove(Path() + "/" + entry.path().filename().string());
    Open();
    FollowToTheEnd();
    EXPECT_EQ(Found(), 2'000);
    Close();
  }
}

}  // namespace
}  // namespace sluice
