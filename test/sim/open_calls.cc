#include "test/sim/open_calls.h"

#include <utility>

#include "common/base/str_cat.h"

namespace sluice::sim {

OpenCalls::Id OpenCalls::Begin(std::string what, int64_t timeout_us) {
  open_.emplace(next_,
                Call{std::move(what), clock_->MonoMicros() + timeout_us});
  return next_++;
}

void OpenCalls::ReportLate(Call& call, const char* how) {
  if (std::exchange(call.is_late, true)) return;
  report_(StrCat("LATE: ", call.what, " ", how, ", ",
                 clock_->MonoMicros() - call.due_us,
                 " us past its deadline"));
}

void OpenCalls::End(Id id) {
  const auto found = open_.find(id);
  if (found == open_.end()) {
    return report_(StrCat("TWICE: call ", id, " was answered again"));
  }
  if (clock_->MonoMicros() > found->second.due_us + kGraceUs) {
    ReportLate(found->second, "was answered");
  }
  open_.erase(found);
}

void OpenCalls::CheckDue() {
  const int64_t now_us = clock_->MonoMicros();
  for (auto& [id, call] : open_) {
    if (now_us > call.due_us + kGraceUs) ReportLate(call, "has no answer");
  }
}

std::string OpenCalls::ToString() const {
  std::string text;
  size_t named = 0;
  for (const auto& [id, call] : open_) {
    if (named++ == kNamedMax) break;
    text += StrCat(text.empty() ? "" : ", ", call.what);
  }
  if (open_.size() > kNamedMax) {
    text += StrCat(" and ", open_.size() - kNamedMax, " more");
  }
  return text;
}

}  // namespace sluice::sim
