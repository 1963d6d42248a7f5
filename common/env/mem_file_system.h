// A file system in memory that forgets, on a crash, what was not synced.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/env/file_system.h"

namespace sluice {

struct MemDisk;  // the shared state; in the .cc

// Models: file bytes reach the disk by SyncData or SyncAll; entries of a
// directory (creations, renames, removals) by SyncDirectory or SyncAll. What
// a crash leaves of the rest is up to the Random, entries in the order they
// were made. "/" exists. Thread-safe.
class MemFileSystem final : public FileSystem {
 public:
  MemFileSystem();
  ~MemFileSystem() override;

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
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(
      const std::string& path) override;

  // ---- Ends of the machine. Open files answer errors ever after, locks are
  // released, and stop/fault hooks are cleared. ----

  // Power loss. Of each file's unsynced writes a prefix survives, the last of
  // it torn at 512 bytes; of each directory's unsynced entries a prefix.
  void Crash(Random& random);
  // The same, but each sector is as it was at any moment since the last sync.
  void CrashReordering(Random& random);
  // Power loss; nothing unsynced survives.
  void CrashLosingAll();
  // The process dies; what it wrote stays, though still not synced.
  void Kill();

  // ---- Faults ----

  enum class Operation { kRead, kWrite, kSyncData, kSyncAny, kOpen, kRename };
  static constexpr int kForEver = INT32_MAX;
  // The next `count` operations of the kind fail with kStorageError (EIO), or
  // kStorageFull. A failing write leaves the first half of its bytes. A failing
  // sync marks the pages clean, as Linux does: what was not on the disk never
  // gets there, a later sync succeeds, and reads show the bytes only until the
  // cache is dropped or the machine ends.
  void FailNext(Operation operation, int count = 1, bool full = false);
  // Only for paths that contain `part`.
  void FailNextOn(const std::string& part, Operation operation, int count = 1,
                  bool full = false);
  // After `operations` more changes (writes, truncations, syncs, creations,
  // renames, removals) every call fails, as if the process had died there.
  void StopAfter(int64_t operations);
  bool stopped() const;
  // Changes so far: the range to enumerate for StopAfter.
  int64_t change_count() const;
  // Writes fail with kStorageFull past this many bytes in all files.
  void SetCapacity(int64_t bytes);
  // As FailNext, but a fault of the disk: it outlives Kill and Crash, and ends
  // with MendDisk of what this returned. Several do not know of each other.
  uint64_t BreakDisk(Operation operation, int count = kForEver);
  void MendDisk(uint64_t fault);
  // The disk works again (what a failed sync dropped stays dropped).
  void ClearFaults();
  // Of the next write (to a path that begins and ends so) the disk puts the
  // bytes one page away from where they belong; the page cache shows them in
  // their place until it is dropped.
  void MisdirectNextWrite(const std::string& begin = "",
                          const std::string& end = "");
  bool misdirects_next() const;  // nothing was written since
  void ForgetMisdirection();
  // Until EndLongSync syncs are as if they had begun when change_count() was
  // `began` and end now: what others changed meanwhile may have missed them, so
  // it is not on the disk. Of a file or directory that changes after this call
  // (by who syncs it, then) all is.
  void BeginLongSync(int64_t began);
  void EndLongSync();
  // Every clean page is read from the disk again.
  void DropCaches();
  // Those of one file; false while it has pages that are not synced.
  bool DropCache(const std::string& path);
  // Flips one bit of the file's, somewhere; false when it has none.
  bool FlipRandomBit(const std::string& path, Random& random);
  // Flips one bit on the disk and in the page cache.
  void FlipBit(const std::string& path, int64_t byte, int bit = 0);

  // ---- Counters ----

  // SyncData, SyncDirectory and SyncAll calls that succeeded.
  int64_t sync_count() const;
  // Those that failed with an ordered EIO.
  int64_t failed_sync_count() const;
  int64_t write_count() const;
  int64_t read_count() const;
  int64_t bytes() const;
  // What programs would read, past every fault and counter; nullopt: there is
  // no such file. For checks.
  std::optional<std::string> Peek(const std::string& path) const;
  // Likewise, what is on the disk of it.
  std::optional<std::string> PeekDurable(const std::string& path) const;
  // Likewise, what programs wrote: as if no bit had flipped and no write had
  // gone astray.
  std::optional<std::string> PeekWritten(const std::string& path) const;
  // Whether some of what was written to the file is not what the disk has, for
  // a bit that flipped or a write that went astray.
  bool IsHarmed(const std::string& path) const;
  // Likewise: the paths of all files below `directory`, sorted.
  std::vector<std::string> PeekFiles(const std::string& directory) const;
  // ReadAtNoWait answers nullopt (a cold cache) while set.
  void SetCold(bool cold);

 private:
  std::shared_ptr<MemDisk> disk_;
};

}  // namespace sluice
