// The text of a history (HISTORY.md): one event a line.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "test/check/history.h"

namespace sluice::check {

inline constexpr std::string_view kHistoryTextHeader = "sluice-history 1";
inline constexpr size_t kHistoryLineBytesMax = 1 << 20;
// Longer runs of records are written on several lines.
inline constexpr size_t kHistoryLineRecords = 200;

// Adds what `in` says to `history`: several files are one history, partitions
// with one name are one. INVALID_REQUEST names `file` and the line that is
// wrong; what came before it has then been added.
absl::Status ReadHistory(std::istream& in, std::string_view file,
                         History* history);

// Reading it gives an equal history. UNKNOWN when `out` fails.
absl::Status WriteHistory(const History& history, std::ostream& out);

}  // namespace sluice::check
