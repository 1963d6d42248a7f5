// Notices that virtual time stands still: events that make events, for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "common/base/ids.h"

namespace sluice::sim {

class InstantBound {
 public:
  // A process that slept through a run and hears all of it at once has some
  // thousand.
  static constexpr int64_t kEventsMax = 1'000'000;
  static constexpr size_t kEventsShown = 30;

  explicit InstantBound(int64_t events_max = kEventsMax)
      : events_max_(events_max) {}

  // Behind each event. True, once: that was one more than there may be in one
  // instant.
  bool OnEvent(int64_t now_us, NodeId ran);
  // What the event that runs now does is worth a line: these may be the last.
  bool wants_notes() const {
    return events_ + static_cast<int64_t>(kEventsShown) >= events_max_;
  }
  void Note(std::string line) { note_ += "; " + std::move(line); }
  // "LIVELOCK: more than 1000000 events at 12.345678 s, the last: node 3; ...".
  std::string ToString() const;
  // The most that one instant had.
  int64_t most() const { return most_; }

 private:
  const int64_t events_max_;
  int64_t now_us_ = -1;
  int64_t events_ = 0;  // in this instant
  int64_t most_ = 0;
  std::string note_;               // of the event that runs
  std::deque<std::string> shown_;  // the last events
};

}  // namespace sluice::sim
