// What a test orders of a MemFileSystem, and what it may look at.
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/base/invariant.h"
#include "common/env/mem_file_system.h"
#include "common/env/mem_file_system_disk.h"

namespace sluice {
namespace {

using Guard = std::lock_guard<std::mutex>;

}  // namespace

void MemFileSystem::FailNext(Operation operation, int count, bool full) {
  FailNextOn("", operation, count, full);
}

void MemFileSystem::FailNextOn(const std::string& part, Operation operation,
                               int count, bool full) {
  const Guard guard(disk_->mutex);
  disk_->faults.push_back({part, operation, count, full});
}

void MemFileSystem::StopAfter(int64_t operations) {
  const Guard guard(disk_->mutex);
  disk_->changes_left = operations;
}

bool MemFileSystem::stopped() const {
  const Guard guard(disk_->mutex);
  return disk_->stopped;
}

int64_t MemFileSystem::change_count() const {
  const Guard guard(disk_->mutex);
  return disk_->change_count;
}

void MemFileSystem::SetCapacity(int64_t bytes) {
  const Guard guard(disk_->mutex);
  // To count all files at each write costs more than the writes.
  disk_->capacity.reset();
  if (bytes != INT64_MAX) disk_->capacity = bytes;
}

uint64_t MemFileSystem::BreakDisk(Operation operation, int count) {
  const Guard guard(disk_->mutex);
  const uint64_t id = disk_->next_fault_id++;
  disk_->faults.push_back({"", operation, count, /*full=*/false, id});
  return id;
}

void MemFileSystem::MendDisk(uint64_t fault) {
  const Guard guard(disk_->mutex);
  std::erase_if(disk_->faults,
                [fault](const MemDisk::Fault& f) { return f.id == fault; });
}

void MemFileSystem::BeginLongSync(int64_t began) {
  const Guard guard(disk_->mutex);
  disk_->long_sync = MemDisk::LongSync{began, disk_->change_count};
}

void MemFileSystem::EndLongSync() {
  const Guard guard(disk_->mutex);
  disk_->long_sync.reset();
}

void MemFileSystem::ClearFaults() {
  const Guard guard(disk_->mutex);
  disk_->faults.clear();
  disk_->misdirects_next.reset();
}

void MemFileSystem::MisdirectNextWrite(const std::string& begin,
                                       const std::string& end) {
  const Guard guard(disk_->mutex);
  disk_->misdirects_next.emplace(begin, end);
}

void MemFileSystem::ForgetMisdirection() {
  const Guard guard(disk_->mutex);
  disk_->misdirects_next.reset();
}

bool MemFileSystem::misdirects_next() const {
  const Guard guard(disk_->mutex);
  return disk_->misdirects_next.has_value();
}

void MemFileSystem::DropCaches() {
  const Guard guard(disk_->mutex);
  for (auto& [path, node] : disk_->entries) {
    if (node.inode == nullptr || !node.inode->unsynced.empty()) continue;
    node.inode->DropCache();
  }
}

bool MemFileSystem::DropCache(const std::string& path) {
  const Guard guard(disk_->mutex);
  const auto found = disk_->entries.find(path);
  if (found == disk_->entries.end() || found->second.inode == nullptr) {
    return true;
  }
  MemInode& inode = *found->second.inode;
  if (!inode.unsynced.empty()) return false;
  inode.DropCache();
  return true;
}

bool MemFileSystem::FlipRandomBit(const std::string& path, Random& random) {
  int64_t size = 0;
  {
    const Guard guard(disk_->mutex);
    const auto found = disk_->entries.find(path);
    if (found == disk_->entries.end() || found->second.inode == nullptr) {
      return false;
    }
    size = static_cast<int64_t>(found->second.inode->content.size());
  }
  if (size == 0) return false;
  FlipBit(path, random.Between(0, size - 1),
          static_cast<int>(random.Below(8)));
  return true;
}

void MemFileSystem::FlipBit(const std::string& path, int64_t byte, int bit) {
  const Guard guard(disk_->mutex);
  const auto found = disk_->entries.find(path);
  INVARIANT(found != disk_->entries.end() && found->second.inode != nullptr,
            "FlipBit of ", path, ", which is no file");
  MemInode& inode = *found->second.inode;
  const auto mask = static_cast<char>(1 << bit);
  const auto at = static_cast<size_t>(byte);
  INVARIANT(at < inode.content.size(), "FlipBit past the end of ", path);
  inode.Flip(at, mask);
}

int64_t MemFileSystem::sync_count() const {
  const Guard guard(disk_->mutex);
  return disk_->sync_count;
}

int64_t MemFileSystem::failed_sync_count() const {
  const Guard guard(disk_->mutex);
  return disk_->failed_sync_count;
}

int64_t MemFileSystem::write_count() const {
  const Guard guard(disk_->mutex);
  return disk_->write_count;
}

int64_t MemFileSystem::read_count() const {
  const Guard guard(disk_->mutex);
  return disk_->read_count;
}

int64_t MemFileSystem::bytes() const {
  const Guard guard(disk_->mutex);
  return disk_->Bytes();
}

std::optional<std::string> MemFileSystem::Peek(const std::string& path) const {
  const Guard guard(disk_->mutex);
  const MemInode* file = disk_->FindFile(path);
  if (file == nullptr) return std::nullopt;
  return file->content;
}

std::optional<std::string> MemFileSystem::PeekDurable(
    const std::string& path) const {
  const Guard guard(disk_->mutex);
  const MemInode* file = disk_->FindFile(path);
  if (file == nullptr) return std::nullopt;
  return file->durable;
}

std::optional<std::string> MemFileSystem::PeekWritten(
    const std::string& path) const {
  const Guard guard(disk_->mutex);
  const MemInode* file = disk_->FindFile(path);
  if (file == nullptr) return std::nullopt;
  return file->harms.empty() ? file->content : file->Written();
}

bool MemFileSystem::IsHarmed(const std::string& path) const {
  const Guard guard(disk_->mutex);
  const MemInode* file = disk_->FindFile(path);
  return file != nullptr && !file->harms.empty();
}

std::vector<std::string> MemFileSystem::PeekFiles(
    const std::string& directory) const {
  const Guard guard(disk_->mutex);
  std::vector<std::string> files;
  const std::string prefix = directory + "/";
  for (auto it = disk_->entries.lower_bound(prefix);
       it != disk_->entries.end() && it->first.starts_with(prefix); ++it) {
    if (it->second.inode != nullptr) files.push_back(it->first);
  }
  return files;
}

void MemFileSystem::SetCold(bool cold) {
  const Guard guard(disk_->mutex);
  disk_->cold = cold;
}

}  // namespace sluice
