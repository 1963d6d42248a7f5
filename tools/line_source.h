// Lines of a file or of stdin.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice::cli {

// Used by one thread. Lines end at '\n', which is no part of them; any other
// byte is.
class LineSource {
 public:
  // No broker takes a record of this size: what has no '\n' for so long is
  // not read into memory without end.
  static constexpr size_t kLineBytesMax = 16 << 20;

  // `path` "": stdin. INVALID_REQUEST names a file that is missing, is a
  // directory, or cannot be read.
  static absl::StatusOr<LineSource> Open(const std::string& path);

  // False at the end, or when reading failed or a line is longer than
  // kLineBytesMax (MESSAGE_TOO_LARGE): ask status() then.
  bool Next(std::string& line);
  absl::Status status() const;

 private:
  LineSource(std::string path, std::unique_ptr<std::ifstream> file);

  std::string path_;
  std::unique_ptr<std::ifstream> file_;  // null: stdin
  std::istream* in_;
  int64_t lines_ = 0;
  bool too_long_ = false;
};

}  // namespace sluice::cli
