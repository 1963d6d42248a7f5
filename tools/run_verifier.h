// The judge of a run: what was sent, what was acknowledged, and whether what
// is in the log agrees.
//
// A run sends the lines of a text, each with its number (from 1, decimal) as
// key and its text as value, in order, to a topic that was empty. Read back,
// each record is one of:
//
//   phantom     never sent like this: the key is no number of a sent line, or
//               the value is not that line's text, or it lies in a partition
//               that the key does not map to. Counts as nothing else.
//   first copy  of its line.
//   duplicated  a further copy of a line: a retry stored it again, which an
//               idempotent producer's never does.
//
// and a line or first copy is
//
//   lost        a line that was acknowledged, and the partition and offset of
//               its acknowledgement do not hold it. A copy elsewhere does not
//               save it: the acknowledgement promised that place.
//   reordered   a first copy whose line is lower than that of a first copy
//               before it in the partition (lines of one partition were sent
//               in rising order), or a record whose offset is not above the
//               one read before it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"

namespace sluice::cli {

struct RunReport {
  int64_t sent = 0;
  int64_t acknowledged = 0;
  int64_t read = 0;  // all records, phantoms and copies too
  int64_t lost = 0;
  int64_t duplicated = 0;
  int64_t reordered = 0;
  int64_t phantom = 0;
  // The first few of what should not be, in words.
  std::vector<std::string> examples;

  // Every line was acknowledged, is stored once and in order, and nothing is
  // made up.
  bool Passed() const {
    return acknowledged == sent && lost == 0 && duplicated == 0 &&
           reordered == 0 && phantom == 0;
  }
};

// Keeps a hash of each line, not the line: 24 bytes a line. Sent and
// Acknowledged may run on two threads, each once a line; Read and Finish on
// one, after both.
class RunVerifier {
 public:
  static constexpr int64_t kLinesMax = 200'000'000;
  static constexpr size_t kExamplesMax = 5;

  // `lines`: how many there will be at most, 0 to kLinesMax.
  RunVerifier(int64_t lines, int32_t partitions);

  static std::string KeyOf(int64_t line) { return std::to_string(line); }

  void Sent(int64_t line, std::string_view text);
  void Acknowledged(int64_t line, PartitionIndex partition, Offset offset);
  // The records of each partition in the order the consumer gave them.
  void Read(PartitionIndex partition, Offset offset,
            const std::optional<std::string_view>& key,
            const std::optional<std::string_view>& value);
  RunReport Finish();

 private:
  struct Line {
    uint64_t hash = 0;
    Offset acknowledged_at = kNoOffset;
    int32_t acknowledged_in = -1;
    bool sent = false;
    bool acknowledged = false;
    bool seen = false;
    bool found = false;  // where it was acknowledged
  };
  struct Partition {
    Offset last_offset = kNoOffset;
    int64_t highest_line = 0;
  };

  // 0: not the key of a line.
  int64_t LineOf(const std::optional<std::string_view>& key) const;
  void Example(std::string text);

  std::vector<Line> lines_;  // by number; [0] is nobody
  std::vector<Partition> partitions_;
  RunReport report_;
};

}  // namespace sluice::cli
