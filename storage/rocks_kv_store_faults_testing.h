// A disk under RocksDB that fails as a test says: errors of reads, writes and
// syncs, no room, bytes that come back wrong.
#pragma once

#include <memory>
#include <string>

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace sluice {

class FaultyRocksDisk {
 public:
  enum class Operation { kRead, kWrite, kSync, kOpen };
  static constexpr int kForEver = 1 << 30;

  FaultyRocksDisk();
  ~FaultyRocksDisk();
  FaultyRocksDisk(const FaultyRocksDisk&) = delete;

  // For RocksKvOptions; lives as long as this.
  rocksdb::Env* env();

  // The next `count` operations of the kind on files whose path contains `part`
  // fail with EIO, or with ENOSPC.
  void Fail(Operation operation, const std::string& part, int count = kForEver,
            bool full = false);
  // One bit of each read of such a file that is long enough comes back wrong.
  void FlipReads(const std::string& part);
  void Mend();
  // Operations that failed, and reads that came back wrong, so far.
  int faults() const;

 private:
  struct State;
  class Files;
  std::shared_ptr<State> state_;
  std::unique_ptr<rocksdb::Env> env_;
};

}  // namespace sluice
