#include "controller/raft/log_view.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice::raft {

LogView::LogView(const LogReader& stable, const StableState& state)
    : stable_(stable),
      first_index_(state.first_index),
      last_index_(state.last_index),
      base_term_(state.base_term),
      term_starts_(state.term_starts),
      unstable_first_(state.last_index.Next()),
      unwritten_first_(state.last_index.Next()) {
  INVARIANT(last_index_ >= first_index_ - 1, "last=", last_index_,
            " first=", first_index_);
  Term term = base_term_ - 1;
  LogIndex index = first_index_ - 1;
  for (const TermStart& start : term_starts_) {
    INVARIANT(start.term > term && start.first > index &&
                  start.first <= last_index_,
              "term ", start.term, " starts at ", start.first);
    term = start.term;
    index = start.first;
  }
  INVARIANT(last_index_ < first_index_ ||
                (!term_starts_.empty() &&
                 term_starts_.front().first == first_index_),
            "the first entry has no term");
}

std::optional<Term> LogView::TermAt(LogIndex index) const {
  if (index == first_index_ - 1) return base_term_;
  if (index < first_index_ || index > last_index_) return std::nullopt;
  const auto after = std::upper_bound(
      term_starts_.begin(), term_starts_.end(), index,
      [](LogIndex i, const TermStart& start) { return i < start.first; });
  return std::prev(after)->term;
}

LogIndex LogView::LastAtOrBelow(LogIndex index, Term term) const {
  LogIndex end = std::min(index, last_index_);  // inclusive
  for (auto it = term_starts_.rbegin(); it != term_starts_.rend(); ++it) {
    if (it->first > end) continue;
    if (it->term <= term) return end;
    end = it->first - 1;
  }
  return std::max(std::min(end, index), first_index_ - 1);
}

void LogView::Append(const Entry& entry) {
  INVARIANT(entry.index == last_index_.Next(), "entry ", entry.index,
            " after ", last_index_);
  INVARIANT(entry.term >= last_term(), "RA4 term ", entry.term, " after ",
            last_term(), " at ", entry.index);
  if (last_index_ < first_index_ || entry.term > last_term()) {
    term_starts_.push_back({entry.term, entry.index});
  }
  unstable_.push_back(entry);
  last_index_ = entry.index;
}

void LogView::TruncateFrom(LogIndex from) {
  INVARIANT(from >= first_index_ && from <= last_index_, "truncate from ",
            from, " in ", first_index_, "..", last_index_);
  ++truncations_;
  if (from < unwritten_first_) {
    truncation_ = std::min(truncation_.value_or(from), from);
    unwritten_first_ = from;
  }
  if (from <= unstable_first_) {
    unstable_.clear();
    unstable_first_ = from;
  } else {
    unstable_.resize(from - unstable_first_);
  }
  while (!term_starts_.empty() && term_starts_.back().first >= from) {
    term_starts_.pop_back();
  }
  last_index_ = from - 1;
}

absl::StatusOr<std::vector<Entry>> LogView::Read(LogIndex from, LogIndex end,
                                                 int entries_max,
                                                 size_t bytes_max) const {
  INVARIANT(from >= first_index_ && from < end && end <= last_index_.Next(),
            "read ", from, "..", end);
  std::vector<Entry> result;
  size_t bytes = 0;
  if (from < unstable_first_) {
    const LogIndex stable_end = std::min(end, unstable_first_);
    auto read = stable_.Read(from, stable_end, entries_max, bytes_max);
    if (!read.ok()) return read.status();
    result = *std::move(read);
    LogIndex expected = from;
    for (const Entry& entry : result) {
      if (entry.index != expected || entry.term != TermAt(expected)) {
        return MakeError(ErrorCode::kStorageError, "raft log: entry ",
                         expected, " reads as ", entry.index, " of term ",
                         entry.term, "; the log is damaged, do not use it");
      }
      expected = expected.Next();
      bytes += entry.Bytes();
    }
    if (result.empty()) {
      return MakeError(ErrorCode::kStorageError, "raft log: entry ", from,
                       " is missing; the log is damaged, do not use it");
    }
    if (expected < stable_end) return result;
    from = expected;
  }
  for (; from < end; from = from.Next()) {
    const Entry& entry = unstable_[from - unstable_first_];
    if (!result.empty() &&
        (bytes + entry.Bytes() > bytes_max ||
         result.size() >= static_cast<size_t>(entries_max))) {
      break;
    }
    bytes += entry.Bytes();
    result.push_back(entry);
  }
  return result;
}

bool LogView::HasUnwritten() const {
  return truncation_.has_value() || unwritten_first_ <= last_index_;
}

std::optional<LogIndex> LogView::TakeTruncation() {
  return std::exchange(truncation_, std::nullopt);
}

std::vector<Entry> LogView::TakeUnwritten() {
  std::vector<Entry> result(
      unstable_.begin() + (unwritten_first_ - unstable_first_),
      unstable_.end());
  unwritten_first_ = last_index_.Next();
  return result;
}

void LogView::StableTo(LogIndex index) {
  INVARIANT(index < unwritten_first_, "stable to ", index,
            " but written below ", unwritten_first_);
  while (!unstable_.empty() && unstable_.front().index <= index) {
    unstable_.pop_front();
    unstable_first_ += 1;
  }
}

}  // namespace sluice::raft
