// Where `sluice group seek` moves a group's offsets: pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/client_types.h"

namespace sluice::cli {

// As many as one call of CommitOffsets takes.
inline constexpr size_t kSeekPartitionsMax = 10'000;

struct SeekTarget {
  enum class Kind { kEarliest, kLatest, kOffset, kTime, kShift, kOffsets };
  Kind kind = Kind::kEarliest;
  int64_t number = 0;  // an offset, milliseconds since 1970, or a distance
  std::map<NamedPartition, Offset> offsets;  // kOffsets
};

// "earliest", "latest", an offset, or @TIME (tools/time_text.h).
absl::StatusOr<SeekTarget> SeekTargetOf(const std::string& to, int64_t now_ms);

// Lines of TOPIC,PARTITION,OFFSET; empty ones and those that begin with # are
// skipped. INVALID_REQUEST names the line.
absl::StatusOr<std::map<NamedPartition, Offset>> OffsetsFromCsv(
    const std::string& text);
std::string CsvOf(const std::map<NamedPartition, Offset>& offsets);

struct PartitionFacts {
  std::optional<Offset> committed;
  Offset earliest;
  Offset latest;
  std::optional<Offset> at_time;  // kTime; nullopt: nothing so young
};

struct SeekRow {
  NamedPartition tp;
  std::optional<Offset> from;
  Offset to;
  std::string note;  // "": as asked
};

// INVALID_REQUEST for a distance from nothing. What lies outside of a log is cut
// to its ends, and says so.
absl::StatusOr<std::vector<SeekRow>> PlanSeek(
    const SeekTarget& target,
    const std::map<NamedPartition, PartitionFacts>& facts);

}  // namespace sluice::cli
