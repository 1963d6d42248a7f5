#include "tools/line_source.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "common/base/error.h"

namespace sluice::cli {

LineSource::LineSource(std::string path, std::unique_ptr<std::ifstream> file)
    : path_(std::move(path)),
      file_(std::move(file)),
      in_(file_ == nullptr ? &std::cin : file_.get()) {}

absl::StatusOr<LineSource> LineSource::Open(const std::string& path) {
  if (path.empty()) return LineSource("stdin", nullptr);
  struct stat facts;
  if (stat(path.c_str(), &facts) != 0) {
    return MakeError(ErrorCode::kInvalidRequest, "cannot read ", path, ": ",
                     std::string(std::strerror(errno)));
  }
  if (S_ISDIR(facts.st_mode)) {
    return MakeError(ErrorCode::kInvalidRequest, path,
                     " is a directory; name a file");
  }
  auto file = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*file) {
    return MakeError(ErrorCode::kInvalidRequest, "cannot read ", path, ": ",
                     std::string(std::strerror(errno)));
  }
  return LineSource(path, std::move(file));
}

bool LineSource::Next(std::string& line) {
  return static_cast<bool>(std::getline(*in_, line));
}

absl::Status LineSource::status() const {
  if (!in_->bad()) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageError, "reading ", path_, " failed");
}

}  // namespace sluice::cli
