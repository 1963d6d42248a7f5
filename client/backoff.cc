#include "client/backoff.h"

#include <algorithm>

namespace sluice {

int64_t Backoff::NextDelayUs(Random& random) {
  int64_t delay_us = min_us_;
  for (int i = 0; i < tries_ && delay_us < max_us_; ++i) delay_us *= 2;
  delay_us = std::min(delay_us, max_us_);
  if (delay_us < max_us_) ++tries_;
  return random.Between(delay_us / 2, delay_us);
}

}  // namespace sluice
