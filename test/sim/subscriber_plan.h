// The subscribers of a run, as they are drawn.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/api/log_api.h"
#include "common/base/random.h"

namespace sluice::sim {

struct SubscriberPlan {
  // What it lets each broker push beyond what it has taken.
  int64_t credit_bytes = 64 << 10;
  // It gives credit back so much later, at most.
  int64_t slow_us = 0;
  api::PayloadForm form = api::PayloadForm::kRecords;
  std::string rack;       // "": it reads from leaders
  bool forwards = false;  // any broker is asked for all, and hands on
  // It ends a partition or a stream and goes on; 0: it does not.
  int64_t restless_every_us = 0;

  std::string ToString() const;
};

// One or two; `rack` as LoadPlan has it.
std::vector<SubscriberPlan> DrawSubscribers(const std::string& rack,
                                            Random& random);

}  // namespace sluice::sim
