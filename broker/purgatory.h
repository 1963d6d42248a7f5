// Produces that wait for the high watermark (or for the leader's own
// position) to pass their batches; trims that wait for the log start.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/base/ids.h"

namespace sluice {

// Waits of one partition, in the order of their offsets; lives on its shard.
// Bounded by the broker's budget of produce bytes in flight.
class Purgatory {
 public:
  enum class End {
    kReached,      // the position passed the offset
    kTimedOut,     // the outcome is unknown
    kInterrupted,  // leadership or the replica went away: likewise unknown
    kRefused,      // it was said that the position will not get there
  };
  using Done = absl::AnyInvocable<void(End)>;

  // `next` is the offset after the waiting batches.
  void Add(Offset next, int64_t deadline_us, Done done) {
    waits_.emplace(next, Wait{deadline_us, std::move(done)});
  }

  // Completes all that wait for at most `position`.
  void Advance(Offset position) {
    while (!waits_.empty() && waits_.begin()->first <= position) {
      Finish(waits_.begin(), End::kReached);
    }
  }

  // Ends all that wait for at most `position`, which is not reached.
  void Refuse(Offset position) {
    while (!waits_.empty() && waits_.begin()->first <= position) {
      Finish(waits_.begin(), End::kRefused);
    }
  }

  // Completes those whose time is over; returns the next deadline, INT64_MAX
  // for none.
  int64_t Expire(int64_t now_us) {
    std::vector<Done> expired;
    int64_t next_us = INT64_MAX;
    for (auto it = waits_.begin(); it != waits_.end();) {
      if (it->second.deadline_us <= now_us) {
        expired.push_back(std::move(it->second.done));
        it = waits_.erase(it);
      } else {
        next_us = std::min(next_us, it->second.deadline_us);
        ++it;
      }
    }
    for (Done& done : expired) done(End::kTimedOut);
    return next_us;
  }

  void Interrupt() {
    std::multimap<Offset, Wait> waits;
    waits.swap(waits_);
    for (auto& [next, wait] : waits) wait.done(End::kInterrupted);
  }

  bool empty() const { return waits_.empty(); }
  size_t size() const { return waits_.size(); }

 private:
  struct Wait {
    int64_t deadline_us;
    Done done;
  };

  void Finish(std::multimap<Offset, Wait>::iterator it, End end) {
    Done done = std::move(it->second.done);
    waits_.erase(it);
    done(end);
  }

  std::multimap<Offset, Wait> waits_;
};

}  // namespace sluice
