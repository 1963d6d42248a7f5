// What the programs of a run wait for, and until when.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "common/env/clock.h"

namespace sluice::sim {

// Every call has a deadline, and is answered once and by then, whatever breaks:
// who waits for ever is a flaw (LATE), and so is who is answered twice.
class OpenCalls {
 public:
  using Id = uint64_t;
  using Report = std::function<void(const std::string&)>;

  // What an answer may come behind its deadline: it is on its way to the
  // program.
  static constexpr int64_t kGraceUs = 1'000'000;

  // `clock`: of the programs.
  OpenCalls(const Clock* clock, Report report)
      : clock_(clock), report_(std::move(report)) {}

  Id Begin(std::string what, int64_t timeout_us);
  // It was answered.
  void End(Id id);
  // Of what has had no answer for too long.
  void CheckDue();

  bool empty() const { return open_.empty(); }
  size_t size() const { return open_.size(); }
  int64_t begun() const { return static_cast<int64_t>(next_) - 1; }
  // "DeleteTopics made1, ..."; the first few.
  std::string ToString() const;

 private:
  static constexpr size_t kNamedMax = 5;

  struct Call {
    std::string what;
    int64_t due_us = 0;
    bool is_late = false;  // reported
  };

  void ReportLate(Call& call, const char* how);

  const Clock* const clock_;
  const Report report_;
  std::map<Id, Call> open_;
  Id next_ = 1;
};

}  // namespace sluice::sim
