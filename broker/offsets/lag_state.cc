#include "broker/offsets/lag_state.h"

#include <algorithm>

namespace sluice::offsets {
namespace {

using Samples = std::deque<CommitSample>;

// Silent for longer than all its last commits took.
bool Stopped(const Samples& samples, int64_t now_ms) {
  const int64_t span_ms = samples.back().time_ms - samples.front().time_ms;
  return now_ms - samples.back().time_ms > span_ms;
}

bool RecentlyCaughtUp(const Samples& samples,
                      const std::vector<Offset>& high_watermarks) {
  return std::any_of(
      high_watermarks.begin(), high_watermarks.end(),
      [&samples](Offset hw) { return hw <= samples.back().offset; });
}

// Below where it has been. After a rebalance a member may commit a little less
// than the one before it: that counts until it is made good.
bool Rewound(const Samples& samples) {
  const auto furthest = std::max_element(
      samples.begin(), samples.end(),
      [](const auto& a, const auto& b) { return a.offset < b.offset; });
  return samples.back().offset < furthest->offset;
}

bool EverCaughtUp(const Samples& samples) {
  return std::any_of(samples.begin(), samples.end(),
                     [](const auto& s) { return s.lag_records <= 0; });
}

bool Stalled(const Samples& samples) {
  return std::all_of(samples.begin(), samples.end(), [&samples](const auto& s) {
    return s.offset == samples.front().offset;
  });
}

bool NeverGains(const Samples& samples) {
  return std::is_sorted(samples.begin(), samples.end(),
                        [](const auto& a, const auto& b) {
                          return a.lag_records < b.lag_records;
                        });
}

}  // namespace

std::string_view NameOf(LagState state) {
  switch (state) {
    case LagState::kOk: return "OK";
    case LagState::kWarn: return "WARN";
    case LagState::kStall: return "STALL";
    case LagState::kStop: return "STOP";
    case LagState::kRewind: return "REWIND";
  }
  return "?";
}

void CommitWindow::Add(const CommitSample& sample) {
  // The oldest of a run stays where it is, so that a run of any length moves
  // on.
  if (samples_.size() >= 2 &&
      sample.time_ms - samples_[samples_.size() - 2].time_ms < kDistanceMs) {
    samples_.back() = sample;
    return;
  }
  samples_.push_back(sample);
  if (samples_.size() > kSamples) samples_.pop_front();
}

LagState EvaluateLag(const CommitWindow& window, int64_t lag_records_now,
                     const std::vector<Offset>& recent_high_watermarks,
                     int64_t now_ms) {
  const Samples& samples = window.samples();
  // One commit spans no time: nothing can be said.
  if (samples.size() < 2 || lag_records_now <= 0) return LagState::kOk;
  if (Stopped(samples, now_ms) &&
      !RecentlyCaughtUp(samples, recent_high_watermarks)) {
    return LagState::kStop;
  }
  if (Rewound(samples)) return LagState::kRewind;
  if (EverCaughtUp(samples)) return LagState::kOk;
  if (Stalled(samples)) return LagState::kStall;
  return NeverGains(samples) ? LagState::kWarn : LagState::kOk;
}

}  // namespace sluice::offsets
