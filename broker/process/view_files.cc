#include "broker/process/view_files.h"

#include <memory>
#include <string>

#include "common/base/status_macros.h"
#include "storage/rocks_kv_store.h"

namespace sluice {

coordinator::ViewStoreFiles MakeViewFiles(FileSystem* fs, rocksdb::Env* env) {
  coordinator::ViewStoreFiles files;
  RocksKvOptions options;
  options.every_write_is_synced = false;
  options.write_ahead_log = false;
  options.env = env;
  files.open_checkpoint = [options](const std::string& path)
      -> absl::StatusOr<std::unique_ptr<KvStore>> {
    return RocksKvStore::OpenCheckpoint(path, options);
  };
  files.open = [options](const std::string& path)
      -> absl::StatusOr<std::unique_ptr<KvStore>> {
    return RocksKvStore::Open(path, options);
  };
  files.set_aside = [fs](const std::string& path) -> absl::Status {
    ASSIGN_OR_RETURN(const bool exists, fs->Exists(path));
    if (!exists) return absl::OkStatus();
    const std::string aside = path + ".damaged";
    ASSIGN_OR_RETURN(const bool older, fs->Exists(aside));
    if (older) RETURN_IF_ERROR(RemoveTree(*fs, aside));
    return fs->Rename(path, aside);
  };
  return files;
}

}  // namespace sluice
