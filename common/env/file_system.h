// The world's files, as a seam: POSIX in production, memory that forgets what
// was not synced in tests and in the simulator.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice {

// An open file. ReadAt may run on any thread beside the owner's calls; the
// others belong to one owner at a time. Closed by the destructor; data that
// must survive was synced before (a close reports nothing that matters then).
class File {
 public:
  virtual ~File() = default;

  // Fills `out` from `offset`; fewer bytes only at the end of the file.
  // EIO is an error, never zeros and never "end" (ST10).
  virtual absl::StatusOr<size_t> ReadAt(int64_t offset,
                                        std::span<char> out) const = 0;
  // The same without waiting for a disk. nullopt: not all in memory, or the
  // file system cannot tell; use ReadAt on an I/O thread.
  virtual absl::StatusOr<std::optional<size_t>> ReadAtNoWait(
      int64_t offset, std::span<char> out) const = 0;

  // All of `pieces`, one after the other, from `offset`. On an error the
  // range may be partly written. ENOSPC is kStorageFull.
  virtual absl::Status WriteAt(int64_t offset,
                               std::span<const std::string_view> pieces) = 0;
  virtual absl::Status Truncate(int64_t size) = 0;
  // fdatasync. An error is final for this file's directory: the kernel marked
  // the pages clean, so a second call proves nothing (ST4).
  virtual absl::Status SyncData() = 0;
  virtual absl::StatusOr<int64_t> Size() const = 0;
  virtual const std::string& path() const = 0;

  absl::Status Write(int64_t offset, std::string_view bytes) {
    return WriteAt(offset, std::span<const std::string_view>(&bytes, 1));
  }
};

// Held for as long as the object lives; released by the kernel when the
// process dies.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

enum class OpenMode {
  kRead,           // must exist
  kReadWrite,      // must exist
  kCreate,         // read and write, created when missing
  kCreateExclusive // read and write, must not exist
};

struct DirectoryEntry {
  std::string name;
  bool is_directory = false;

  auto operator<=>(const DirectoryEntry&) const = default;
};

// Errors: kNotFound for a missing path, kAlreadyExists, kStorageFull for
// ENOSPC and EDQUOT and where no descriptor is left (EMFILE, ENFILE),
// kStorageError for the rest, each naming the path.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::shared_ptr<File>> Open(const std::string& path,
                                                     OpenMode mode) = 0;
  // One level; OK when it exists already.
  virtual absl::Status CreateDirectory(const std::string& path) = 0;
  // Sorted by name.
  virtual absl::StatusOr<std::vector<DirectoryEntry>> List(
      const std::string& path) = 0;
  virtual absl::StatusOr<bool> Exists(const std::string& path) = 0;
  // Atomic; replaces `to` when it is a file.
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  // Must be empty.
  virtual absl::Status RemoveDirectory(const std::string& path) = 0;
  // Makes creations, renames and removals in this directory durable (ST6).
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // Makes everything on the file system that holds `path` durable: cheaper
  // than one fdatasync each for many files (replication.md 6).
  virtual absl::Status SyncAll(const std::string& path) = 0;
  // kDataDirInUse when another process (or object) holds it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(
      const std::string& path) = 0;
};

// Whole small files (at most `bytes_max`, else kStorageError).
absl::StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path,
                                     int64_t bytes_max);
// Write a sibling, sync it, rename over, sync the directory: the old or the
// new content survives a crash at any point, never a mix (ST6).
absl::Status WriteFileAtomically(FileSystem& fs, const std::string& directory,
                                 const std::string& name,
                                 std::string_view content);
// Where the entry `path` is: "/" for "/a", "." for "a".
std::string ParentDirectory(const std::string& path);
// A directory and all below it.
absl::Status RemoveTree(FileSystem& fs, const std::string& path);
// `path` and what is missing above it; durable on return (ST6).
absl::Status CreateDirectories(FileSystem& fs, const std::string& path);

}  // namespace sluice
