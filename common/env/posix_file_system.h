// Files of the operating system.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/env/file_system.h"

namespace sluice {

// Thread-safe. Errors name the path and the operating system's text.
// Directories are synced through descriptors opened for the call; SyncAll
// through one that Lock() (or the first SyncAll) opened, because the kernel
// reports only the write-back errors that came after a descriptor was opened.
class PosixFileSystem final : public FileSystem {
 public:
  PosixFileSystem();
  ~PosixFileSystem() override;

  absl::StatusOr<std::shared_ptr<File>> Open(const std::string& path,
                                             OpenMode mode) override;
  absl::Status CreateDirectory(const std::string& path) override;
  absl::StatusOr<std::vector<DirectoryEntry>> List(
      const std::string& path) override;
  absl::StatusOr<bool> Exists(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveDirectory(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status SyncAll(const std::string& path) override;
  // flock; writes the pid into the file, so that the loser can name it.
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(
      const std::string& path) override;

  // fdatasync, directory fsync and syncfs calls so far.
  int64_t sync_count() const {
    return sync_count_->load(std::memory_order_relaxed);
  }

 private:
  absl::StatusOr<int> SyncDescriptor(const std::string& directory);
  absl::Status SyncFileSystemOf(const std::string& path, int why);

  // Shared with the files, which may outlive this.
  std::shared_ptr<std::atomic<int64_t>> sync_count_;
  std::mutex mutex_;
  std::map<std::string, int> sync_descriptors_;  // guarded by mutex_
};

}  // namespace sluice
