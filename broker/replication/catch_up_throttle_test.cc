#include "broker/replication/catch_up_throttle.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr int64_t kTickUs = 100'000;
constexpr int64_t kPiece = 1'000;

class CatchUpThrottleTest : public testing::Test {
 protected:
  CatchUpThrottleTest() { throttle_.SetLimit(100 * kPiece); }

  // One tick; what could be sent in it, at most 1,000 pieces.
  int64_t Tick(int64_t written, int64_t read = 0) {
    now_us_ += kTickUs;
    written_ += written;
    read_ += read;
    throttle_.Tick(now_us_, written_, read_);
    int64_t sent = 0;
    for (; throttle_.allows() && sent < 1'000; ++sent) throttle_.Spend(kPiece);
    return sent;
  }

  CatchUpThrottle throttle_;
  int64_t now_us_ = 0;
  int64_t written_ = 0;
  int64_t read_ = 0;
};

TEST_F(CatchUpThrottleTest, WithoutClientsThereIsNoLimit) {
  EXPECT_EQ(Tick(0), 1'000);
  EXPECT_EQ(Tick(0), 1'000);
}

TEST_F(CatchUpThrottleTest, BesideClientsItIsTheLimit) {
  for (const bool writes : {true, false}) {
    Tick(writes, !writes);
    int64_t sent = 0;
    for (int i = 0; i < 10; ++i) sent += Tick(writes, !writes);
    EXPECT_GE(sent, 99) << writes;
    EXPECT_LE(sent, 101) << writes;
  }
}

TEST_F(CatchUpThrottleTest, NeverLessThanAQuarterMoreThanWhatIsWritten) {
  Tick(1);
  int64_t sent = 0;
  for (int i = 0; i < 10; ++i) sent += Tick(40 * kPiece);
  EXPECT_GE(sent, 495);
  EXPECT_LE(sent, 505);
}

TEST_F(CatchUpThrottleTest, WhatWasOverdrawnIsPaidBackAndNothingIsSaved) {
  Tick(1);
  throttle_.Spend(25 * kPiece);  // a large frame
  EXPECT_EQ(Tick(1), 0);
  EXPECT_EQ(Tick(1), 0);
  EXPECT_GT(Tick(1), 0);
  now_us_ += 5'000'000;  // a pause
  EXPECT_LE(Tick(1), 100);
}

TEST_F(CatchUpThrottleTest, ASecondAfterTheLastClientTheLimitEnds) {
  Tick(1);
  int ticks = 0;
  while (Tick(0) < 1'000) ++ticks;
  EXPECT_GE(ticks, 8);
  EXPECT_LE(ticks, 10);
}

}  // namespace
}  // namespace sluice
