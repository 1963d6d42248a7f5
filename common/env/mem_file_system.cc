#include "common/env/mem_file_system.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/env/mem_file_system_disk.h"

namespace sluice {
namespace {

using Guard = std::lock_guard<std::mutex>;
using Operation = MemFileSystem::Operation;


absl::Status Missing(const std::string& path) {
  return absl::NotFoundError(StrCat("no ", path));
}

class MemFile final : public File {
 public:
  MemFile(std::shared_ptr<MemDisk> disk, std::shared_ptr<MemInode> inode,
          std::string path, bool writable)
      : disk_(std::move(disk)),
        inode_(std::move(inode)),
        path_(std::move(path)),
        writable_(writable),
        era_(disk_->era) {}

  absl::StatusOr<size_t> ReadAt(int64_t offset,
                                std::span<char> out) const override {
    const Guard guard(disk_->mutex);
    RETURN_IF_ERROR(CheckOpen());
    RETURN_IF_ERROR(disk_->Check(Operation::kRead, path_));
    ++disk_->read_count;
    const std::string& content = inode_->content;
    if (offset >= static_cast<int64_t>(content.size())) return size_t{0};
    const size_t count =
        std::min(out.size(), content.size() - static_cast<size_t>(offset));
    std::memcpy(out.data(), content.data() + offset, count);
    return count;
  }

  absl::StatusOr<std::optional<size_t>> ReadAtNoWait(
      int64_t offset, std::span<char> out) const override {
    {
      const Guard guard(disk_->mutex);
      if (disk_->cold) return std::optional<size_t>();
    }
    ASSIGN_OR_RETURN(const size_t got, ReadAt(offset, out));
    return std::optional<size_t>(got);
  }

  absl::Status WriteAt(int64_t offset,
                       std::span<const std::string_view> pieces) override {
    std::string bytes;
    for (const std::string_view piece : pieces) bytes.append(piece);
    const Guard guard(disk_->mutex);
    RETURN_IF_ERROR(CheckChange());
    const bool ran = !disk_->stopped;
    absl::Status status = disk_->BeginChange(path_);
    if (status.ok()) status = disk_->Check(Operation::kWrite, path_);
    if (!status.ok()) {
      // A call that is interrupted may have done a part.
      if (ran) Write(offset, StdHalf(bytes));
      return status;
    }
    ++disk_->write_count;
    if (disk_->capacity.has_value()) {
      const int64_t grows = offset + static_cast<int64_t>(bytes.size()) -
                            static_cast<int64_t>(inode_->content.size());
      const int64_t room = *disk_->capacity - disk_->Bytes();
      if (grows > room) {
        Write(offset, StdHalf(bytes));
        return MakeError(ErrorCode::kStorageFull, "cannot write ", path_,
                         ": no space left");
      }
    }
    inode_->Write(offset, bytes, disk_->PlaceOf(path_, offset),
                  disk_->change_count);
    return absl::OkStatus();
  }

  absl::Status Truncate(int64_t size) override {
    const Guard guard(disk_->mutex);
    RETURN_IF_ERROR(CheckChange());
    RETURN_IF_ERROR(disk_->BeginChange(path_));
    inode_->Truncate(size, disk_->change_count);
    return absl::OkStatus();
  }

