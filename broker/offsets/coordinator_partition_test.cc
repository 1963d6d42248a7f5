#include "broker/offsets/coordinator_partition.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::offsets {
namespace {

TEST(CoordinatorPartitionTest, TheHashIsJavas) {
  EXPECT_EQ(JavaStringHash(""), 0);
  EXPECT_EQ(JavaStringHash("a"), 97);
  EXPECT_EQ(JavaStringHash("Aa"), 2112);
  EXPECT_EQ(JavaStringHash("BB"), 2112);
  EXPECT_EQ(JavaStringHash("hello"), 99162322);
  EXPECT_EQ(JavaStringHash("polygenelubricants"), INT32_MIN);
}

TEST(CoordinatorPartitionTest, TheHashGoesOverUtf16Units) {
  EXPECT_EQ(JavaStringHash("\xc3\xa9"), 0xe9);                    // U+00E9
  EXPECT_EQ(JavaStringHash("\xe2\x82\xac"), 0x20ac);              // U+20AC
  EXPECT_EQ(JavaStringHash("\xf0\x9f\x98\x80"), 31 * 0xd83d + 0xde00);
}

TEST(CoordinatorPartitionTest, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(JavaStringHash("\xff"), 0xfffd);
  EXPECT_EQ(JavaStringHash("\xc3"), 0xfffd);               // cut short
  EXPECT_EQ(JavaStringHash("\xc3\x28"), 31 * 0xfffd + 0x28);
  EXPECT_EQ(JavaStringHash("\xc0\x80"), 31 * 0xfffd + 0xfffd);  // overlong
  // A surrogate on its own.
  EXPECT_EQ(JavaStringHash("\xed\xa0\x80"),
            static_cast<int32_t>(31u * (31u * 0xfffd + 0xfffd) + 0xfffd));
}

TEST(CoordinatorPartitionTest, TheHashIsMadeNonNegativeAsKafkaDoes) {
  EXPECT_EQ(CoordinatorPartition("polygenelubricants", 16), PartitionIndex(0));
  EXPECT_EQ(CoordinatorPartition("hello", 16), PartitionIndex(99162322 % 16));
  EXPECT_EQ(CoordinatorPartition("hello", 50), PartitionIndex(22));
  // A negative hash: its amount, not its low bits.
  ASSERT_EQ(JavaStringHash("my-group"), -1906497762);
  EXPECT_EQ(CoordinatorPartition("my-group", 50),
            PartitionIndex(1906497762 % 50));
}

TEST(CoordinatorPartitionTest, GroupsAreSpreadOverAllPartitions) {
  std::set<PartitionIndex> seen;
  for (int i = 0; i < 1000; ++i) {
    const PartitionIndex p =
        CoordinatorPartition("group-" + std::to_string(i), 16);
    ASSERT_GE(p, PartitionIndex(0));
    ASSERT_LT(p, PartitionIndex(16));
    seen.insert(p);
  }
  EXPECT_EQ(seen.size(), 16u);
}

}  // namespace
}  // namespace sluice::offsets
