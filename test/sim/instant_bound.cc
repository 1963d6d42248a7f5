#include "test/sim/instant_bound.h"

#include <algorithm>
#include <cstdio>

#include "common/base/str_cat.h"

namespace sluice::sim {

bool InstantBound::OnEvent(int64_t now_us, NodeId ran) {
  if (now_us != now_us_) {
    now_us_ = now_us;
    events_ = 0;
    shown_.clear();
    note_.clear();
  }
  ++events_;
  most_ = std::max(most_, events_);
  if (!wants_notes()) return false;
  shown_.push_back(
      StrCat(ran == kNoNode ? "nobody's" : StrCat("node ", ran), note_));
  if (shown_.size() > kEventsShown) shown_.pop_front();
  note_.clear();
  return events_ == events_max_ + 1;
}

std::string InstantBound::ToString() const {
  char at[32];
  std::snprintf(at, sizeof at, "%.6f", static_cast<double>(now_us_) / 1e6);
  std::string text = StrCat("LIVELOCK: more than ", events_max_, " events at ",
                            std::string_view(at), " s, the last:");
  for (const std::string& event : shown_) text += StrCat(" [", event, "]");
  return text;
}

}  // namespace sluice::sim
