#include "broker/process/data_directories.h"

#include <filesystem>
#include <set>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

// "a/b/../b/" and "a/b" are one directory.
std::string PlainPath(const std::string& path) {
  return (std::filesystem::path(path) / "").lexically_normal().string();
}

}  // namespace

absl::StatusOr<DataDirectories> DataDirectories::Lock(
    FileSystem& fs, const std::vector<std::string>& paths) {
  DataDirectories directories;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    if (!seen.insert(PlainPath(path)).second) {
      return MakeError(ErrorCode::kInvalidRequest, "--data_dirs: ", path,
                       " stands twice; a directory has one owner");
    }
    RETURN_IF_ERROR(CreateDirectories(fs, path));
    ASSIGN_OR_RETURN(auto lock, fs.Lock(path + "/process.lock"));
    directories.locks_.push_back(std::move(lock));
  }
  directories.paths_ = paths;
  return directories;
}

std::vector<std::string> DataDirectories::broker_paths() const {
  std::vector<std::string> paths;
  for (const std::string& path : paths_) paths.push_back(path + "/broker");
  return paths;
}

}  // namespace sluice
