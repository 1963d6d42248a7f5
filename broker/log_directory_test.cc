#include "broker/log_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const TopicPartition kA{TopicId(Uuid(1, 1)), PartitionIndex(0)};
const TopicPartition kB{TopicId(Uuid(1, 1)), PartitionIndex(1)};
constexpr int64_t kSecondUs = 1'000'000;

PartitionMarks Marks(int64_t high_watermark) {
  PartitionMarks marks;
  marks.high_watermark = Offset(high_watermark);
  return marks;
}

class LogDirectoryTest : public testing::Test {
 protected:
  // A new process over the same disk.
  void Open() {
    directory.reset();
    sync = world.NewExecutor();
    io = world.NewExecutor();
    auto opened = LogDirectory::Open(
        {.fs = &fs,
         .sync_executor = sync.get(),
         .io_executor = io.get(),
         .on_fatal = [this](absl::Status why) { fatal.push_back(why); },
         .random_seed = 1,
         .clock = &world},
        "/data", {}, "boot");
    ASSERT_TRUE(opened.ok()) << opened.status();
    directory = *std::move(opened);
  }
  void SetUp() override { Open(); }

  void Persist(const TopicPartition& tp, int64_t high_watermark) {
    directory->PersistMarks(tp, Marks(high_watermark), owner.get(),
                            [this, high_watermark] {
                              persisted.push_back(high_watermark);
                            });
  }
  Offset HighWatermarkAtStart(const TopicPartition& tp) {
    const auto& marks = directory->partitions_at_start();
    const auto found = marks.find(tp);
    return found == marks.end() ? kNoOffset : found->second.high_watermark;
  }
  void MakeFiles(const TopicPartition& tp) {
    ASSERT_TRUE(fs.CreateDirectory(directory->PartitionPath(tp)).ok());
    auto file = fs.Open(directory->PartitionPath(tp) + "/0.log",
                        OpenMode::kCreate);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Write(0, "bytes").ok());
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    const auto entries = fs.List("/data");
    for (const DirectoryEntry& entry : *entries) {
      if (entry.is_directory) names.push_back(entry.name);
    }
    return names;
  }

  SimWorld world;
  MemFileSystem fs;
  std::unique_ptr<Executor> owner = world.NewExecutor();
  std::unique_ptr<Executor> sync, io;
  std::vector<absl::Status> fatal;
  std::vector<int64_t> persisted;
  std::unique_ptr<LogDirectory> directory;
};

TEST_F(LogDirectoryTest, PersistedMarksSurviveAPowerLossRightAfterTheAnswer) {
  Persist(kA, 7);
  ASSERT_TRUE(world.RunUntil([&] { return !persisted.empty(); }, kSecondUs));
  fs.CrashLosingAll();
  Open();
  EXPECT_EQ(HighWatermarkAtStart(kA), Offset(7));
}

TEST_F(LogDirectoryTest, AThousandMarksOfOneMomentShareOneSync) {
  const int64_t before = fs.sync_count();
  for (int i = 0; i < 1000; ++i) {
    Persist({kA.topic_id, PartitionIndex(i)}, i);
  }
  world.RunFor(kSecondUs);
  EXPECT_THAT(persisted, SizeIs(1000));
  EXPECT_EQ(fs.sync_count() - before, 1);
}

TEST_F(LogDirectoryTest, LazyMarksAreDurableWithinASecond) {
  directory->PutMarks({{kA, Marks(1)}, {kB, Marks(2)}});
  world.RunFor(kSecondUs);
  fs.CrashLosingAll();
  Open();
  EXPECT_EQ(HighWatermarkAtStart(kA), Offset(1));
  EXPECT_EQ(HighWatermarkAtStart(kB), Offset(2));
}

TEST_F(LogDirectoryTest, AFailedSyncIsFatalAndAcknowledgesNothing) {  // ST4
  fs.FailNext(MemFileSystem::Operation::kSyncAny);
  Persist(kA, 7);
  world.RunFor(kSecondUs);
  EXPECT_THAT(fatal, SizeIs(1));
  EXPECT_EQ(CodeOf(fatal[0]), ErrorCode::kStorageError);
  EXPECT_THAT(std::string(fatal[0].message()), HasSubstr("/data"));
  Persist(kA, 8);  // the disk works again: that proves nothing
  std::optional<absl::Status> stopped;
  directory->StopClean(BrokerEpoch(1), owner.get(),
                       [&](absl::Status s) { stopped = s; });
  world.RunFor(kSecondUs);
  EXPECT_THAT(persisted, IsEmpty());
  ASSERT_TRUE(stopped.has_value());
  EXPECT_FALSE(stopped->ok());
  Open();
  EXPECT_FALSE(directory->previous_run().clean());
}

TEST_F(LogDirectoryTest, MarksWaitForRoomOnAFullDisk) {  // ST9
  fs.SetCapacity(fs.bytes());
  Persist(kA, 7);
  world.RunFor(20 * LogDirectory::kFullRetryUs);
  EXPECT_THAT(persisted, IsEmpty());
  EXPECT_FALSE(directory->has_room());
  fs.SetCapacity(INT64_MAX);
  world.RunFor(4 * LogDirectory::kFullRetryUs);
  EXPECT_THAT(persisted, ElementsAre(7));
  EXPECT_TRUE(directory->has_room());
  EXPECT_THAT(fatal, IsEmpty());
}

