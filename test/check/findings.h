// What a run's checks found: the first violation by number, and how often each
// invariant was evaluated (one that never was has shown nothing).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "common/base/str_cat.h"
#include "test/check/rule.h"

namespace sluice::check {

struct Violation {
  Rule rule;
  std::string facts;

  // "RP5: replica 3 of ... moved its high watermark from 7 to 6".
  std::string ToString() const { return StrCat(NameOf(rule), ": ", facts); }
};

class Findings {
 public:
  // Called at the first violation, while everything still stands as it was
  // found.
  using OnViolation = std::function<void(const Violation&)>;
  explicit Findings(OnViolation on_violation = nullptr)
      : on_violation_(std::move(on_violation)) {}

  // One evaluation. `facts()` is asked for the text when it failed. Returns
  // `holds`.
  template <class Facts>
  bool Check(Rule rule, bool holds, Facts&& facts) {
    ++evaluations_[static_cast<size_t>(rule)];
    if (!holds) [[unlikely]] {
      ++violations_[static_cast<size_t>(rule)];
      Report(rule, facts());
    }
    return holds;
  }

  // The first; later ones are its consequences as often as not.
  const std::optional<Violation>& first() const { return first_; }
  uint64_t violations(Rule rule) const {
    return violations_[static_cast<size_t>(rule)];
  }
  uint64_t evaluations(Rule rule) const {
    return evaluations_[static_cast<size_t>(rule)];
  }
  // By rule, in the order of kRuleNames.
  const std::array<uint64_t, kRuleCount>& evaluations() const {
    return evaluations_;
  }

 private:
  void Report(Rule rule, std::string facts) {
    if (first_.has_value()) return;
    first_ = Violation{rule, std::move(facts)};
    if (on_violation_) on_violation_(*first_);
  }

  OnViolation on_violation_;
  std::optional<Violation> first_;
  std::array<uint64_t, kRuleCount> evaluations_{};
  std::array<uint64_t, kRuleCount> violations_{};
};

}  // namespace sluice::check
