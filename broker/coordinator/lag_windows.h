// What groups committed lately, beside what their partitions' high watermarks
// were: from both follows how each fares (broker/offsets/lag_state.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "broker/offsets/committed_offset.h"
#include "broker/offsets/lag_rates.h"
#include "broker/offsets/lag_state.h"
#include "common/base/ids.h"

namespace sluice::coordinator {

// Of one coordinator, on its shard; in memory alone: a new coordinator knows
// nothing of a group until it has committed twice.
class LagWindows {
 public:
  // Offsets that are watched; those beyond are UNSPECIFIED.
  static constexpr size_t kWindowsMax = 20'000;
  // Of a partition, the newest: with a sample every ten seconds three minutes.
  static constexpr size_t kHighWatermarksMax = 18;

  // A commit counts once a high watermark of its partition is known.
  void NoteCommit(const offsets::OffsetKey& key, Offset offset,
                  int64_t now_ms);
  void NoteHighWatermark(const TopicPartition& tp, Offset high_watermark,
                         int64_t now_ms);
  void Forget(const offsets::OffsetKey& key);
  void Clear();

  bool empty() const { return windows_.empty(); }
  // Partitions that somebody commits.
  std::vector<TopicPartition> Watched() const;
  // nullopt: fewer than two commits seen.
  std::optional<offsets::LagState> StateOf(const offsets::OffsetKey& key,
                                           int64_t now_ms) const;
  offsets::LagRates RatesOf(const offsets::OffsetKey& key) const;

 private:
  struct Watch {
    std::deque<offsets::HighWatermarkSample> high_watermarks;  // oldest first
    size_t windows = 0;
  };
  struct Window {
    offsets::CommitWindow commits;
    Offset last;
  };

  std::map<offsets::OffsetKey, Window> windows_;
  std::map<TopicPartition, Watch> watches_;
};

}  // namespace sluice::coordinator
