// The store of one data directory in which the views of its replicas of
// __consumer_offsets lie: RocksDB, each partition under a prefix of its own.
//
// All of it can be had again from the logs. So a store that cannot be opened or
// used is set aside and an empty one takes its place; who has a view in it
// finds it empty, and fills it from a checkpoint (view_checkpoints.h) and the
// log behind that, or from the log's start. A full disk is no damage: what is
// there stays, and is opened again once there is room. Nothing here ends the
// process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/coordinator/view_checkpoints.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "common/env/file_system.h"
#include "common/env/published.h"
#include "storage/kv_store.h"

namespace sluice::coordinator {

// Opens and sets aside what one path holds; both block.
struct ViewStoreFiles {
  std::function<absl::StatusOr<std::unique_ptr<KvStore>>(
      const std::string& path)>
      open;
  // Away with it, kept for whoever wants to know why. OK when nothing is there.
  std::function<absl::Status(const std::string& path)> set_aside;
  // What KvStore::Checkpoint made there, for reading.
  std::function<absl::StatusOr<std::unique_ptr<KvStore>>(
      const std::string& path)>
      open_checkpoint;
};

class ViewStore {
 public:
  // How soon a store that could not be opened is tried again.
  static constexpr int64_t kOpenAgainUs = 5'000'000;
  // How soon one that is still in use is looked at again.
  static constexpr int64_t kReleaseAgainUs = 20'000;

  struct Deps {
    ViewStoreFiles files;
    std::string path;
    Executor* io_executor = nullptr;  // may wait for the disk
    FileSystem* fs = nullptr;         // that `path` is in
    const Clock* clock = nullptr;
    // A checkpoint is made when the views have taken so many bytes of logs.
    int64_t checkpoint_bytes = 64 << 20;
  };

  // What is open now. A number for each opening: who saw another one before
  // begins anew.
  struct Opened {
    std::shared_ptr<KvStore> kv;  // null: nothing, for now
    uint64_t number = 0;
  };

  explicit ViewStore(Deps deps);
  ~ViewStore();
  ViewStore(const ViewStore&) = delete;

  // Blocks; before anything runs.
  void Open();

  // Any thread. Held for one use at a time, never kept.
  Opened Now() const { return *now_.Load(); }
  // Any thread: why nothing can be opened, for now; OK: it is open, or about to.
  absl::Status trouble() const { return *trouble_.Load(); }
  const std::string& path() const { return deps_.path; }
  // Any thread: what opening `number` holds cannot be used.
  void ReportDamage(uint64_t number, const absl::Status& why);

  // ---- Checkpoints. Any thread ----
  ViewCheckpoints& checkpoints() { return checkpoints_; }
  // Who has applied that much tells it. Many bits of what a checkpoint takes:
  // it comes when it should, and nobody posts a task for every commit.
  int64_t note_bytes() const { return deps_.checkpoint_bytes / 32 + 1; }
  void NoteApplied(int64_t bytes, int64_t records);

 private:
  void Publish(std::shared_ptr<KvStore> kv);
  void MakeCheckpoint();
  // False: not now; trouble() says why.
  bool OpenAsItIs();
  bool OpenFresh();
  bool Refused(const absl::Status& why);
  void Replace(std::weak_ptr<KvStore> old);
  void ReplaceLater(std::weak_ptr<KvStore> old, int64_t after_us);

  const Deps deps_;
  ViewCheckpoints checkpoints_;
  Published<Opened> now_;
  Published<absl::Status> trouble_;
  // On io_executor, after Open.
  uint64_t number_ = 0;
  bool replacing_ = false;
  bool damaged_ = false;  // what lies there: not to be opened again
  int64_t applied_bytes_ = 0;  // since the last checkpoint
  int64_t applied_records_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::coordinator
