#include "tools/ack_gaps.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

TEST(AckGapsTest, TheGapThatTheMarkLiesInCountsWhole) {
  AckGaps gaps(1);
  gaps.Acknowledged(0, 100);
  gaps.Mark(150);

  gaps.Acknowledged(0, 400);
  gaps.Acknowledged(0, 410);

  EXPECT_EQ(gaps.LongestClosedUs(0), 300);
  EXPECT_EQ(gaps.LongestUs(0, 420), 300);
}

TEST(AckGapsTest, GapsBeforeTheMarkAreForgotten) {
  AckGaps gaps(1);
  gaps.Acknowledged(0, 0);
  gaps.Acknowledged(0, 900);
  gaps.Mark(1000);

  gaps.Acknowledged(0, 1010);

  EXPECT_EQ(gaps.LongestClosedUs(0), 110);
}

TEST(AckGapsTest, APartitionThatStaysSilentHasAnOpenGap) {
  AckGaps gaps(2);
  gaps.Acknowledged(0, 10);
  gaps.Acknowledged(1, 10);
  gaps.Mark(20);
  gaps.Acknowledged(1, 30);

  EXPECT_EQ(gaps.LastUs(0), 10);
  EXPECT_EQ(gaps.LastUs(1), 30);
  EXPECT_EQ(gaps.LongestClosedUs(0), 0);
  EXPECT_EQ(gaps.LongestUs(0, 5010), 5000);
}

TEST(AckGapsTest, TheFirstAcknowledgementEverEndsNoGap) {
  AckGaps gaps(1);
  gaps.Mark(0);

  gaps.Acknowledged(0, 700);

  EXPECT_EQ(gaps.LongestClosedUs(0), 0);
  EXPECT_EQ(AckGaps(1).LongestUs(0, 700), 0);
}

TEST(AckGapsTest, PartitionsDoNotHideEachOther) {
  AckGaps gaps(2);
  gaps.Acknowledged(0, 0);
  gaps.Acknowledged(1, 0);
  gaps.Mark(5);
  for (int at = 10; at <= 500; at += 10) gaps.Acknowledged(0, at);
  gaps.Acknowledged(1, 500);

  EXPECT_EQ(gaps.LongestClosedUs(0), 10);
  EXPECT_EQ(gaps.LongestClosedUs(1), 500);
}

}  // namespace
}  // namespace sluice::cli
