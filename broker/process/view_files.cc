#include "broker/process/view_files.h"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "common/base/error.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

// No link is followed, and nothing is looked at first: a link that leads
// nowhere is there, too.
absl::Status SetAside(const std::string& path) {
  const std::string aside = path + ".damaged";
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, error))) {
    if (!error || error == std::errc::no_such_file_or_directory) {
      return absl::OkStatus();
    }
    return MakeError(ErrorCode::kStorageError, "cannot look at ", path, ": ",
                     error.message());
  }
  std::filesystem::remove_all(aside, error);
  if (error) {
    return MakeError(ErrorCode::kStorageError, "cannot remove ", aside, ": ",
                     error.message());
  }
  std::filesystem::rename(path, aside, error);
  if (error) {
    return MakeError(ErrorCode::kStorageError, "cannot rename ", path, " to ",
                     aside, ": ", error.message());
  }
  return absl::OkStatus();
}

}  // namespace

coordinator::ViewStoreFiles MakeViewFiles(rocksdb::Env* env) {
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
  files.set_aside = &SetAside;
  return files;
}

}  // namespace sluice