// Nobody writes to it any more: it finds out by itself, and takes no room.
TEST_F(LogDirectoryTest, ADirectoryThatHadNoRoomLooksForSome) {
  EXPECT_TRUE(directory->has_room());
  const int64_t bytes = fs.bytes();
  fs.SetCapacity(bytes + LogDirectory::kRoomBytes - 1);
  directory->NoteNoRoom();
  directory->NoteNoRoom();
  world.RunFor(20 * LogDirectory::kFullRetryUs);
  EXPECT_FALSE(directory->has_room());
  EXPECT_EQ(fs.bytes(), bytes);
  fs.SetCapacity(bytes + LogDirectory::kRoomBytes);
  world.RunFor(2 * LogDirectory::kFullRetryUs);
  EXPECT_TRUE(directory->has_room());
  EXPECT_EQ(fs.bytes(), bytes);
  EXPECT_THAT(fatal, IsEmpty());
  directory->NoteNoRoom();  // again
  EXPECT_FALSE(directory->has_room());
  fs.FailNextOn("room-probe", MemFileSystem::Operation::kOpen, 1, true);
  world.RunFor(LogDirectory::kFullRetryUs + 1);
  EXPECT_FALSE(directory->has_room()) << "no descriptor is no room either";
  world.RunFor(2 * LogDirectory::kFullRetryUs);
  EXPECT_TRUE(directory->has_room());
}

TEST_F(LogDirectoryTest, DeletedFilesAreFreedAndTheirMarksForgotten) {
  MakeFiles(kA);
  Persist(kA, 7);
  world.RunFor(kSecondUs);
  directory->Delete(kA);
  world.RunFor(kSecondUs);
  EXPECT_THAT(Names(), IsEmpty());
  fs.CrashLosingAll();
  Open();
  EXPECT_THAT(directory->partitions_at_start(), IsEmpty());
}

TEST_F(LogDirectoryTest, ARemovalThatACrashInterruptsIsFinishedAtTheNextStart) {
  MakeFiles(kA);
  Persist(kA, 7);
  world.RunFor(kSecondUs);
  directory->Delete(kA);
  // The rename is done, the removal is not.
  ASSERT_TRUE(world.RunUntil(
      [&] { return Names() != std::vector{PartitionDirectoryName(kA)}; },
      kSecondUs));
  ASSERT_THAT(Names(), SizeIs(1));
  fs.Kill();
  Open();
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(LogDirectoryTest, StraysAreKeptUnderAnotherName) {  // ST11
  std::vector<bool> moved;
  for (int round = 0; round < 2; ++round) {
    MakeFiles(kA);
    directory->SetAside(kA, "test", owner.get(),
                        [&](bool gone) { moved.push_back(gone); });
    world.RunFor(kSecondUs);
  }
  EXPECT_THAT(moved, ElementsAre(true, true));
  const std::string name = PartitionDirectoryName(kA);
  EXPECT_THAT(Names(), ElementsAre(name + ".stray-0", name + ".stray-1"));
  Open();  // and stay there
  EXPECT_THAT(Names(), SizeIs(2));
  EXPECT_THAT(directory->partitions_at_start(), IsEmpty());
}

TEST_F(LogDirectoryTest, AStopLeavesTheCleanMarkerOfItsEpoch) {
  std::optional<absl::Status> stopped;
  directory->PutMarks({{kA, Marks(3)}});
  directory->StopClean(BrokerEpoch(42), owner.get(),
                       [&](absl::Status s) { stopped = s; });
  ASSERT_TRUE(world.RunUntil([&] { return stopped.has_value(); }, kSecondUs));
  EXPECT_TRUE(stopped->ok()) << *stopped;
  fs.CrashLosingAll();
  Open();
  EXPECT_EQ(directory->previous_run().clean_broker_epoch, BrokerEpoch(42));
  EXPECT_EQ(HighWatermarkAtStart(kA), Offset(3));
  // Used up by this start.
  fs.Kill();
  Open();
  EXPECT_FALSE(directory->previous_run().clean());
}

TEST_F(LogDirectoryTest, AnOwnerOnceSetRefusesAnother) {
  std::vector<ErrorCode> answers;
  const auto set = [&](uint64_t cluster, int node) {
    directory->SetIdentity(
        ClusterId(Uuid(9, cluster)), NodeId(node), owner.get(),
        [&](absl::Status s) { answers.push_back(CodeOf(s)); });
    world.RunFor(kSecondUs);
  };
  set(1, 1);
  set(1, 1);
  set(2, 1);
  set(1, 2);
  EXPECT_THAT(answers,
              ElementsAre(ErrorCode::kNone, ErrorCode::kNone,
                          ErrorCode::kDataDirMismatch,
                          ErrorCode::kDataDirMismatch));
}

}  // namespace
}  // namespace sluice
