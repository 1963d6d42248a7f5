#include "tools/seek_plan.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "tools/time_text.h"

namespace sluice::cli {

absl::StatusOr<SeekTarget> SeekTargetOf(const std::string& to,
                                        int64_t now_ms) {
  SeekTarget target;
  if (to == "earliest") return target;
  if (to == "latest") {
    target.kind = SeekTarget::Kind::kLatest;
    return target;
  }
  if (!to.empty() && to[0] == '@') {
    const auto time_ms = TimeMsOf(to.substr(1), now_ms);
    if (!time_ms.ok()) return time_ms.status();
    target.kind = SeekTarget::Kind::kTime;
    target.number = *time_ms;
    return target;
  }
  target.kind = SeekTarget::Kind::kOffset;
  if (absl::SimpleAtoi(to, &target.number) && target.number >= 0) {
    return target;
  }
  return MakeError(ErrorCode::kInvalidRequest, "--to ", to,
                   "; use earliest, latest, an offset, or @TIME (@-2h, "
                   "@2026-11-26T10:00:00Z)");
}

absl::StatusOr<std::map<NamedPartition, Offset>> OffsetsFromCsv(
    const std::string& text) {
  std::map<NamedPartition, Offset> offsets;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) {
      line.remove_suffix(1);
    }
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string> fields = absl::StrSplit(line, ',');
    int32_t partition = 0;
    int64_t offset = 0;
    if (fields.size() != 3 || fields[0].empty() ||
        !absl::SimpleAtoi(fields[1], &partition) || partition < 0 ||
        !absl::SimpleAtoi(fields[2], &offset) || offset < 0) {
      return MakeError(ErrorCode::kInvalidRequest, "line ", number, ", '",
                       StdView(line),
                       "', is not TOPIC,PARTITION,OFFSET as in orders,0,1234");
    }
    const NamedPartition tp{fields[0], PartitionIndex(partition)};
    if (!offsets.emplace(tp, Offset(offset)).second) {
      return MakeError(ErrorCode::kInvalidRequest, "line ", number, ": ", tp,
                       " was there before; name each partition once");
    }
    if (offsets.size() > kSeekPartitionsMax) {
      return MakeError(ErrorCode::kInvalidRequest, "more than ",
                       kSeekPartitionsMax,
                       " partitions; seek them in several calls");
    }
  }
  return offsets;
}

std::string CsvOf(const std::map<NamedPartition, Offset>& offsets) {
  std::string text;
  for (const auto& [tp, offset] : offsets) {
    text += StrCat(tp.topic, ",", tp.partition, ",", offset, "\n");
  }
  return text;
}

namespace {

SeekRow RowTo(const NamedPartition& tp, const PartitionFacts& facts,
              Offset wanted) {
  SeekRow row{tp, facts.committed, wanted, ""};
  if (wanted < facts.earliest) {
    row.to = facts.earliest;
    row.note = StrCat("the log begins at ", facts.earliest);
  } else if (wanted > facts.latest) {
    row.to = facts.latest;
    row.note = StrCat("the log ends at ", facts.latest);
  }
  return row;
}

// Of numbers that may be as far apart as int64 allows.
Offset Moved(Offset from, int64_t by) {
  int64_t to = 0;
  if (__builtin_add_overflow(from.value(), by, &to)) return Offset(INT64_MAX);
  return Offset(std::max<int64_t>(0, to));
}

}  // namespace

absl::StatusOr<std::vector<SeekRow>> PlanSeek(
    const SeekTarget& target,
    const std::map<NamedPartition, PartitionFacts>& facts) {
  std::vector<SeekRow> rows;
  for (const auto& [tp, partition] : facts) {
    switch (target.kind) {
      case SeekTarget::Kind::kEarliest:
        rows.push_back(RowTo(tp, partition, partition.earliest));
        break;
      case SeekTarget::Kind::kLatest:
        rows.push_back(RowTo(tp, partition, partition.latest));
        break;
      case SeekTarget::Kind::kOffset:
        rows.push_back(RowTo(tp, partition, Offset(target.number)));
        break;
      case SeekTarget::Kind::kTime:
        rows.push_back(
            RowTo(tp, partition, partition.at_time.value_or(partition.latest)));
        if (!partition.at_time.has_value()) {
          rows.back().note = "no record so young: the end";
        }
        break;
      case SeekTarget::Kind::kShift:
        if (!partition.committed.has_value()) {
          return MakeError(ErrorCode::kInvalidRequest, tp,
                           " has no committed offset to shift; use --to");
        }
        rows.push_back(
            RowTo(tp, partition, Moved(*partition.committed, target.number)));
        break;
      case SeekTarget::Kind::kOffsets:
        rows.push_back(RowTo(tp, partition, target.offsets.at(tp)));
        break;
    }
  }
  return rows;
}

}  // namespace sluice::cli
