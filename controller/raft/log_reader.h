// What a Raft core needs of the durable log.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "controller/raft/types.h"

namespace sluice::raft {

// The first index of a term in the log.
struct TermStart {
  Term term;
  LogIndex first;
  auto operator<=>(const TermStart&) const = default;
};

// The durable state that a core starts from.
struct StableState {
  HardState hard_state;
  // Entries [first_index, last_index] are in the log. base_term is the term
  // of first_index - 1 (of a snapshot's last entry); the empty log is
  // first_index = 1, last_index = 0.
  LogIndex first_index{1};
  Term base_term;
  LogIndex last_index{0};
  // Of the entries, ascending.
  std::vector<TermStart> term_starts;
};

// A core reads only entries whose write was reported as Persisted and that it
// has not truncated since, so a reader may run beside the writer.
class LogReader {
 public:
  virtual ~LogReader() = default;
  // The first entries of [from, end): at most entries_max of bytes_max in all,
  // but at least one; it may be fewer than would fit. An error (corruption,
  // I/O) ends the node: it comes out as Ready::fault.
  virtual absl::StatusOr<std::vector<Entry>> Read(LogIndex from, LogIndex end,
                                                  int entries_max,
                                                  size_t bytes_max) const = 0;
};

}  // namespace sluice::raft
