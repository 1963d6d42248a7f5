// One process owns a data directory, whatever roles it has:
//
//   <data>/process.lock   held while the process lives
//   <data>/controller/    first directory of a controller: its identity and
//                         marks (storage/FORMAT.md), raft/ in RocksDB
//   <data>/broker/        of a broker: the same journal, partitions
//
// Each role has an identity of its own there, so that a controller's disk can
// be wiped and come back as another voter while the broker's logs stay.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/env/file_system.h"

namespace sluice {

class DataDirectories {
 public:
  // Creates and locks them; blocks. DATA_DIR_IN_USE names the directory and
  // the process that has it; INVALID_REQUEST: given twice.
  static absl::StatusOr<DataDirectories> Lock(
      FileSystem& fs, const std::vector<std::string>& paths);

  std::string controller_path() const { return paths_.front() + "/controller"; }
  std::vector<std::string> broker_paths() const;

 private:
  std::vector<std::string> paths_;
  std::vector<std::unique_ptr<FileLock>> locks_;
};

}  // namespace sluice