  absl::Status SyncData() override {
    const Guard guard(disk_->mutex);
    RETURN_IF_ERROR(CheckOpen());
    RETURN_IF_ERROR(disk_->BeginChange(path_));
    absl::Status synced = disk_->Check(Operation::kSyncData, path_);
    if (synced.ok()) synced = disk_->Check(Operation::kSyncAny, path_);
    if (!synced.ok()) {
      inode_->DropDirty();
      ++disk_->failed_sync_count;
      return synced;
    }
    disk_->SyncFile(*inode_);
    ++disk_->sync_count;
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> Size() const override {
    const Guard guard(disk_->mutex);
    RETURN_IF_ERROR(CheckOpen());
    return static_cast<int64_t>(inode_->content.size());
  }

  const std::string& path() const override { return path_; }

 private:
  static std::string_view StdHalf(std::string_view bytes) {
    return bytes.substr(0, bytes.size() / 2);
  }
  void Write(int64_t offset, std::string_view bytes) {
    inode_->Write(offset, bytes, offset, disk_->change_count);
  }

  absl::Status CheckOpen() const {
    if (era_ == disk_->era) return absl::OkStatus();
    return MakeError(ErrorCode::kStorageError, path_,
                     " was opened before the crash");
  }
  absl::Status CheckChange() const {
    RETURN_IF_ERROR(CheckOpen());
    if (writable_) return absl::OkStatus();
    return MakeError(ErrorCode::kStorageError, path_, " is open for reading");
  }

  const std::shared_ptr<MemDisk> disk_;
  const std::shared_ptr<MemInode> inode_;
  const std::string path_;
  const bool writable_;
  const uint64_t era_;
};

class MemLock final : public FileLock {
 public:
  MemLock(std::shared_ptr<MemDisk> disk, std::string path)
      : disk_(std::move(disk)), path_(std::move(path)), era_(disk_->era) {}
  ~MemLock() override {
    const Guard guard(disk_->mutex);
    if (era_ == disk_->era) disk_->locks.erase(path_);
  }

