// KvStore on RocksDB. The only component that includes rocksdb/.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "storage/kv_store.h"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace sluice {

struct RocksKvOptions {
  size_t write_buffer_bytes = 8 << 20;  // two of them at most
  size_t block_cache_bytes = 8 << 20;
  size_t info_log_bytes_max = 1 << 20;  // two files are kept
  int open_files_max = 64;
  // The caller syncs every write, as Raft does: then only the very last record
  // of the WAL can be torn, and a valid record behind a bad one proves damage.
  bool every_write_is_synced = true;
  // Without it nothing may be synced: what a process had not flushed when it
  // died is gone, from the end, and what is there is whole. For what another
  // log holds.
  bool write_ahead_log = true;
  // Tests' disks that fail; null: the machine's. Outlives the store.
  rocksdb::Env* env = nullptr;
};

class RocksKvStore final : public KvStore {
 public:
  // The threads that flush and compact for every store of the process: started
  // now, with the caller's scheduling, and not by whoever opens the first one.
  static void StartBackgroundThreads();
  // Creates `path` (its parent must exist) or opens it; takes its lock.
  // STORAGE_FULL: there is no room to start.
  // STORAGE_ERROR: a damaged byte anywhere but in the torn last record of the
  // WAL, or the file system's error. A voter that gets it stops: it may not go
  // on with an emptier log under its old uuid (F44, F50).
  static absl::StatusOr<std::unique_ptr<RocksKvStore>> Open(
      const std::string& path, const RocksKvOptions& options = {});
  // For reading alone, with nothing written beside it: what Checkpoint has made
  // at `path`. STORAGE_ERROR as Open; what is damaged inside is told when it is
  // read.
  static absl::StatusOr<std::unique_ptr<RocksKvStore>> OpenCheckpoint(
      const std::string& path, const RocksKvOptions& options = {});
  ~RocksKvStore() override;

  absl::StatusOr<std::optional<std::string>> Get(
      std::string_view key) const override;
  absl::Status Scan(std::string_view from, std::string_view end,
                    const Visitor& visit) const override;
  absl::StatusOr<std::optional<KeyValue>> Last(
      std::string_view from, std::string_view end) const override;
  absl::Status Write(const KvBatch& batch, Sync sync) override;
  // RocksDB's: tables are linked, not copied, where the file system is the
  // same. Their checksums are of what was meant to be written.
  absl::StatusOr<std::vector<KvFile>> Checkpoint(
      const std::string& path) override;

 private:
  struct Db;
  explicit RocksKvStore(std::unique_ptr<Db> db);

  std::unique_ptr<Db> db_;
};

}  // namespace sluice
