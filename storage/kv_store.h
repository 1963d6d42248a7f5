// An ordered map of bytes to bytes on a disk. RocksDB in production
// (rocks_kv_store.h), a map that can forget in tests (mem_kv_store.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice {

// Changes that are applied all or not at all, later ones over earlier ones.
class KvBatch {
 public:
  enum class Kind { kPut, kDelete, kDeleteRange };
  struct Op {
    Kind kind;
    std::string key;    // of a range: its first
    std::string value;  // of a range: its end, exclusive
  };

  void Put(std::string_view key, std::string_view value);
  void Delete(std::string_view key);
  // [from, end)
  void DeleteRange(std::string_view from, std::string_view end);

  bool empty() const { return ops_.empty(); }
  const std::vector<Op>& ops() const { return ops_; }

 private:
  std::vector<Op> ops_;
};

// What one file of a checkpoint holds.
struct KvFile {
  std::string name;
  int64_t bytes = 0;
  uint32_t crc32c = 0;

  bool operator==(const KvFile&) const = default;
};

// Any thread may call any method; writes take effect one after another. Errors
// are STORAGE_ERROR. After a failed Write the store refuses further writes:
// what is on disk is not known until it is opened again (ST4), and the caller
// ends the process.
class KvStore {
 public:
  enum class Sync {
    kNo,   // survives the process; a power cut may take it, and all after it
    kYes,  // durable on return, with every write before it
  };
  using KeyValue = std::pair<std::string, std::string>;
  // False ends the scan.
  using Visitor =
      std::function<bool(std::string_view key, std::string_view value)>;

  virtual ~KvStore() = default;

  virtual absl::StatusOr<std::optional<std::string>> Get(
      std::string_view key) const = 0;
  // [from, end) in ascending order, as of the call. An empty `end` is the end
  // of the store.
  virtual absl::Status Scan(std::string_view from, std::string_view end,
                            const Visitor& visit) const = 0;
  // The greatest key in [from, end).
  virtual absl::StatusOr<std::optional<KeyValue>> Last(
      std::string_view from, std::string_view end) const = 0;
  virtual absl::Status Write(const KvBatch& batch, Sync sync) = 0;
  // All that was written before the call, as files of a new directory `path`
  // (its parent exists), to be opened for reading as the store's kind says. A
  // sync of each file and of the directory makes it durable. Blocks.
  virtual absl::StatusOr<std::vector<KvFile>> Checkpoint(
      const std::string& path) = 0;
};

}  // namespace sluice
