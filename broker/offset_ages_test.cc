#include "broker/offset_ages.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(OffsetAgesTest, NothingIsOldBeforeTheAgeHasPassed) {
  OffsetAges ages(1000);
  EXPECT_EQ(ages.OlderThanAge(5000), Offset(0));
  ages.Note(5000, Offset(70));
  EXPECT_EQ(ages.OlderThanAge(5999), Offset(0));
  EXPECT_EQ(ages.OlderThanAge(6000), Offset(70));
}

TEST(OffsetAgesTest, TheAnswerIsAtMostOneStepBehind) {
  OffsetAges ages(1000);
  for (int64_t now = 0; now <= 20'000; now += 7) {
    ages.Note(now, Offset(now));
    const int64_t old = ages.OlderThanAge(now).value();
    EXPECT_LE(old, std::max<int64_t>(0, now - 1000));
    if (now > 2000) {
      EXPECT_GE(old, now - 1000 - 120);
    }
  }
}

TEST(OffsetAgesTest, WhatWasCutIsNotOld) {
  OffsetAges ages(1000);
  ages.Note(0, Offset(70));
  ages.Cut(Offset(50));
  EXPECT_EQ(ages.OlderThanAge(1000), Offset(50));
}

}  // namespace
}  // namespace sluice
