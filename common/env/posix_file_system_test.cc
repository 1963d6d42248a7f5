// Where the operating system's files say no.
#include "common/env/posix_file_system.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

// While it lives this process can open nothing more.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const int lowest_free = open("/dev/null", O_RDONLY);
    EXPECT_GE(lowest_free, 0);
    close(lowest_free);
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(lowest_free);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptorsLeft() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

TEST(PosixFileSystemTest, WithoutADescriptorAnOpenIsRefusedLikeOnAFullDisk) {
  PosixFileSystem fs;
  const std::string path = testing::TempDir() + "/no_descriptor";
  absl::Status refused;
  {
    const NoDescriptorsLeft none;
    refused = fs.Open(path, OpenMode::kCreate).status();
  }
  EXPECT_EQ(CodeOf(refused), ErrorCode::kStorageFull) << refused.ToString();
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("too many open files, limit "));
  EXPECT_TRUE(fs.Open(path, OpenMode::kCreate).ok());
}

TEST(PosixFileSystemTest, WithoutADescriptorADirectoryIsSyncedAllTheSame) {
  PosixFileSystem fs;
  const std::string root = testing::TempDir() + "/no_descriptor_sync";
  ASSERT_TRUE(CreateDirectories(fs, root + "/inner").ok());
  auto lock = fs.Lock(root + "/lock");
  ASSERT_TRUE(lock.ok());
  const int64_t before = fs.sync_count();
  absl::Status synced;
  absl::Status missing;
  {
    const NoDescriptorsLeft none;
    synced = fs.SyncDirectory(root + "/inner");
    missing = fs.SyncDirectory(root + "/gone");
  }
  EXPECT_TRUE(synced.ok()) << synced.ToString();
  EXPECT_EQ(fs.sync_count(), before + 1);
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing.ToString();
}

}  // namespace
}  // namespace sluice
