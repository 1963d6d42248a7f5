// A view over a store that can forget, in simulated time.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "broker/coordinator/fake_replica_testing.h"
#include "broker/coordinator/view_store.h"
#include "common/env/sim_world.h"
#include "storage/mem_kv_store.h"

namespace sluice::coordinator {

class ViewWorld {
 public:
  ViewWorld() : io_(world.NewExecutor()), shard_(world.NewExecutor()) {
    Mount();
  }

  // A new process over the same disk; nothing is flushed by itself.
  void Mount() {
    store = std::make_unique<ViewStore>(ViewStore::Deps{
        Files(), "/data/offsets-view", io_.get()});
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
      return std::make_unique<MountedKvStore>(&disk);
    };
    files.set_aside = [this](const std::string&) {
      ++set_aside;
      disk.Wipe();
      disk.SetReadsFail(false);
      return absl::OkStatus();
    };
    return files;
  }
  Executor* shard() { return shard_.get(); }
  void Settle() { world.RunFor(1'000'000); }

  SimWorld world;
  MemKvStore disk;
  int opened = 0;
  int open_fails = 0;
  int set_aside = 0;

 private:
  std::unique_ptr<Executor> io_;
  std::unique_ptr<Executor> shard_;

 public:
  std::unique_ptr<ViewStore> store;
};

}  // namespace sluice::coordinator
