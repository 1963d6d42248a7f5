#include "storage/sync_watch.h"

#include <gtest/gtest.h>

#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"
#include "storage/group_commit.h"

namespace sluice {
namespace {

class SyncWatchTest : public testing::Test {
 protected:
  void Run(int64_t us) { world_.RunFor(us); }

  SimWorld world_;
  SyncWatch watch_{&world_};
};

TEST_F(SyncWatchTest, NothingAskedIsNothing) {
  EXPECT_EQ(watch_.oldest_us(), 0);
  watch_.Begin();
  Run(1'000);
  EXPECT_EQ(watch_.oldest_us(), 0);
  watch_.EndSync();
  EXPECT_EQ(watch_.Take().samples, 0);
}

TEST_F(SyncWatchTest, ASyncCountsFromWhenItWasAskedFor) {
  watch_.Asked();
  Run(200);
  watch_.Asked();  // shares it
  Run(300);
  EXPECT_EQ(watch_.oldest_us(), 500);
  watch_.Begin();
  Run(1'000);
  EXPECT_EQ(watch_.oldest_us(), 1'500);
  watch_.EndSync();
  EXPECT_EQ(watch_.oldest_us(), 0);
  const SyncWatch::Latency ended = watch_.Take();
  EXPECT_EQ(ended.samples, 1);
  EXPECT_EQ(ended.mean_us(), 1'500);
  EXPECT_EQ(watch_.Take().samples, 0);
}

TEST_F(SyncWatchTest, AHangAgesWhatWaitsBehindItToo) {
  watch_.Asked();
  watch_.Begin();
  Run(1'000'000);
  watch_.Asked();
  Run(9'000'000);
  EXPECT_EQ(watch_.oldest_us(), 10'000'000);
  watch_.EndSync();
  EXPECT_EQ(watch_.oldest_us(), 9'000'000);
}

// Other work of the sync thread takes over the time of who asked behind it and
// gives it back with that one's own task.
TEST_F(SyncWatchTest, WorkBetweenDoesNotMakeAQuestionYounger) {
  watch_.Asked();
  const int64_t asked_us = watch_.Asked();
  Run(500);
  watch_.Begin();
  watch_.EndOther();
  EXPECT_EQ(watch_.oldest_us(), 0);
  watch_.AskedAt(asked_us);
  EXPECT_EQ(watch_.oldest_us(), 500);
  EXPECT_EQ(watch_.Take().samples, 0);  // nothing was synced
}

TEST_F(SyncWatchTest, AGroupCommitIsWatched) {
  MemFileSystem fs;
  ASSERT_TRUE(fs.CreateDirectory("/d").ok());
  auto file = fs.Open("/d/f", OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  auto sync = world_.NewExecutor();
  GroupCommit commit({&fs, sync.get(), "/d", [](absl::Status) { FAIL(); },
                      &watch_});
  int done = 0;
  // The thread does something else for a while.
  sync->Post([&] { EXPECT_GT(watch_.oldest_us(), 0); });
  SyncSet targets;
  targets.files.push_back(*file);
  commit.Request(targets, sync.get(), [&] { ++done; });
  Run(10);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(watch_.oldest_us(), 0);
  EXPECT_EQ(watch_.samples(), 1);
}

}  // namespace
}  // namespace sluice
