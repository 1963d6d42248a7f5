// How the parts of the history checker report what they find.
#pragma once

#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "common/base/str_cat.h"
#include "test/check/history_checker.h"

namespace sluice::check {

class HistoryFindings {
 public:
  HistoryFindings(const History& history, const HistoryScope& scope,
                  HistoryVerdict* verdict)
      : history_(history), scope_(scope), verdict_(verdict) {}

  template <class... Facts>
  void Report(Flaw flaw, int32_t partition, const Facts&... facts) {
    if (scope_.given_up.contains(partition) && !HoldsForEver(flaw)) return;
    const auto index = static_cast<size_t>(flaw);
    if (++verdict_->flaws[index] >
        static_cast<int64_t>(HistoryVerdict::kExamplesMax)) {
      return;
    }
    verdict_->examples.push_back(
        StrCat(kFlawNames[index], " ", history_.partitions()[partition], ": ",
               facts...));
  }

  const History& history() const { return history_; }
  const HistoryScope& scope() const { return scope_; }
  HistoryVerdict& verdict() { return *verdict_; }

 private:
  // DIVERGENT: within an epoch, which CheckContents knows.
  static bool HoldsForEver(Flaw flaw) {
    return flaw == Flaw::kPhantom || flaw == Flaw::kTorn ||
           flaw == Flaw::kFailedButRead || flaw == Flaw::kDivergent;
  }

  const History& history_;
  const HistoryScope& scope_;
  HistoryVerdict* const verdict_;
};

// A rising step function: the greatest value put at or below a key.
class Staircase {
 public:
  // `none` below the first step.
  int64_t AtOrBelow(int64_t key, int64_t none) const {
    const auto above = steps_.upper_bound(key);
    return above == steps_.begin() ? none : std::prev(above)->second;
  }
  void Put(int64_t key, int64_t value) {
    if (AtOrBelow(key, value - 1) >= value) return;
    auto it = steps_.lower_bound(key);
    while (it != steps_.end() && it->second <= value) it = steps_.erase(it);
    steps_[key] = value;
  }

 private:
  std::map<int64_t, int64_t> steps_;
};

// What lies where: every flaw but those of CheckTimes.
void CheckContents(HistoryFindings& findings);

// What was known when: STALE, REALTIME, HW-BACK.
void CheckTimes(HistoryFindings& findings);

}  // namespace sluice::check
