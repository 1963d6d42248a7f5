#include "tools/run_verifier.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "common/base/invariant.h"
#include "common/base/murmur2.h"
#include "common/base/str_cat.h"

namespace sluice::cli {
namespace {

uint64_t HashOf(std::string_view text) {
  return std::hash<std::string_view>()(text);
}

std::string Where(PartitionIndex partition, Offset offset) {
  return StrCat("partition ", partition, " offset ", offset);
}

}  // namespace

RunVerifier::RunVerifier(int64_t lines, int32_t partitions)
    : lines_(static_cast<size_t>(lines + 1)), partitions_(partitions) {
  INVARIANT(lines >= 0 && lines <= kLinesMax && partitions > 0, lines, " ",
            partitions);
}

void RunVerifier::Sent(int64_t line, std::string_view text) {
  Line& sent = lines_[static_cast<size_t>(line)];
  sent.hash = HashOf(text);
  sent.sent = true;
}

void RunVerifier::Acknowledged(int64_t line, PartitionIndex partition,
                               Offset offset) {
  Line& acknowledged = lines_[static_cast<size_t>(line)];
  acknowledged.acknowledged_in = partition.value();
  acknowledged.acknowledged_at = offset;
  acknowledged.acknowledged = true;
}

int64_t RunVerifier::LineOf(const std::optional<std::string_view>& key) const {
  if (!key.has_value()) return 0;
  int64_t line = 0;
  const auto [end, error] =
      std::from_chars(key->data(), key->data() + key->size(), line);
  if (error != std::errc() || end != key->data() + key->size()) return 0;
  if (line < 1 || line >= static_cast<int64_t>(lines_.size())) return 0;
  // "007" is not what was sent.
  return lines_[static_cast<size_t>(line)].sent && KeyOf(line) == *key ? line
                                                                       : 0;
}

void RunVerifier::Read(PartitionIndex partition, Offset offset,
                       const std::optional<std::string_view>& key,
                       const std::optional<std::string_view>& value) {
  ++report_.read;
  const int64_t number = LineOf(key);
  const auto count = static_cast<int32_t>(partitions_.size());
  if (number == 0 || !value.has_value() || partition.value() < 0 ||
      partition.value() >= count ||
      HashOf(*value) != lines_[static_cast<size_t>(number)].hash ||
      PartitionForKey(*key, count) != partition) {
    ++report_.phantom;
    Example(StrCat("phantom: ", Where(partition, offset), " has key '",
                   key.value_or("(null)").substr(0, 40), "' and a value of ",
                   value.value_or("").size(), " bytes that no line is"));
    return;
  }
  Line& line = lines_[static_cast<size_t>(number)];
  Partition& in = partitions_[static_cast<size_t>(partition.value())];
  const bool backwards = offset <= in.last_offset;
  in.last_offset = std::max(in.last_offset, offset);
  line.found |= line.acknowledged_in == partition.value() &&
                line.acknowledged_at == offset;
  const bool first = !line.seen;
  line.seen = true;
  if (!first) ++report_.duplicated;
  if (backwards || (first && number < in.highest_line)) {
    ++report_.reordered;
    Example(StrCat("reordered: ", Where(partition, offset), " holds line ",
                   number, " after line ", in.highest_line));
  }
  if (first) in.highest_line = std::max(in.highest_line, number);
}

RunReport RunVerifier::Finish() {
  for (size_t number = 1; number < lines_.size(); ++number) {
    const Line& line = lines_[number];
    report_.sent += line.sent;
    report_.acknowledged += line.acknowledged;
    if (!line.acknowledged || line.found) continue;
    ++report_.lost;
    Example(StrCat("lost: line ", number, ", acknowledged at ",
                   Where(PartitionIndex(line.acknowledged_in),
                         line.acknowledged_at),
                   line.seen ? ", was read elsewhere only" : ", was not read"));
  }
  return report_;
}

void RunVerifier::Example(std::string text) {
  if (report_.examples.size() < kExamplesMax) {
    report_.examples.push_back(std::move(text));
  }
}

}  // namespace sluice::cli
