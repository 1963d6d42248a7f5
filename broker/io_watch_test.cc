#include "broker/io_watch.h"

#include <gtest/gtest.h>

#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"

namespace sluice {
namespace {

const TopicPartition kA{TopicId(Uuid(1, 1)), PartitionIndex(0)};

// A thread that does nothing while it is held.
class HeldExecutor final : public Executor {
 public:
  explicit HeldExecutor(SimWorld* world) : thread_(world->NewExecutor()) {}
  void Post(Task task) override {
    if (held) {
      line_.push_back(std::move(task));
    } else {
      thread_->Post(std::move(task));
    }
  }
  TimerId PostAfter(int64_t delay_us, Task task) override {
    return thread_->PostAfter(delay_us,
                              [this, task = std::move(task)]() mutable {
                                Post(std::move(task));
                              });
  }
  bool Cancel(TimerId timer) override { return thread_->Cancel(timer); }
  bool IsCurrent() const override { return thread_->IsCurrent(); }
  void Release() {
    held = false;
    for (Task& task : std::exchange(line_, {})) thread_->Post(std::move(task));
  }

  bool held = false;

 private:
  std::unique_ptr<Executor> thread_;
  std::vector<Task> line_;
};

class IoWatchTest : public testing::Test {
 protected:
  IoWatchTest() {
    auto opened = LogDirectory::Open(
        {.fs = &fs_,
         .sync_executor = &sync_,
         .io_executor = control_.get(),
         .on_fatal = [](absl::Status why) { FAIL() << why; },
         .random_seed = 1,
         .clock = &world_},
        "/data", {}, "boot");
    EXPECT_TRUE(opened.ok()) << opened.status();
    directory_ = *std::move(opened);
    watch_ = std::make_unique<IoWatch>(
        IoWatch::Deps{control_.get(), &world_, {directory_.get()},
                      {&shard_, other_shard_.get()}});
  }
  void Run(int64_t us) { world_.RunFor(us); }
  internal::v1::LivenessRequest Beat() {
    internal::v1::LivenessRequest beat;
    watch_->Fill(beat);
    return beat;
  }
  void PutMarks() {
    PartitionMarks marks;
    marks.high_watermark = Offset(++marks_);
    directory_->PutMarks({{kA, marks}});
  }

  SimWorld world_;
  MemFileSystem fs_;
  HeldExecutor sync_{&world_};
  HeldExecutor shard_{&world_};
  std::unique_ptr<Executor> other_shard_ = world_.NewExecutor();
  std::unique_ptr<Executor> control_ = world_.NewExecutor();
  std::unique_ptr<LogDirectory> directory_;
  std::unique_ptr<IoWatch> watch_;
  int64_t marks_ = 0;
};

TEST_F(IoWatchTest, AnIdleDiskTellsNothingOfItsSyncs) {
  Beat();
  Run(300'000);
  const auto beat = Beat();
  EXPECT_TRUE(beat.has_syncs());
  EXPECT_EQ(beat.syncs().samples(), 0);
  EXPECT_EQ(beat.syncs().oldest_us(), 0);
  EXPECT_EQ(beat.appends().samples(), 2);  // one a shard
}

TEST_F(IoWatchTest, MarksThatWaitForADiskShowItsHang) {
  PutMarks();
  Run(1'000'000);
  EXPECT_EQ(Beat().syncs().samples(), 1);
  sync_.held = true;
  PutMarks();  // as a leader in memory mode does, and nothing else
  Run(4'000'000);
  EXPECT_EQ(Beat().syncs().oldest_us(), 4'000'000);
  sync_.Release();
  Run(1'000'000);
  const auto beat = Beat();
  EXPECT_EQ(beat.syncs().oldest_us(), 0);
  EXPECT_EQ(beat.syncs().samples(), 1);
}

TEST_F(IoWatchTest, AShardThatDoesNotGetOnShows) {
  shard_.held = true;
  Beat();
  Run(2'000'000);
  auto beat = Beat();
  EXPECT_EQ(beat.appends().oldest_us(), 2'000'000);
  EXPECT_EQ(beat.appends().samples(), 1);  // of the other shard
  Run(1'000'000);
  shard_.Release();
  Run(1);
  beat = Beat();
  EXPECT_EQ(beat.appends().oldest_us(), 0);
  EXPECT_EQ(beat.appends().samples(), 2);
  EXPECT_GE(beat.appends().mean_us(), 3'000'000);
}

TEST_F(IoWatchTest, ADirectoryWithoutRoomIsTold) {
  EXPECT_EQ(Beat().full_log_dirs_size(), 0);
  fs_.SetCapacity(fs_.bytes());
  directory_->NoteNoRoom();
  Run(3'000'000);
  const auto beat = Beat();
  ASSERT_EQ(beat.full_log_dirs_size(), 1);
  EXPECT_EQ(beat.full_log_dirs(0), "/data");
  fs_.SetCapacity(INT64_MAX);
  Run(1'000'000);
  EXPECT_EQ(Beat().full_log_dirs_size(), 0);
}

TEST_F(IoWatchTest, AProbeShowsADiskThatNobodyUses) {
  watch_->ProbeDisks();
  watch_->ProbeDisks();  // is under way
  Run(1'000);
  EXPECT_EQ(Beat().syncs().samples(), 1);
  sync_.held = true;
  watch_->ProbeDisks();
  Run(5'000'000);
  EXPECT_EQ(Beat().syncs().oldest_us(), 5'000'000);
  sync_.Release();
  Run(1'000);
  EXPECT_GE(Beat().syncs().samples(), 1);
  // What it leaves is no partition.
  sync_.Release();
  directory_.reset();
  auto again = LogDirectory::Open(
      {.fs = &fs_,
       .sync_executor = &sync_,
       .io_executor = control_.get(),
       .on_fatal = [](absl::Status why) { FAIL() << why; },
       .random_seed = 1,
       .clock = &world_},
      "/data", {}, "boot");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE((*again)->partitions_at_start().empty());
  directory_ = *std::move(again);
}

}  // namespace
}  // namespace sluice
