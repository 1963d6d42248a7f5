// A KvStore that can lose what was not synced, for tests and the simulator.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/env/file_system.h"
#include "storage/kv_store.h"

namespace sluice {

// One thread. Outlives the "process" that uses it: Crash() is a power cut.
class MemKvStore final : public KvStore {
 public:
  absl::StatusOr<std::optional<std::string>> Get(
      std::string_view key) const override;
  absl::Status Scan(std::string_view from, std::string_view end,
                    const Visitor& visit) const override;
  absl::StatusOr<std::optional<KeyValue>> Last(
      std::string_view from, std::string_view end) const override;
  absl::Status Write(const KvBatch& batch, Sync sync) override;
  // One file, kCheckpointFile. STORAGE_ERROR without SetFiles.
  absl::StatusOr<std::vector<KvFile>> Checkpoint(
      const std::string& path) override;

  static constexpr char kCheckpointFile[] = "keys";
  // Where checkpoints go; outlives this.
  void SetFiles(FileSystem* files) { files_ = files; }
  // What a checkpoint holds; to be read.
  static absl::StatusOr<std::unique_ptr<MemKvStore>> OpenCheckpoint(
      FileSystem& files, const std::string& path);

  // Forgets every batch since the last sync, or with `random` keeps a random
  // prefix of them. Clears a failure.
  void Crash(Random* random = nullptr);
  // The disk was replaced.
  void Wipe();
  // Changes one stored value: reads see the flipped byte.
  bool FlipByte(std::string_view key, size_t position);

  // Another process opens it: what a failed write broke works again, and what
  // was not synced by then is gone, where the disk itself is well.
  void Reopen();

  // The next Write after `writes` more fails and is lost, with all that was
  // not synced; later writes fail until Crash() or Reopen().
  void FailWriteAfter(int writes) { writes_to_failure_ = writes; }
  // Reads fail while true (EIO).
  void SetReadsFail(bool fail) { reads_fail_ = fail; }
  // The next `count` reads or writes fail: faults of the disk, which outlive
  // Reopen and Crash and end with MendDisk of what this returned. Several do not
  // know of each other. A failed write is as that of FailWriteAfter.
  enum class Operation { kRead, kWrite };
  static constexpr int kForEver = INT32_MAX;
  uint64_t BreakDisk(Operation operation, int count = kForEver);
  void MendDisk(uint64_t fault) { faults_.erase(fault); }
  void ClearFaults() { faults_.clear(); }
  // Writes fail with kStorageFull while true; the same else.
  void SetFull(bool full) { full_ = full; }

  int synced_writes() const { return synced_writes_; }
  size_t unsynced_batches() const { return unsynced_.size(); }

  using Map = std::map<std::string, std::string, std::less<>>;
  // What readers see, past every fault: for checks.
  const Map& Peek() const { return current_; }

 private:

  struct Fault {
    Operation operation;
    int left;
  };

  static void ApplyTo(Map& map, const KvBatch& batch);
  absl::Status CheckRead() const;
  bool Breaks(Operation operation) const;
  absl::Status Refuse(absl::Status why);

  FileSystem* files_ = nullptr;
  Map synced_;                     // what a power cut leaves
  std::vector<KvBatch> unsynced_;  // since
  Map current_;
  int writes_to_failure_ = -1;
  bool failed_ = false;
  bool reads_fail_ = false;
  bool full_ = false;
  mutable std::map<uint64_t, Fault> faults_;
  uint64_t next_fault_ = 1;
  int synced_writes_ = 0;
};

// The store as one process sees it: what is on the machine stays when the
// process goes.
class MountedKvStore final : public KvStore {
 public:
  explicit MountedKvStore(MemKvStore* disk) : disk_(disk) {}
  absl::StatusOr<std::optional<std::string>> Get(
      std::string_view key) const override {
    return disk_->Get(key);
  }
  absl::Status Scan(std::string_view from, std::string_view end,
                    const Visitor& visit) const override {
    return disk_->Scan(from, end, visit);
  }
  absl::StatusOr<std::optional<KeyValue>> Last(
      std::string_view from, std::string_view end) const override {
    return disk_->Last(from, end);
  }
  absl::Status Write(const KvBatch& batch, Sync sync) override {
    return disk_->Write(batch, sync);
  }
  absl::StatusOr<std::vector<KvFile>> Checkpoint(
      const std::string& path) override {
    return disk_->Checkpoint(path);
  }

 private:
  MemKvStore* const disk_;
};

}  // namespace sluice
