// The Raft log, hard state and bootstrap record in a KvStore.
//
//   key                     value
//   "b"                     BootstrapRecord (proto)
//   "d"                     directory uuid of the node that owns it, 16 bytes
//   "e" + index (8)         term (8), type (4), payload
//   "h"                     term (8), vote node (4), vote directory (16 or 0)
//   "t" + term (8)          first index of that term (8)
//   "v"                     format version (4)
//
// Numbers are big-endian. Every value is preceded by a CRC-32C (4) of its key
// and itself: a value that is damaged or under another key is not believed.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/raft/log_reader.h"
#include "controller/raft/types.h"
#include "storage/kv_store.h"

namespace sluice {

// One synced batch.
struct RaftWrite {
  std::optional<raft::HardState> hard_state;
  std::optional<LogIndex> truncate_from;
  std::vector<raft::Entry> entries;

  bool empty() const {
    return !hard_state.has_value() && !truncate_from.has_value() &&
           entries.empty();
  }
};

// Belongs to the controller's executor, but for Write() and WriteBootstrap(),
// which run on the log's writer, one at a time.
class RaftLogStore final : public raft::LogReader {
 public:
  // Newest entries kept in memory.
  static constexpr size_t kCacheBytesMax = 16 << 20;
  static constexpr uint32_t kFormatVersion = 1;

  // Reads and checks what is there; `kv` outlives the store.
  // STORAGE_ERROR: unreadable, or not what was written; the node stops.
  // UNSUPPORTED_FORMAT: a newer version wrote it.
  // DATA_DIR_MISMATCH: it is the log of another directory uuid.
  static absl::StatusOr<std::unique_ptr<RaftLogStore>> Open(
      KvStore* kv, DirectoryId directory_id);

  // None: the store is empty, this node has no cluster yet.
  const std::optional<raft::BootstrapRecord>& bootstrap() const {
    return bootstrap_;
  }
  const raft::StableState& stable_state() const { return state_; }

  // Durable on return: the record, and as the log's first entry. Once.
  absl::Status WriteBootstrap(const raft::BootstrapRecord& record);
  // Then, on the executor: what a restart would read.
  absl::Status Reload();

  // The entries are about to be written: keeps them in the cache. Before
  // Write(), on the executor.
  void Cache(const RaftWrite& write);
  // Durable on return. An error is final.
  absl::Status Write(const RaftWrite& write);

  absl::StatusOr<std::vector<raft::Entry>> Read(
      LogIndex from, LogIndex end, int entries_max,
      size_t bytes_max) const override;

  size_t cached_bytes() const { return cached_bytes_; }

 private:
  RaftLogStore(KvStore* kv, DirectoryId directory_id)
      : kv_(kv), directory_id_(directory_id) {}

  absl::Status Load();
  absl::Status CheckOwner() const;
  absl::Status LoadHardState();
  absl::Status LoadLog();
  absl::Status ReadStored(LogIndex from, LogIndex end, int entries_max,
                          size_t bytes_max,
                          std::vector<raft::Entry>& out) const;

  KvStore* const kv_;
  const DirectoryId directory_id_;
  std::optional<raft::BootstrapRecord> bootstrap_;
  raft::StableState state_;
  std::deque<raft::Entry> cache_;  // contiguous, the newest
  size_t cached_bytes_ = 0;
  std::vector<raft::TermStart> written_terms_;  // the writer's view
};

}  // namespace sluice
