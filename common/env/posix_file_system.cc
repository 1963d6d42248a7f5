#include "common/env/posix_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice {
namespace {

using SyncCounter = std::shared_ptr<std::atomic<int64_t>>;

// One pwritev takes at most this many pieces (IOV_MAX is 1024).
constexpr size_t kPiecesPerWriteMax = 64;

// No descriptor is left, of this process or of the host.
bool IsOutOfDescriptors(int error) {
  return error == EMFILE || error == ENFILE;
}

std::string OpenFilesLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return "(unknown)";
  return StrCat(static_cast<int64_t>(limit.rlim_cur));
}

absl::Status ErrnoError(std::string_view what, const std::string& path,
                        int error) {
  const std::string message = StrCat(what, " ", path, ": ",
                                     std::strerror(error), " (errno ", error,
                                     ")");
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
      return MakeError(ErrorCode::kStorageFull, message,
                       "; free space on that file system");
    // Like a full disk it says nothing against what is stored, and passes.
    case EMFILE:
      return MakeError(ErrorCode::kStorageFull, message,
                       "; too many open files, limit ", OpenFilesLimit(),
                       "; raise it (ulimit -n)");
    case ENFILE:
      return MakeError(ErrorCode::kStorageFull, message,
                       "; too many open files on this host; raise fs.file-max");
    default:
      return MakeError(ErrorCode::kStorageError, message);
  }
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path, SyncCounter sync_count)
      : fd_(fd), path_(std::move(path)), sync_count_(std::move(sync_count)) {}
  ~PosixFile() override { close(fd_); }

  absl::StatusOr<size_t> ReadAt(int64_t offset,
                                std::span<char> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got =
          pread(fd_, out.data() + done, out.size() - done,
                static_cast<off_t>(offset + static_cast<int64_t>(done)));
      if (got < 0) {
        if (errno == EINTR) continue;
        return ErrnoError("cannot read", path_, errno);
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  absl::StatusOr<std::optional<size_t>> ReadAtNoWait(
      int64_t offset, std::span<char> out) const override {
    if (no_wait_refused_.load(std::memory_order_relaxed)) {
      return std::optional<size_t>();
    }
    size_t done = 0;
    while (done < out.size()) {
      iovec piece{out.data() + done, out.size() - done};
      const ssize_t got =
          preadv2(fd_, &piece, 1,
                  static_cast<off_t>(offset + static_cast<int64_t>(done)),
                  RWF_NOWAIT);
      if (got > 0) {
        done += static_cast<size_t>(got);
        continue;
      }
      if (got == 0) break;
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return std::optional<size_t>();
      if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) {
        no_wait_refused_.store(true, std::memory_order_relaxed);
        return std::optional<size_t>();
      }
      return ErrnoError("cannot read", path_, errno);
    }
    return std::optional<size_t>(done);
  }

  absl::Status WriteAt(int64_t offset,
                       std::span<const std::string_view> pieces) override {
    size_t next = 0;       // the first piece not wholly written
    size_t into = 0;       // bytes of it that are
    while (next < pieces.size()) {
      iovec vector[kPiecesPerWriteMax];
      int count = 0;
      for (size_t i = next;
           i < pieces.size() && count < static_cast<int>(kPiecesPerWriteMax);
           ++i) {
        const std::string_view piece =
            i == next ? pieces[i].substr(into) : pieces[i];
        vector[count++] = {const_cast<char*>(piece.data()), piece.size()};
      }
      const ssize_t got =
          pwritev(fd_, vector, count, static_cast<off_t>(offset));
      if (got < 0) {
        if (errno == EINTR) continue;
        return ErrnoError("cannot write", path_, errno);
      }
      offset += got;
      into += static_cast<size_t>(got);
      while (next < pieces.size() && into >= pieces[next].size()) {
        into -= pieces[next].size();
        ++next;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Truncate(int64_t size) override {
    while (ftruncate(fd_, static_cast<off_t>(size)) != 0) {
      if (errno != EINTR) return ErrnoError("cannot truncate", path_, errno);
    }
    return absl::OkStatus();
  }

  absl::Status SyncData() override {
    // Not retried on EINTR either: one error is the last word (ST4).
    if (fdatasync(fd_) != 0) return ErrnoError("cannot sync", path_, errno);
    sync_count_->fetch_add(1, std::memory_order_relaxed);
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> Size() const override {
    struct stat facts;
    if (fstat(fd_, &facts) != 0) {
      return ErrnoError("cannot stat", path_, errno);
    }
    return static_cast<int64_t>(facts.st_size);
  }

  const std::string& path() const override { return path_; }

 private:
  const int fd_;
  const std::string path_;
  const SyncCounter sync_count_;
  // tmpfs and overlayfs refuse RWF_NOWAIT: asked once per file.
  mutable std::atomic<bool> no_wait_refused_{false};
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}
  ~PosixLock() override { close(fd_); }

 private:
  const int fd_;
};

int FlagsOf(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT;
    case OpenMode::kCreateExclusive:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

PosixFileSystem::PosixFileSystem()
    : sync_count_(std::make_shared<std::atomic<int64_t>>(0)) {}

PosixFileSystem::~PosixFileSystem() {
  for (const auto& [path, fd] : sync_descriptors_) close(fd);
}

absl::StatusOr<std::shared_ptr<File>> PosixFileSystem::Open(
    const std::string& path, OpenMode mode) {
  const int fd = open(path.c_str(), FlagsOf(mode) | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoError("cannot open", path, errno);
  return std::shared_ptr<File>(
      std::make_shared<PosixFile>(fd, path, sync_count_));
}

absl::Status PosixFileSystem::CreateDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) == 0) return absl::OkStatus();
  const int error = errno;
  struct stat facts;
  if (error == EEXIST && stat(path.c_str(), &facts) == 0 &&
      S_ISDIR(facts.st_mode)) {
    return absl::OkStatus();
  }
  return ErrnoError("cannot create directory", path, error);
}

absl::StatusOr<std::vector<DirectoryEntry>> PosixFileSystem::List(
    const std::string& path) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return ErrnoError("cannot list", path, errno);
  std::vector<DirectoryEntry> entries;
  absl::Status status;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(directory);
    if (entry == nullptr) {
      if (errno != 0) status = ErrnoError("cannot list", path, errno);
      break;
    }
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN) {
      struct stat facts;
      is_directory = stat((path + "/" + name).c_str(), &facts) == 0 &&
                     S_ISDIR(facts.st_mode);
    }
    entries.push_back({name, is_directory});
  }
  closedir(directory);
  RETURN_IF_ERROR(status);
  std::sort(entries.begin(), entries.end());
  return entries;
}

