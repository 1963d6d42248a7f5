// How long a directory's syncs take, and how long the oldest that has not ended
// has been under way: what a hang is seen by.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "common/env/clock.h"

namespace sluice {

// Asked() may be called on any thread; Begin and the two ends on the sync
// thread, which does one piece of work at a time; Take and oldest_us on any
// thread. A piece that begins covers all that was asked for before; of what
// was asked a moment later the time counts as soon as its own task has its
// turn, which gives the time with it (AskedAt).
class SyncWatch {
 public:
  struct Latency {
    int64_t samples = 0;
    int64_t total_us = 0;
    int64_t mean_us() const { return samples == 0 ? 0 : total_us / samples; }
  };

  explicit SyncWatch(const Clock* clock) : clock_(clock) {}

  int64_t Asked() {
    const int64_t now_us = clock_->MonoMicros();
    AskedAt(now_us);
    return now_us;
  }
  void AskedAt(int64_t asked_us) {
    int64_t known_us = waiting_since_us_.load();
    while ((known_us == kNone || known_us > asked_us) &&
           !waiting_since_us_.compare_exchange_weak(known_us, asked_us)) {
    }
  }
  void Begin() { running_since_us_.store(waiting_since_us_.exchange(kNone)); }
  // It was a sync: it counts from when the first of those that it covers was
  // asked for.
  void EndSync() {
    const int64_t since_us = running_since_us_.exchange(kNone);
    if (since_us == kNone) return;
    total_us_.fetch_add(clock_->MonoMicros() - since_us);
    samples_.fetch_add(1);
  }
  void EndOther() { running_since_us_.store(kNone); }

  // What has ended since the call before; one caller.
  Latency Take() {
    const int64_t samples = samples_.load() - samples_taken_;
    const int64_t total_us = total_us_.load() - total_us_taken_;
    samples_taken_ += samples;
    total_us_taken_ += total_us;
    return {samples, total_us};
  }
  // 0: none is asked for or under way.
  int64_t oldest_us() const {
    int64_t since_us = kNone;
    for (const int64_t one_us :
         {waiting_since_us_.load(), running_since_us_.load()}) {
      if (one_us != kNone && (since_us == kNone || one_us < since_us)) {
        since_us = one_us;
      }
    }
    if (since_us == kNone) return 0;
    return std::max<int64_t>(clock_->MonoMicros() - since_us, 1);
  }
  int64_t samples() const { return samples_.load(); }
  int64_t total_us() const { return total_us_.load(); }

 private:
  static constexpr int64_t kNone = INT64_MIN;

  const Clock* const clock_;
  std::atomic<int64_t> waiting_since_us_{kNone};
  std::atomic<int64_t> running_since_us_{kNone};
  std::atomic<int64_t> samples_{0};
  std::atomic<int64_t> total_us_{0};
  int64_t samples_taken_ = 0;
  int64_t total_us_taken_ = 0;
};

}  // namespace sluice