 private:
  const std::shared_ptr<MemDisk> disk_;
  const std::string path_;
  const uint64_t era_;
};

}  // namespace

MemFileSystem::MemFileSystem() : disk_(std::make_shared<MemDisk>()) {
  disk_->entries["/"] = MemNode();
  disk_->durable_entries = disk_->entries;
}

MemFileSystem::~MemFileSystem() = default;

absl::StatusOr<std::shared_ptr<File>> MemFileSystem::Open(
    const std::string& path, OpenMode mode) {
  const Guard guard(disk_->mutex);
  RETURN_IF_ERROR(disk_->Check(Operation::kOpen, path));
  const auto found = disk_->entries.find(path);
  const bool exists = found != disk_->entries.end();
  const bool creates =
      mode == OpenMode::kCreate || mode == OpenMode::kCreateExclusive;
  if (exists && found->second.inode == nullptr) {
    return MakeError(ErrorCode::kStorageError, path, " is a directory");
  }
  if (exists && mode == OpenMode::kCreateExclusive) {
    return absl::AlreadyExistsError(StrCat(path, " exists"));
  }
  std::shared_ptr<MemInode> inode;
  if (exists) {
    inode = found->second.inode;
  } else {
    if (!creates || !disk_->entries.contains(MemParentOf(path))) {
      return Missing(path);
    }
    RETURN_IF_ERROR(disk_->BeginChange(path));
    inode = std::make_shared<MemInode>();
    disk_->Change({path, "", MemNode{inode}});
  }
  return std::shared_ptr<File>(std::make_shared<MemFile>(
      disk_, std::move(inode), path, mode != OpenMode::kRead));
}

absl::Status MemFileSystem::CreateDirectory(const std::string& path) {
  const Guard guard(disk_->mutex);
  const auto found = disk_->entries.find(path);
  if (found != disk_->entries.end()) {
    if (found->second.inode == nullptr) return absl::OkStatus();
    return absl::AlreadyExistsError(StrCat(path, " exists and is a file"));
  }
  if (!disk_->entries.contains(MemParentOf(path))) return Missing(path);
  RETURN_IF_ERROR(disk_->BeginChange(path));
  disk_->Change({path, "", MemNode()});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<DirectoryEntry>> MemFileSystem::List(
    const std::string& path) {
  const Guard guard(disk_->mutex);
  RETURN_IF_ERROR(disk_->Check(Operation::kRead, path));
  if (!disk_->entries.contains(path)) return Missing(path);
  std::vector<DirectoryEntry> entries;
  const std::string prefix = path == "/" ? path : path + "/";
  for (auto it = disk_->entries.upper_bound(prefix);
       it != disk_->entries.end() && it->first.starts_with(prefix); ++it) {
    const std::string name = it->first.substr(prefix.size());
    if (name.find('/') != std::string::npos) continue;
    entries.push_back({name, it->second.inode == nullptr});
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

absl::StatusOr<bool> MemFileSystem::Exists(const std::string& path) {
  const Guard guard(disk_->mutex);
  RETURN_IF_ERROR(disk_->Check(Operation::kRead, path));
  return disk_->entries.contains(path);
}

absl::Status MemFileSystem::Rename(const std::string& from,
                                   const std::string& to) {
  const Guard guard(disk_->mutex);
  const auto found = disk_->entries.find(from);
  if (found == disk_->entries.end() ||
      !disk_->entries.contains(MemParentOf(to))) {
    return Missing(from);
  }
  const auto target = disk_->entries.find(to);
  if (target != disk_->entries.end() && target->second.inode == nullptr) {
    return absl::AlreadyExistsError(StrCat(to, " is a directory"));
  }
  RETURN_IF_ERROR(disk_->BeginChange(to));
  RETURN_IF_ERROR(disk_->Check(Operation::kRename, to));
  const MemNode node = found->second;
  disk_->Change({to, from, node});
  return absl::OkStatus();
}

absl::Status MemFileSystem::RemoveFile(const std::string& path) {
  const Guard guard(disk_->mutex);
  const auto found = disk_->entries.find(path);
  if (found == disk_->entries.end()) return Missing(path);
  if (found->second.inode == nullptr) {
    return MakeError(ErrorCode::kStorageError, path, " is a directory");
  }
  RETURN_IF_ERROR(disk_->BeginChange(path));
  disk_->Change({"", path, std::nullopt});
  return absl::OkStatus();
}

absl::Status MemFileSystem::RemoveDirectory(const std::string& path) {
  const Guard guard(disk_->mutex);
  const auto found = disk_->entries.find(path);
  if (found == disk_->entries.end()) return Missing(path);
  const auto child = disk_->entries.lower_bound(path + "/");
  if (found->second.inode != nullptr ||
      (child != disk_->entries.end() &&
       child->first.starts_with(path + "/"))) {
    return MakeError(ErrorCode::kStorageError, path,
                     " is a file or not empty");
  }
  RETURN_IF_ERROR(disk_->BeginChange(path));
  disk_->Change({"", path, std::nullopt});
  return absl::OkStatus();
}

absl::Status MemFileSystem::SyncDirectory(const std::string& path) {
  const Guard guard(disk_->mutex);
  if (!disk_->entries.contains(path)) return Missing(path);
  RETURN_IF_ERROR(disk_->BeginChange(path));
  if (absl::Status synced = disk_->Check(Operation::kSyncAny, path);
      !synced.ok()) {
    ++disk_->failed_sync_count;
    return synced;
  }
  disk_->SyncEntries(path);
  ++disk_->sync_count;
  return absl::OkStatus();
}

absl::Status MemFileSystem::SyncAll(const std::string& path) {
  const Guard guard(disk_->mutex);
  if (!disk_->entries.contains(path)) return Missing(path);
  RETURN_IF_ERROR(disk_->BeginChange(path));
  if (const absl::Status synced = disk_->Check(Operation::kSyncAny, path);
      !synced.ok()) {
    disk_->DropAllDirty();
    ++disk_->failed_sync_count;
    return synced;
  }
  disk_->SyncEverything();
  ++disk_->sync_count;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> MemFileSystem::Lock(
    const std::string& path) {
  {
    ASSIGN_OR_RETURN(const auto file, Open(path, OpenMode::kCreate));
  }
  const Guard guard(disk_->mutex);
  if (!disk_->locks.emplace(path, disk_->era).second) {
    return MakeError(ErrorCode::kDataDirInUse, MemParentOf(path),
                     " is in use; ", path, " is locked");
  }
  return std::unique_ptr<FileLock>(std::make_unique<MemLock>(disk_, path));
}

void MemFileSystem::Crash(Random& random) {
  const Guard guard(disk_->mutex);
  disk_->End(MemSurvival::kPrefix, &random);
}

void MemFileSystem::CrashReordering(Random& random) {
  const Guard guard(disk_->mutex);
  disk_->End(MemSurvival::kAnySectors, &random);
}

void MemFileSystem::CrashLosingAll() {
  const Guard guard(disk_->mutex);
  disk_->End(MemSurvival::kNothing, nullptr);
}

void MemFileSystem::Kill() {
  const Guard guard(disk_->mutex);
  disk_->EndKeepingAll();
}

}  // namespace sluice
