// The state behind MemFileSystem: what programs see, and what is on the disk.
// Private to mem_file_system.cc and mem_file_system_disk.cc; guarded by MemDisk::mutex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/base/random.h"
#include "common/env/mem_file_system.h"

namespace sluice {

inline constexpr int64_t kMemSectorBytes = 512;
inline constexpr int64_t kMemPageBytes = 4096;

// How much of the unsynced a crash leaves.
enum class MemSurvival { kNothing, kPrefix, kAnySectors };

struct MemInode {
  struct Change {
    bool truncates = false;
    int64_t offset = 0;  // or the size
    std::string bytes;
    int64_t made = 0;  // MemDisk::change_count then
  };

  // What was written where the disk has something else.
  struct Harm {
    int64_t offset = 0;
    std::string bytes;

    int64_t end() const {
      return offset + static_cast<int64_t>(bytes.size());
    }
  };

  std::string content;  // page cache
  std::string durable;  // disk
  std::vector<Change> unsynced;
  // Since a sync failed: the page cache as it was before `unsynced`. Its pages
  // are clean and not on the disk; a later write into a sector takes along what
  // the sector holds, also what that sync dropped.
  std::optional<std::string> cached;
  std::vector<Harm> harms;
  // A write went astray past the end, which for programs is here.
  std::optional<size_t> written_end;

  // `disk_offset`: where the disk will put it.
  void Write(int64_t offset, std::string_view bytes, int64_t disk_offset,
             int64_t made);
  void Truncate(int64_t size, int64_t made);
  // The first `count` of `unsynced`.
  void Sync(size_t count);
  // The sync failed: the pages are clean, the bytes are not on the disk.
  void DropDirty() {
    unsynced.clear();
    cached = content;
  }
  void Crash(MemSurvival survival, Random* random);
  void Flip(size_t byte, char mask);
  void DropCache();
  std::string Written() const;

 private:
  void PutOnDisk(const Change& change);
  void PutOnDisk(int64_t at, std::string_view part);  // of one sector
  void Harmed(int64_t offset, std::string bytes);
  // What is written there anew, or is there no more, is not harmed any more.
  void Forget(int64_t begin, int64_t end);
};

struct MemNode {
  std::shared_ptr<MemInode> inode;  // null for a directory
};

using MemEntries = std::map<std::string, MemNode>;

struct MemEntryChange {
  std::string set;               // path that gets `node`; "" for none
  std::string erased;            // path that goes; "" for none
  std::optional<MemNode> node;
  int64_t made = 0;  // MemDisk::change_count then

  // Whether it changes this directory.
  bool IsIn(const std::string& directory) const;
  const std::string& main_path() const { return set.empty() ? erased : set; }
};

struct MemDisk {
  struct Fault {
    std::string part;
    MemFileSystem::Operation operation;
    int count;
    bool full;
    uint64_t id = 0;  // of the disk, not of the process; 0: of the process
  };
  // A sync that has taken its time (MemFileSystem::BeginLongSync): from when
  // until when, as change_count.
  struct LongSync {
    int64_t began;
    int64_t ended;
  };

  std::mutex mutex;
  MemEntries entries;
  MemEntries durable_entries;
  std::vector<MemEntryChange> unsynced_entries;
  std::map<std::string, uint64_t> locks;  // path -> era
  uint64_t era = 1;                       // rises when the machine ends

  std::vector<Fault> faults;
  uint64_t next_fault_id = 1;
  std::optional<LongSync> long_sync;
  std::optional<int64_t> changes_left;
  bool stopped = false;
  std::optional<int64_t> capacity;
  bool cold = false;
  // What the path begins and ends with.
  std::optional<std::pair<std::string, std::string>> misdirects_next;
  int64_t change_count = 0;
  int64_t sync_count = 0;
  int64_t failed_sync_count = 0;
  int64_t write_count = 0;
  int64_t read_count = 0;

  // Does the change and remembers that it is not synced.
  void Change(MemEntryChange change);
  void SyncFile(MemInode& inode) { inode.Sync(Covered(inode.unsynced)); }
  void SyncEntries(const std::string& directory);
  void SyncEverything();
  void DropAllDirty();
  void End(MemSurvival survival, Random* random);
  void EndKeepingAll();
  int64_t Bytes() const;
  // How many of these changes, oldest first, a sync puts on the disk.
  template <class Changes>
  size_t Covered(const Changes& changes) const {
    if (!long_sync.has_value() || changes.empty() ||
        changes.back().made > long_sync->ended) {
      return changes.size();
    }
    size_t count = 0;
    while (count < changes.size() &&
           changes[count].made <= long_sync->began) {
      ++count;
    }
    return count;
  }

  // OK, or the fault that was ordered for this operation.
  absl::Status Check(MemFileSystem::Operation operation,
                     const std::string& path);
  // Before a change: counts it; an error once StopAfter's limit is reached.
  absl::Status BeginChange(const std::string& path);
  // Where the disk puts what is written to `offset` of a file.
  int64_t PlaceOf(const std::string& path, int64_t offset);
  const MemInode* FindFile(const std::string& path) const;
};

std::string MemParentOf(const std::string& path);

}  // namespace sluice
