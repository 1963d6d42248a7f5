// A view on real RocksDB: what a death, a flipped bit or an `rm -r` leaves
// (F58).
#include "broker/process/view_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "broker/coordinator/fake_replica_testing.h"
#include "broker/coordinator/offsets_view.h"
#include "common/env/posix_file_system.h"
#include "common/env/sim_world.h"

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
        ViewStore::Deps{MakeViewFiles(&fs_), Path(), io_.get()});
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

  const std::string root_;
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

}  // namespace
}  // namespace sluice
