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
  line.clear();
  char piece[64 << 10];
  while (true) {
    in_->getline(piece, sizeof(piece));
    const size_t count = static_cast<size_t>(in_->gcount());
    if (in_->good()) {  // the count includes the '\n'
      line.append(piece, count - 1);
      ++lines_;
      return true;
    }
    line.append(piece, count);
    if (in_->bad() || (count == 0 && !in_->eof())) return false;
    if (in_->eof()) return !line.empty();
    in_->clear();  // the piece is full
    if (line.size() <= kLineBytesMax) continue;
    too_long_ = true;
    return false;
  }
}

absl::Status LineSource::status() const {
  if (too_long_) {
    return MakeError(ErrorCode::kMessageTooLarge, "line ", lines_ + 1, " of ",
                     path_, " has more than ", kLineBytesMax,
                     " bytes, the most a line may have; is it text?");
  }
  if (!in_->bad()) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageError, "reading ", path_, " failed");
}

}  // namespace sluice::cli
