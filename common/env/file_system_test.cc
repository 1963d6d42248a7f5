// The contract of FileSystem, run against the operating system's files and
// against memory: what tests rest on must behave as production does.
#include "common/env/file_system.h"

#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/env/mem_file_system.h"
#include "common/env/posix_file_system.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct PosixWorld {
  PosixFileSystem fs;
  std::string root = testing::TempDir() + "/posix_fs_test";
};

struct MemWorld {
  MemFileSystem fs;
  std::string root = "/data";
};

template <class World>
class FileSystemTest : public testing::Test {
 protected:
  FileSystemTest() {
    if (*fs().Exists(root())) {
      EXPECT_TRUE(RemoveTree(fs(), root()).ok());
    }
    EXPECT_TRUE(CreateDirectories(fs(), root()).ok());
  }

  FileSystem& fs() { return world_.fs; }
  const std::string& root() { return world_.root; }
  std::string At(const std::string& name) { return root() + "/" + name; }
  std::shared_ptr<File> Create(const std::string& name) {
    auto file = fs().Open(At(name), OpenMode::kCreate);
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return *file;
  }
  std::string Content(const std::string& name) {
    return ReadFile(fs(), At(name), 1 << 20).value_or("(unreadable)");
  }

  World world_;
};

using Worlds = testing::Types<PosixWorld, MemWorld>;
TYPED_TEST_SUITE(FileSystemTest, Worlds);

TYPED_TEST(FileSystemTest, PiecesAreWrittenOneBehindTheOtherAtTheOffset) {
  auto file = this->Create("a");
  const std::string_view pieces[] = {"one", "", "two", "three"};
  ASSERT_TRUE(file->Write(0, "##").ok());
  ASSERT_TRUE(file->WriteAt(2, pieces).ok());
  EXPECT_EQ(this->Content("a"), "##onetwothree");
  EXPECT_EQ(*file->Size(), 13);
}

TYPED_TEST(FileSystemTest, MorePiecesThanOneSystemCallTakesAreAllWritten) {
  auto file = this->Create("a");
  std::vector<std::string> owned;
  std::string expected;
  for (int i = 0; i < 300; ++i) owned.push_back(std::to_string(i));
  std::vector<std::string_view> pieces(owned.begin(), owned.end());
  for (const auto& piece : owned) expected += piece;
  ASSERT_TRUE(file->WriteAt(0, pieces).ok());
  EXPECT_EQ(this->Content("a"), expected);
}

TYPED_TEST(FileSystemTest, ReadGivesFewerBytesOnlyAtTheEnd) {
  auto file = this->Create("a");
  ASSERT_TRUE(file->Write(0, "0123456789").ok());
  std::string out(4, ' ');
  EXPECT_EQ(*file->ReadAt(3, out), 4u);
  EXPECT_EQ(out, "3456");
  EXPECT_EQ(*file->ReadAt(8, out), 2u);
  EXPECT_EQ(*file->ReadAt(10, out), 0u);
  EXPECT_EQ(*file->ReadAt(100, out), 0u);
}

TYPED_TEST(FileSystemTest, ReadWithoutWaitingAgreesWhenItAnswers) {
  auto file = this->Create("a");
  ASSERT_TRUE(file->Write(0, "0123456789").ok());
  std::string out(4, ' ');
  const auto got = file->ReadAtNoWait(3, out);
  ASSERT_TRUE(got.ok());
  if (!got->has_value()) return;  // tmpfs and overlayfs cannot tell
  EXPECT_EQ(**got, 4u);
  EXPECT_EQ(out, "3456");
  EXPECT_EQ(**file->ReadAtNoWait(8, out), 2u);
}

TYPED_TEST(FileSystemTest, TruncateShortensAndGrowsWithZeros) {
  auto file = this->Create("a");
  ASSERT_TRUE(file->Write(0, "0123456789").ok());
  ASSERT_TRUE(file->Truncate(3).ok());
  EXPECT_EQ(this->Content("a"), "012");
  ASSERT_TRUE(file->Truncate(5).ok());
  EXPECT_EQ(this->Content("a"), std::string("012\0\0", 5));
}

TYPED_TEST(FileSystemTest, OpenModesSayWhatMustExist) {
  auto& fs = this->fs();
  const std::string path = this->At("a");
  EXPECT_TRUE(absl::IsNotFound(fs.Open(path, OpenMode::kRead).status()));
  EXPECT_TRUE(absl::IsNotFound(fs.Open(path, OpenMode::kReadWrite).status()));
  EXPECT_TRUE(fs.Open(path, OpenMode::kCreateExclusive).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(
      fs.Open(path, OpenMode::kCreateExclusive).status()));
  EXPECT_TRUE(fs.Open(path, OpenMode::kCreate).ok());
  auto read_only = fs.Open(path, OpenMode::kRead);
  ASSERT_TRUE(read_only.ok());
  EXPECT_FALSE((*read_only)->Write(0, "x").ok());
  EXPECT_TRUE(absl::IsNotFound(
      fs.Open(this->At("none/a"), OpenMode::kCreate).status()));
}

