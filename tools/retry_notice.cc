#include "tools/retry_notice.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/str_cat.h"

namespace sluice::cli {

std::optional<std::string> RetryNotice::OnRetry(const NamedPartition& tp,
                                                const absl::Status& why,
                                                int64_t settled,
                                                int64_t now_us) {
  if (settled != settled_) {
    settled_ = settled;
    since_us_ = now_us;
    told_us_ = now_us - kEveryUs;
  }
  if (now_us - since_us_ < kQuietUs || now_us - told_us_ < kEveryUs) {
    return std::nullopt;
  }
  told_us_ = now_us;
  return StrCat("still trying, nothing of ", tp, " is acknowledged for ",
                (now_us - since_us_) / 1'000'000, " s: ", NameOf(CodeOf(why)),
                ": ", StdView(why.message()));
}

}  // namespace sluice::cli
