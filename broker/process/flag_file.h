// Flag files, line by line: gflags itself passes over what it does not know in
// them, and a node then runs with a default that nobody asked for.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice {

inline constexpr int kFlagFilesDeepMax = 8;  // one that names another
inline constexpr size_t kFlagFileBytesMax = 1 << 20;

enum class FlagKind { kBool, kOther };
// nullopt: there is no such flag.
using FlagKindOf = std::function<std::optional<FlagKind>(std::string_view)>;

// `arguments` with each "--flagfile=<path>[,<path>...]" replaced by what the
// files hold: one "--name=value" or "--bool" a line; empty lines and those that
// begin with '#' are left out. INVALID_REQUEST names file, line and flag.
absl::StatusOr<std::vector<std::string>> ExpandFlagFiles(
    const std::vector<std::string>& arguments, const FlagKindOf& kind_of);

}  // namespace sluice
