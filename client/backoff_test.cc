#include "client/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

namespace sluice {
namespace {

constexpr int64_t kMinUs = 50'000;
constexpr int64_t kMaxUs = 1'000'000;

TEST(BackoffTest, ItDoublesUpToItsLimitAndBeginsAnewAfterASuccess) {
  Random random(1);
  Backoff backoff(kMinUs, kMaxUs);
  int64_t most_us = kMinUs;
  for (int i = 0; i < 20; ++i, most_us = std::min(2 * most_us, kMaxUs)) {
    const int64_t delay_us = backoff.NextDelayUs(random);
    EXPECT_GE(delay_us, most_us / 2) << i;
    EXPECT_LE(delay_us, most_us) << i;
  }
  backoff.Reset();
  EXPECT_LE(backoff.NextDelayUs(random), kMinUs);
}

// F66: who lost the same broker at the same moment spreads over half of the
// wait; no tenth of it gets more than a quarter of them.
TEST(BackoffTest, F66ClientsThatFailTogetherDoNotComeBackTogether) {
  constexpr int kClients = 1'000;
  constexpr int kTries = 6;
  int in_tenth[10] = {};
  for (int client = 0; client < kClients; ++client) {
    Random random(static_cast<uint64_t>(client) + 1);
    Backoff backoff(kMinUs, kMaxUs);
    for (int i = 0; i + 1 < kTries; ++i) backoff.NextDelayUs(random);
    const int64_t delay_us = backoff.NextDelayUs(random);
    ASSERT_GE(delay_us, kMaxUs / 2);
    const int64_t tenth = (delay_us - kMaxUs / 2) * 10 / (kMaxUs / 2);
    ++in_tenth[std::min<int64_t>(tenth, 9)];
  }
  for (const int clients : in_tenth) {
    EXPECT_GT(clients, 0);
    EXPECT_LT(clients, kClients / 4);
  }
}

}  // namespace
}  // namespace sluice
