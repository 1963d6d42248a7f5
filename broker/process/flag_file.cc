#include "broker/process/flag_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

constexpr std::string_view kFlagFile = "flagfile";
constexpr std::string_view kBlank = " \t\r";

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// Without one or two dashes; nullopt: there are none.
std::optional<std::string_view> WithoutDashes(std::string_view text) {
  if (!text.starts_with('-')) return std::nullopt;
  text.remove_prefix(text.starts_with("--") ? 2 : 1);
  return text;
}

class Expansion {
 public:
  explicit Expansion(const FlagKindOf& kind_of) : kind_of_(kind_of) {}

  absl::Status AddFiles(std::string_view paths, int depth) {
    while (!paths.empty()) {
      const size_t comma = paths.find(',');
      const std::string_view path = Trim(paths.substr(0, comma));
      if (!path.empty()) RETURN_IF_ERROR(AddFile(std::string(path), depth));
      if (comma == std::string_view::npos) break;
      paths.remove_prefix(comma + 1);
    }
    return absl::OkStatus();
  }
  void Add(std::string argument) { out_.push_back(std::move(argument)); }
  std::vector<std::string> Take() { return std::move(out_); }

 private:
  absl::Status AddFile(const std::string& path, int depth) {
    if (depth > kFlagFilesDeepMax) {
      return MakeError(ErrorCode::kInvalidRequest, "--flagfile=", path,
                       ": more than ", kFlagFilesDeepMax,
                       " files name each other; does one name itself?");
    }
    std::ifstream file(path);
    std::string line;
    size_t bytes = 0;
    int number = 0;
    while (std::getline(file, line)) {
      bytes += line.size() + 1;
      if (bytes > kFlagFileBytesMax) {
        return MakeError(ErrorCode::kInvalidRequest, "--flagfile=", path,
                         ": larger than ", kFlagFileBytesMax,
                         " bytes; is that the right file?");
      }
      RETURN_IF_ERROR(AddLine(Trim(line), path, ++number, depth));
    }
    // A directory opens, and cannot be read.
    if (file.eof() && !file.bad()) return absl::OkStatus();
    return MakeError(ErrorCode::kInvalidRequest, "--flagfile=", path,
                     ": cannot be read: ", std::strerror(errno));
  }

  absl::Status AddLine(std::string_view line, const std::string& path,
                       int number, int depth) {
    if (line.empty() || line.starts_with('#')) return absl::OkStatus();
    const auto refused = [&](const auto&... why) {
      return MakeError(ErrorCode::kInvalidRequest, path, ":", number, ": ",
                       why...);
    };
    const auto flag = WithoutDashes(line);
    if (!flag.has_value()) {
      return refused("'", line.substr(0, kShownMax),
                     "' is no flag: a line is --name=value");
    }
    const size_t equals = flag->find('=');
    const std::string_view name = flag->substr(0, equals);
    const bool has_value = equals != std::string_view::npos;
    if (name == kFlagFile && has_value) {
      return AddFiles(flag->substr(equals + 1), depth + 1);
    }
    const auto kind = kind_of_(name);
    const bool negated =
        name.starts_with("no") && kind_of_(name.substr(2)) == FlagKind::kBool;
    if (!kind.has_value() && !negated) {
      return refused("there is no flag --", name.substr(0, kShownMax),
                     "; see sluiced --help");
    }
    if (kind == FlagKind::kOther && !has_value) {
      return refused("--", name, " has no value; write --", name, "=value");
    }
    Add(std::string(line));
    return absl::OkStatus();
  }

  static constexpr size_t kShownMax = 80;

  const FlagKindOf& kind_of_;
  std::vector<std::string> out_;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> ExpandFlagFiles(
    const std::vector<std::string>& arguments, const FlagKindOf& kind_of) {
  Expansion expansion(kind_of);
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto flag = WithoutDashes(arguments[i]);
    const bool is_last = i + 1 == arguments.size();
    if (flag == kFlagFile && !is_last) {
      RETURN_IF_ERROR(expansion.AddFiles(arguments[++i], 1));
    } else if (flag.has_value() && flag->starts_with("flagfile=")) {
      RETURN_IF_ERROR(
          expansion.AddFiles(flag->substr(kFlagFile.size() + 1), 1));
    } else {
      expansion.Add(arguments[i]);
    }
  }
  return expansion.Take();
}

}  // namespace sluice