absl::StatusOr<bool> PosixFileSystem::Exists(const std::string& path) {
  struct stat facts;
  if (stat(path.c_str(), &facts) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return ErrnoError("cannot stat", path, errno);
}

absl::Status PosixFileSystem::Rename(const std::string& from,
                                     const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return ErrnoError(StrCat("cannot rename to ", to, " from"), from, errno);
}

absl::Status PosixFileSystem::RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0) return absl::OkStatus();
  return ErrnoError("cannot remove", path, errno);
}

absl::Status PosixFileSystem::RemoveDirectory(const std::string& path) {
  if (rmdir(path.c_str()) == 0) return absl::OkStatus();
  // A directory that is not empty is a mistake of the caller, not "exists".
  if (errno == EEXIST) errno = ENOTEMPTY;
  return ErrnoError("cannot remove directory", path, errno);
}

absl::Status PosixFileSystem::SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && IsOutOfDescriptors(errno)) return SyncFileSystemOf(path, errno);
  if (fd < 0) return ErrnoError("cannot open directory", path, errno);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  if (result != 0) return ErrnoError("cannot sync directory", path, error);
  sync_count_->fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

// Without a descriptor of its own a directory is synced with everything on its
// file system, by one that is open already: a sync that cannot be made must not
// count as one that failed.
absl::Status PosixFileSystem::SyncFileSystemOf(const std::string& path,
                                               int why) {
  struct stat wanted;
  if (stat(path.c_str(), &wanted) != 0) {
    return ErrnoError("cannot stat", path, errno);
  }
  const std::lock_guard<std::mutex> guard(mutex_);
  for (const auto& [directory, fd] : sync_descriptors_) {
    struct stat facts;
    if (fstat(fd, &facts) != 0 || facts.st_dev != wanted.st_dev) continue;
    if (syncfs(fd) != 0) {
      return ErrnoError("cannot sync the file system of", path, errno);
    }
    sync_count_->fetch_add(1, std::memory_order_relaxed);
    return absl::OkStatus();
  }
  return ErrnoError("cannot open directory", path, why);
}

absl::StatusOr<int> PosixFileSystem::SyncDescriptor(
    const std::string& directory) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const auto found = sync_descriptors_.find(directory);
  if (found != sync_descriptors_.end()) return found->second;
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoError("cannot open directory", directory, errno);
  sync_descriptors_.emplace(directory, fd);
  return fd;
}

absl::Status PosixFileSystem::SyncAll(const std::string& path) {
  ASSIGN_OR_RETURN(const int fd, SyncDescriptor(path));
  if (syncfs(fd) != 0) {
    return ErrnoError("cannot sync the file system of", path, errno);
  }
  sync_count_->fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> PosixFileSystem::Lock(
    const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoError("cannot open", path, errno);
  auto lock = std::make_unique<PosixLock>(fd);
  char pid[24] = {};
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error != EWOULDBLOCK) return ErrnoError("cannot lock", path, error);
    const ssize_t got = pread(fd, pid, sizeof pid - 1, 0);
    const std::string_view holder(pid, got > 0 ? static_cast<size_t>(got) : 0);
    return MakeError(ErrorCode::kDataDirInUse, ParentOf(path),
                     " is in use by process ",
                     holder.empty() ? std::string_view("(unknown)") : holder,
                     ", which holds ", path,
                     "; stop it or use another directory");
  }
  const int length = std::snprintf(pid, sizeof pid, "%d", getpid());
  // The pid is a courtesy to people; a full disk must not forbid a start.
  if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, length, 0) != length) {
    (void)!ftruncate(fd, 0);
  }
  RETURN_IF_ERROR(SyncDescriptor(ParentOf(path)).status());
  return std::unique_ptr<FileLock>(std::move(lock));
}

}  // namespace sluice
