#include "common/base/epoch_history.h"

#include <algorithm>

namespace sluice {

std::optional<EpochHistory> EpochHistory::From(std::vector<EpochStart> starts) {
  for (size_t i = 0; i < starts.size(); ++i) {
    if (starts[i].epoch.value() < 0 || starts[i].start.value() < 0) {
      return std::nullopt;
    }
    if (i > 0 && (starts[i].epoch <= starts[i - 1].epoch ||
                  starts[i].start < starts[i - 1].start)) {
      return std::nullopt;
    }
  }
  EpochHistory history;
  history.starts_ = std::move(starts);
  return history;
}

bool EpochHistory::Assign(LeaderEpoch epoch, Offset start) {
  if (!starts_.empty() &&
      (epoch <= starts_.back().epoch || start < starts_.back().start)) {
    return false;
  }
  starts_.push_back({epoch, start});
  return true;
}

void EpochHistory::TruncateTo(Offset end) {
  while (!starts_.empty() && starts_.back().start >= end) starts_.pop_back();
}

void EpochHistory::TrimTo(Offset log_start) {
  size_t covered = 0;
  while (covered + 1 < starts_.size() && starts_[covered].start < log_start &&
         starts_[covered + 1].start < log_start) {
    ++covered;
  }
  starts_.erase(starts_.begin(),
                starts_.begin() + static_cast<ptrdiff_t>(covered));
  if (!starts_.empty() && starts_.front().start < log_start) {
    starts_.front().start = log_start;
  }
}

EpochEnd EpochHistory::EndOf(LeaderEpoch epoch, Offset log_end) const {
  const auto next = std::upper_bound(
      starts_.begin(), starts_.end(), epoch,
      [](LeaderEpoch e, const EpochStart& s) { return e < s.epoch; });
  if (next == starts_.begin()) return {};
  const Offset end = next == starts_.end() ? log_end : next->start;
  return {std::prev(next)->epoch, end};
}

LeaderEpoch EpochHistory::EpochAt(Offset offset) const {
  const auto next = std::upper_bound(
      starts_.begin(), starts_.end(), offset,
      [](Offset o, const EpochStart& s) { return o < s.start; });
  return next == starts_.begin() ? kNoLeaderEpoch : std::prev(next)->epoch;
}

LeaderEpoch EpochHistory::last_epoch() const {
  return starts_.empty() ? kNoLeaderEpoch : starts_.back().epoch;
}

}  // namespace sluice
