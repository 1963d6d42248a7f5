#include "tools/time_text.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

constexpr int64_t kNowMs = 1'800'000'000'000;

TEST(TimeTextTest, DurationsAreSumsOfUnits) {
  EXPECT_EQ(*DurationMsOf("500ms"), 500);
  EXPECT_EQ(*DurationMsOf("90s"), 90'000);
  EXPECT_EQ(*DurationMsOf("15m"), 900'000);
  EXPECT_EQ(*DurationMsOf("1h30m"), 5'400'000);
  EXPECT_EQ(*DurationMsOf("7d"), 604'800'000);
  EXPECT_EQ(*DurationMsOf("0s"), 0);
}

TEST(TimeTextTest, WhatIsNoDurationIsNamed) {
  for (const char* text : {"", "2", "h", "2x", "-2h", "2h3", "1.5h", "2 h",
                           "99999999999999999999s", "40000d", "36525d1ms"}) {
    const auto duration = DurationMsOf(text);
    EXPECT_FALSE(duration.ok()) << text;
    if (duration.ok()) continue;
    EXPECT_NE(duration.status().message().find("is no duration"),
              absl::string_view::npos);
  }
  EXPECT_TRUE(DurationMsOf("36525d").ok());
}

TEST(TimeTextTest, TimesAreAbsoluteOrRelativeToNow) {
  EXPECT_EQ(*TimeMsOf("now", kNowMs), kNowMs);
  EXPECT_EQ(*TimeMsOf("-2h", kNowMs), kNowMs - 7'200'000);
  EXPECT_EQ(*TimeMsOf("2026-11-26T10:00:00Z", kNowMs), 1'795'687'200'000);
  EXPECT_EQ(*TimeMsOf("2026-11-26T10:00:00.250+01:00", kNowMs),
            1'795'683'600'250);
  EXPECT_EQ(*TimeMsOf("1700000000000", kNowMs), 1'700'000'000'000);
  EXPECT_EQ(*TimeMsOf("0", kNowMs), 0);
}

TEST(TimeTextTest, WhatIsNoTimeIsNamed) {
  for (const char* text :
       {"", "tomorrow", "2026-11-26", "1960-01-01T00:00:00Z", "-2", "+2h",
        "-36525d", "99999999999999999999"}) {
    EXPECT_FALSE(TimeMsOf(text, kNowMs).ok()) << text;
  }
}

TEST(TimeTextTest, AgesAreShort) {
  EXPECT_EQ(AgeText(0), "0 s");
  EXPECT_EQ(AgeText(850), "850 ms");
  EXPECT_EQ(AgeText(12'345), "12 s");
  EXPECT_EQ(AgeText(180'000), "3 m");
  EXPECT_EQ(AgeText(18'720'000), "5.2 h");
  EXPECT_EQ(AgeText(172'800'000), "2.0 d");
  EXPECT_EQ(TimeText(1'795'687'200'250), "2026-11-26T10:00:00.250Z");
  EXPECT_EQ(TimeText(-1), "-");
}

}  // namespace
}  // namespace sluice::cli
