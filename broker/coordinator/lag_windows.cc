#include "broker/coordinator/lag_windows.h"

#include <algorithm>

namespace sluice::coordinator {

void LagWindows::NoteCommit(const offsets::OffsetKey& key, Offset offset,
                            int64_t now_ms) {
  auto found = windows_.find(key);
  if (found == windows_.end()) {
    if (windows_.size() >= kWindowsMax) return;
    found = windows_.emplace(key, Window()).first;
    ++watches_[key.partition].windows;
  }
  found->second.last = offset;
  const Watch& watch = watches_.at(key.partition);
  if (watch.high_watermarks.empty()) return;
  const int64_t lag =
      std::max<int64_t>(watch.high_watermarks.back().offset - offset, 0);
  found->second.commits.Add({offset, lag, now_ms});
}

void LagWindows::NoteHighWatermark(const TopicPartition& tp,
                                   Offset high_watermark, int64_t now_ms) {
  const auto found = watches_.find(tp);
  if (found == watches_.end()) return;
  auto& known = found->second.high_watermarks;
  known.push_back({high_watermark, now_ms});
  if (known.size() > kHighWatermarksMax) known.pop_front();
}

void LagWindows::Forget(const offsets::OffsetKey& key) {
  if (windows_.erase(key) == 0) return;
  const auto watch = watches_.find(key.partition);
  if (--watch->second.windows == 0) watches_.erase(watch);
}

void LagWindows::Clear() {
  windows_.clear();
  watches_.clear();
}

std::vector<TopicPartition> LagWindows::Watched() const {
  std::vector<TopicPartition> out;
  for (const auto& [tp, watch] : watches_) out.push_back(tp);
  return out;
}

std::optional<offsets::LagState> LagWindows::StateOf(
    const offsets::OffsetKey& key, int64_t now_ms) const {
  const auto found = windows_.find(key);
  if (found == windows_.end() || found->second.commits.samples().size() < 2) {
    return std::nullopt;
  }
  const auto& known = watches_.at(key.partition).high_watermarks;
  const int64_t lag_now =
      std::max<int64_t>(known.back().offset - found->second.last, 0);
  std::vector<Offset> recent;
  for (const auto& sample : known) recent.push_back(sample.offset);
  return offsets::EvaluateLag(found->second.commits, lag_now, recent, now_ms);
}

offsets::LagRates LagWindows::RatesOf(const offsets::OffsetKey& key) const {
  const auto found = windows_.find(key);
  if (found == windows_.end()) return {};
  return offsets::RatesOf(found->second.commits,
                          watches_.at(key.partition).high_watermarks);
}

}  // namespace sluice::coordinator
