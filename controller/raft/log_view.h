// The log as a core sees it: the durable entries of a LogReader and, after
// them, those that are not durable yet, kept here.
#pragma once

#include <deque>
#include <optional>
#include <vector>

#include "controller/raft/log_reader.h"

namespace sluice::raft {

// Invariants: indexes contiguous; terms never fall; entries >= unstable_first
// are in memory. Terms of all entries are known without I/O.
class LogView {
 public:
  LogView(const LogReader& stable, const StableState& state);

  LogIndex first_index() const { return first_index_; }
  LogIndex last_index() const { return last_index_; }
  Term last_term() const { return *TermAt(last_index_); }
  // Of first_index - 1 .. last_index; else nullopt.
  std::optional<Term> TermAt(LogIndex index) const;
  bool Matches(LogIndex index, Term term) const {
    return TermAt(index) == term;
  }
  // The last index <= `index` whose term is <= `term`; at worst
  // first_index - 1.
  LogIndex LastAtOrBelow(LogIndex index, Term term) const;

  // Entries follow last_index.
  void Append(const Entry& entry);
  // Drops `from` and all after.
  void TruncateFrom(LogIndex from);
  // How often that was done: for inspection.
  uint64_t truncations() const { return truncations_; }

  absl::StatusOr<std::vector<Entry>> Read(LogIndex from, LogIndex end,
                                          int entries_max,
                                          size_t bytes_max) const;

  // What the writer has not been given yet, in order: once.
  bool HasUnwritten() const;
  std::optional<LogIndex> TakeTruncation();
  std::vector<Entry> TakeUnwritten();
  // Entries up to here need not be kept in memory.
  void StableTo(LogIndex index);

 private:
  const LogReader& stable_;
  LogIndex first_index_;
  LogIndex last_index_;
  Term base_term_;
  std::vector<TermStart> term_starts_;
  std::deque<Entry> unstable_;  // [unstable_first_, last_index_]
  LogIndex unstable_first_;
  LogIndex unwritten_first_;  // handed out below this
  std::optional<LogIndex> truncation_;
  uint64_t truncations_ = 0;
};

}  // namespace sluice::raft
