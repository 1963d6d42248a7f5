#include "common/env/file_system.h"

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice {

absl::StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path,
                                     int64_t bytes_max) {
  ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const int64_t size, file->Size());
  if (size > bytes_max) {
    return MakeError(ErrorCode::kStorageError,
                     path, " has ", size, " bytes, at most ", bytes_max,
                     " expected");
  }
  std::string content(static_cast<size_t>(size), '\0');
  ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, content));
  content.resize(got);
  return content;
}

absl::Status WriteFileAtomically(FileSystem& fs, const std::string& directory,
                                 const std::string& name,
                                 std::string_view content) {
  const std::string target = StrCat(directory, "/", name);
  const std::string draft = StrCat(target, ".tmp");
  {
    ASSIGN_OR_RETURN(auto file, fs.Open(draft, OpenMode::kCreate));
    RETURN_IF_ERROR(file->Truncate(0));
    RETURN_IF_ERROR(file->Write(0, content));
    RETURN_IF_ERROR(file->SyncData());
  }
  RETURN_IF_ERROR(fs.Rename(draft, target));
  return fs.SyncDirectory(directory);
}

std::string ParentDirectory(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status RemoveTree(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(const auto entries, fs.List(path));
  for (const DirectoryEntry& entry : entries) {
    const std::string child = StrCat(path, "/", entry.name);
    RETURN_IF_ERROR(entry.is_directory ? RemoveTree(fs, child)
                                       : fs.RemoveFile(child));
  }
  return fs.RemoveDirectory(path);
}

absl::Status CreateDirectories(FileSystem& fs, const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    ASSIGN_OR_RETURN(const bool exists, fs.Exists(prefix));
    if (!exists) {
      RETURN_IF_ERROR(fs.CreateDirectory(prefix));
      RETURN_IF_ERROR(fs.SyncDirectory(ParentDirectory(prefix)));
    }
    if (slash == std::string::npos) return absl::OkStatus();
  }
}

}  // namespace sluice
