// A KvStore that can lose what was not synced, for tests and the simulator.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/base/random.h"
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

  // Forgets every batch since the last sync, or with `random` keeps a random
  // prefix of them. Clears a failure.
  void Crash(Random* random = nullptr);
  // The disk was replaced.
  void Wipe();
  // Changes one stored value: reads see the flipped byte.
  bool FlipByte(std::string_view key, size_t position);

  // The next Write after `writes` more fails and is lost, with all that was
  // not synced; later writes fail until Crash().
  void FailWriteAfter(int writes) { writes_to_failure_ = writes; }
  // Reads fail while true (EIO).
  void SetReadsFail(bool fail) { reads_fail_ = fail; }

  int synced_writes() const { return synced_writes_; }
  size_t unsynced_batches() const { return unsynced_.size(); }

 private:
  using Map = std::map<std::string, std::string, std::less<>>;

  static void ApplyTo(Map& map, const KvBatch& batch);

  Map synced_;                     // what a power cut leaves
  std::vector<KvBatch> unsynced_;  // since
  Map current_;
  int writes_to_failure_ = -1;
  bool failed_ = false;
  bool reads_fail_ = false;
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

 private:
  MemKvStore* const disk_;
};

}  // namespace sluice
