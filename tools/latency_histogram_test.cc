#include "tools/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/base/random.h"

namespace sluice::cli {
namespace {

TEST(LatencyHistogramTest, EmptyAnswersZero) {
  const LatencyHistogram histogram;

  EXPECT_EQ(histogram.count(), 0);
  EXPECT_EQ(histogram.PercentileUs(50), 0);
  EXPECT_EQ(histogram.max_us(), 0);
  EXPECT_EQ(histogram.min_us(), 0);
  EXPECT_EQ(histogram.mean_us(), 0);
}

TEST(LatencyHistogramTest, SmallValuesAreExact) {
  LatencyHistogram histogram;
  for (int us = 1; us <= 200; ++us) histogram.Record(us);

  EXPECT_EQ(histogram.PercentileUs(50), 100);
  EXPECT_EQ(histogram.PercentileUs(99), 198);
  EXPECT_EQ(histogram.PercentileUs(99.5), 199);
  EXPECT_EQ(histogram.PercentileUs(0), 1);
  EXPECT_EQ(histogram.PercentileUs(100), 200);
  EXPECT_DOUBLE_EQ(histogram.mean_us(), 100.5);
}

TEST(LatencyHistogramTest, ASinglePercentileIsTheValueItself) {
  for (const int64_t us : {0, 1, 255, 256, 257, 511, 512, 1'000'003}) {
    LatencyHistogram histogram;
    histogram.Record(us);

    EXPECT_EQ(histogram.PercentileUs(50), us);
    EXPECT_EQ(histogram.PercentileUs(99.9), us);
  }
}

// Against the sorted values themselves, over nine orders of magnitude.
TEST(LatencyHistogramTest, PercentilesAreNeverLowAndAtMostOnePartIn128High) {
  Random random(7);
  std::vector<int64_t> values;
  LatencyHistogram histogram;
  for (int i = 0; i < 20'000; ++i) {
    const int64_t us = static_cast<int64_t>(
        random.Below(uint64_t{1} << (1 + random.Below(38))));
    values.push_back(us);
    histogram.Record(us);
  }
  std::sort(values.begin(), values.end());

  for (const double percent : {1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 99.9}) {
    const size_t rank = static_cast<size_t>(percent / 100 * 20'000 + 0.5);
    const int64_t exact = values[rank - 1];
    const int64_t got = histogram.PercentileUs(percent);
    EXPECT_GE(got, exact) << percent;
    EXPECT_LE(got, exact + exact / 128 + 1) << percent;
  }
  EXPECT_EQ(histogram.max_us(), values.back());
  EXPECT_EQ(histogram.min_us(), values.front());
}

TEST(LatencyHistogramTest, OutOfRangeValuesLandAtTheEnds) {
  LatencyHistogram histogram;
  histogram.Record(-5);
  histogram.Record(INT64_MAX);

  EXPECT_EQ(histogram.count(), 2);
  EXPECT_EQ(histogram.min_us(), 0);
  EXPECT_EQ(histogram.max_us(), (int64_t{1} << 40) - 1);
  EXPECT_EQ(histogram.PercentileUs(100), (int64_t{1} << 40) - 1);
}

TEST(LatencyHistogramTest, MergeIsRecordingBoth) {
  LatencyHistogram one;
  LatencyHistogram other;
  LatencyHistogram both;
  for (int i = 0; i < 1000; ++i) {
    (i % 3 == 0 ? one : other).Record(i * 17);
    both.Record(i * 17);
  }

  one.Merge(other);

  EXPECT_EQ(one.count(), both.count());
  EXPECT_EQ(one.max_us(), both.max_us());
  EXPECT_EQ(one.min_us(), both.min_us());
  EXPECT_DOUBLE_EQ(one.mean_us(), both.mean_us());
  for (const double percent : {10.0, 50.0, 99.0}) {
    EXPECT_EQ(one.PercentileUs(percent), both.PercentileUs(percent));
  }
}

}  // namespace
}  // namespace sluice::cli
