#include "broker/shard_counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace sluice {
namespace {

TEST(ShardCountersTest, ASumHoldsEachOfThem) {
  ShardCounters sum{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  sum += {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110};
  // Does not compile with another one, which the sum may have forgotten.
  const auto& [a, b, c, d, e, f, g, h, i, j, k] = sum;
  EXPECT_THAT((std::vector{a, b, c, d, e, f, g, h, i, j, k}),
              testing::ElementsAre(11, 22, 33, 44, 55, 66, 77, 88, 99, 110, 121));
}

}  // namespace
}  // namespace sluice