TYPED_TEST(FileSystemTest, ErrorsNameThePath) {
  const auto status = this->fs().Open(this->At("gone"), OpenMode::kRead);
  EXPECT_THAT(std::string(status.status().message()), HasSubstr("gone"));
}

TYPED_TEST(FileSystemTest, ListIsSortedAndTellsDirectories) {
  this->Create("b");
  this->Create("a");
  ASSERT_TRUE(this->fs().CreateDirectory(this->At("c")).ok());
  ASSERT_TRUE(this->fs().CreateDirectory(this->At("c")).ok());
  ASSERT_TRUE(this->fs().Open(this->At("c/inner"), OpenMode::kCreate).ok());
  EXPECT_THAT(*this->fs().List(this->root()),
              ElementsAre(DirectoryEntry{"a", false},
                          DirectoryEntry{"b", false},
                          DirectoryEntry{"c", true}));
  EXPECT_TRUE(absl::IsNotFound(this->fs().List(this->At("none")).status()));
}

TYPED_TEST(FileSystemTest, RenameReplacesAFileAndMovesADirectory) {
  ASSERT_TRUE(this->Create("a")->Write(0, "new").ok());
  ASSERT_TRUE(this->Create("b")->Write(0, "old").ok());
  ASSERT_TRUE(this->fs().Rename(this->At("a"), this->At("b")).ok());
  EXPECT_EQ(this->Content("b"), "new");
  EXPECT_FALSE(*this->fs().Exists(this->At("a")));
  ASSERT_TRUE(this->fs().CreateDirectory(this->At("d")).ok());
  ASSERT_TRUE(this->Create("d/x")->Write(0, "x").ok());
  ASSERT_TRUE(this->fs().Rename(this->At("d"), this->At("e")).ok());
  EXPECT_EQ(this->Content("e/x"), "x");
  EXPECT_TRUE(absl::IsNotFound(
      this->fs().Rename(this->At("none"), this->At("f"))));
}

TYPED_TEST(FileSystemTest, RemovedFilesStayReadableThroughOpenHandles) {
  auto file = this->Create("a");
  ASSERT_TRUE(file->Write(0, "still").ok());
  ASSERT_TRUE(this->fs().RemoveFile(this->At("a")).ok());
  std::string out(5, ' ');
  EXPECT_EQ(*file->ReadAt(0, out), 5u);
  EXPECT_EQ(out, "still");
  EXPECT_TRUE(absl::IsNotFound(this->fs().RemoveFile(this->At("a"))));
}

TYPED_TEST(FileSystemTest, ADirectoryIsRemovedOnlyWhenEmpty) {
  ASSERT_TRUE(this->fs().CreateDirectory(this->At("d")).ok());
  this->Create("d/x");
  EXPECT_FALSE(this->fs().RemoveDirectory(this->At("d")).ok());
  ASSERT_TRUE(RemoveTree(this->fs(), this->At("d")).ok());
  EXPECT_FALSE(*this->fs().Exists(this->At("d")));
}

TYPED_TEST(FileSystemTest, ALockIsHeldByOneUntilReleased) {
  auto lock = this->fs().Lock(this->At("lock"));
  ASSERT_TRUE(lock.ok());
  const auto second = this->fs().Lock(this->At("lock"));
  EXPECT_EQ(CodeOf(second.status()), ErrorCode::kDataDirInUse);
  lock->reset();
  EXPECT_TRUE(this->fs().Lock(this->At("lock")).ok());
}

TYPED_TEST(FileSystemTest, SyncsAreCounted) {
  auto file = this->Create("a");
  ASSERT_TRUE(file->Write(0, "x").ok());
  const int64_t before = this->world_.fs.sync_count();
  ASSERT_TRUE(file->SyncData().ok());
  ASSERT_TRUE(this->fs().SyncDirectory(this->root()).ok());
  ASSERT_TRUE(this->fs().SyncAll(this->root()).ok());
  EXPECT_EQ(this->world_.fs.sync_count(), before + 3);
}

TYPED_TEST(FileSystemTest, AtomicWriteReplacesTheWholeContent) {
  ASSERT_TRUE(
      WriteFileAtomically(this->fs(), this->root(), "f", "first, longer").ok());
  ASSERT_TRUE(WriteFileAtomically(this->fs(), this->root(), "f", "two").ok());
  EXPECT_EQ(this->Content("f"), "two");
}

TEST(PosixFileSystemTest, TheLoserOfALockIsToldTheHoldersPid) {
  PosixFileSystem fs;
  const std::string path = testing::TempDir() + "/pid_lock";
  auto lock = fs.Lock(path);
  ASSERT_TRUE(lock.ok());
  const std::string pid = *ReadFile(fs, path, 100);
  EXPECT_GT(std::stoi(pid), 1);
  EXPECT_THAT(std::string(fs.Lock(path).status().message()),
              HasSubstr("process " + pid));
}

}  // namespace
}  // namespace sluice
