// In what order the results of one produce stream may leave.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "common/base/ids.h"
#include "common/env/executor.h"

namespace sluice {

// A line for each partition: results leave in the order they were entered,
// whatever order they come in; partitions do not wait for each other. Pure; one
// executor. Holds what has come and waits for its turn: no more than its owner
// has in flight.
class AnswerOrder {
 public:
  // The topic as it was asked for (name or id), and the partition.
  using Key = std::pair<std::string, PartitionIndex>;

 private:
  struct Line {
    uint64_t first = 0;          // the number of the front
    std::deque<Task> results;    // null: has not come yet
  };
  using Lines = std::map<Key, Line>;

 public:
  // A place in a line, for one Come.
  class Ticket {
   private:
    friend class AnswerOrder;
    Ticket(Lines::iterator line, uint64_t number)
        : line_(line), number_(number) {}
    Lines::iterator line_;
    uint64_t number_;
  };

  Ticket Enter(Key key);
  // The result is here: runs `leave` in its turn, perhaps now, and those that
  // waited for it. `leave` must not call this object.
  void Come(Ticket ticket, Task leave);

  bool empty() const { return lines_.empty(); }

 private:
  Lines lines_;
};

}  // namespace sluice
