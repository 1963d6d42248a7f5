#include "tools/retry_notice.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace sluice::cli {
namespace {

constexpr int64_t kSecond = 1'000'000;
const NamedPartition kTp{"orders", PartitionIndex(3)};

std::optional<std::string> Retry(RetryNotice& notice, int64_t settled,
                                 int64_t now_us) {
  return notice.OnRetry(
      kTp, MakeError(ErrorCode::kStorageFull, "no room"), settled, now_us);
}

TEST(RetryNoticeTest, AShortPauseIsNotTold) {
  RetryNotice notice;
  EXPECT_EQ(Retry(notice, 0, 100 * kSecond), std::nullopt);
  EXPECT_EQ(Retry(notice, 0, 101 * kSecond), std::nullopt);
  EXPECT_EQ(Retry(notice, 7, 103 * kSecond), std::nullopt);  // it moves
  EXPECT_EQ(Retry(notice, 7, 104 * kSecond), std::nullopt);
}

TEST(RetryNoticeTest, ALongOneIsToldWithItsReasonNowAndThen) {
  RetryNotice notice;
  EXPECT_EQ(Retry(notice, 0, 100 * kSecond), std::nullopt);
  EXPECT_EQ(Retry(notice, 0, 102 * kSecond),
            "still trying, nothing of orders-3 is acknowledged for 2 s: "
            "STORAGE_FULL: no room");
  EXPECT_EQ(Retry(notice, 0, 106 * kSecond), std::nullopt);
  EXPECT_NE(Retry(notice, 0, 107 * kSecond), std::nullopt);
}

}  // namespace
}  // namespace sluice::cli
