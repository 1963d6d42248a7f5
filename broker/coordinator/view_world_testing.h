// A view over a store that can forget, in simulated time.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/fake_replica_testing.h"
#include "broker/coordinator/view_store.h"
#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"
#include "storage/mem_kv_store.h"

namespace sluice::coordinator {

class ViewWorld {
 public:
  ViewWorld() : io_(world.NewExecutor()), shard_(world.NewExecutor()) {
    disk.SetFiles(&fs);
    Mount();
  }

  // A new process over the same disk; nothing is flushed by itself.
  void Mount() {
    store = std::make_unique<ViewStore>(ViewStore::Deps{
        Files(), kPath, io_.get(), &fs, &world, checkpoint_bytes});
    store->Open();
  }
  ViewStoreFiles Files() {
    ViewStoreFiles files;
    files.open = [this](const std::string&)
        -> absl::StatusOr<std::unique_ptr<KvStore>> {
      ++opened;
      if (open_fails > 0) {
        --open_fails;
        return MakeError(ErrorCode::kStorageError, "as the test says");
      }
      if (full) return MakeError(ErrorCode::kStorageFull, "no room to open");
      disk.Reopen();
      return std::make_unique<MountedKvStore>(&disk);
    };
    files.set_aside = [this](const std::string&) -> absl::Status {
      ++set_aside;
      if (set_aside_fails > 0) {
        --set_aside_fails;
        return MakeError(ErrorCode::kStorageError, "Permission denied");
      }
      disk.Wipe();
      disk.SetReadsFail(false);
      return absl::OkStatus();
    };
    files.open_checkpoint = [this](const std::string& path)
        -> absl::StatusOr<std::unique_ptr<KvStore>> {
      return MemKvStore::OpenCheckpoint(fs, path);
    };
    return files;
  }
  // Numbers, newest first.
  std::vector<uint64_t> Checkpoints() const {
    std::vector<uint64_t> numbers;
    for (const auto& one : *store->checkpoints().Now()) {
      numbers.push_back(one.number);
    }
    return numbers;
  }
  static std::string CheckpointPath(uint64_t number) {
    return StrCat(kPath, ".checkpoints/checkpoint-", number);
  }
  static std::string KeysOf(uint64_t number) {
    return StrCat(CheckpointPath(number), "/store/",
                  MemKvStore::kCheckpointFile);
  }
  void SetFull(bool on) {
    full = on;
    disk.SetFull(on);
  }
  Executor* shard() { return shard_.get(); }
  void Settle() { world.RunFor(1'000'000); }

  static constexpr char kPath[] = "/data/offsets-view";

  SimWorld world;
  MemFileSystem fs;
  MemKvStore disk;
  int64_t checkpoint_bytes = 64 << 20;
  int opened = 0;
  int open_fails = 0;
  int set_aside = 0;  // tried
  int set_aside_fails = 0;
  bool full = false;

 private:
  std::unique_ptr<Executor> io_;
  std::unique_ptr<Executor> shard_;

 public:
  std::unique_ptr<ViewStore> store;
};

}  // namespace sluice::coordinator
