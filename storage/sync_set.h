// What must be synced before something counts as durable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/env/file_system.h"

namespace sluice {

struct SyncSet {
  std::vector<std::shared_ptr<File>> files;
  std::vector<std::string> directories;  // whose entries changed

  bool empty() const { return files.empty() && directories.empty(); }
  void Add(SyncSet other) {
    files.insert(files.end(), other.files.begin(), other.files.end());
    directories.insert(directories.end(), other.directories.begin(),
                       other.directories.end());
  }
};

}  // namespace sluice
