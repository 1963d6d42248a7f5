// A table: commits, high watermarks, and the rates of both.
#include "broker/offsets/lag_rates.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace sluice::offsets {
namespace {

// Seconds and offset.
using Points = std::vector<std::pair<int64_t, int64_t>>;

struct Row {
  const char* what;
  Points commits;
  Points high_watermarks;
  double read;
  double append;
};

const Row kRows[] = {
    {"nothing is known", {}, {}, 0, 0},
    {"one commit spans no time", {{10, 5}}, {{0, 0}, {10, 100}}, 0, 0},
    {"reads as fast as it grows", {{0, 0}, {10, 100}, {20, 200}},
     {{0, 50}, {10, 150}, {20, 250}}, 10, 10},
    {"falls behind", {{0, 0}, {10, 100}, {20, 200}},
     {{0, 0}, {10, 400}, {20, 800}}, 10, 40},
    {"commits the same for ever", {{0, 7}, {10, 7}, {20, 7}},
     {{0, 7}, {20, 27}}, 0, 1},
    {"one high watermark says nothing", {{0, 0}, {10, 100}}, {{5, 100}}, 10, 0},
    {"a partition that does not grow", {{0, 0}, {10, 100}},
     {{0, 100}, {10, 100}}, 10, 0},
    // Not -30 of 20 s: 40 records were read, and 20 of them again.
    {"going back is no reading", {{0, 50}, {10, 90}, {20, 20}}, {}, 2, 0},
    {"what is read again counts", {{0, 90}, {10, 0}, {20, 40}}, {}, 2, 0},
    // 11..14 s: the watermarks of 10 and 20 s enclose it.
    {"a short window between two samples", {{11, 0}, {14, 3}},
     {{0, 0}, {10, 100}, {20, 300}, {30, 1000}}, 1, 20},
    // 9..21 s: those of 0 and 30 s do.
    {"a window across samples", {{9, 0}, {21, 12}},
     {{0, 0}, {10, 100}, {20, 300}, {30, 600}}, 1, 20},
    {"only what it encloses counts", {{20, 0}, {30, 10}},
     {{0, 0}, {10, 1000}, {20, 1100}, {30, 1200}, {40, 9000}}, 1, 10},
    {"younger than all samples: the last two", {{31, 0}, {35, 4}},
     {{0, 0}, {10, 500}, {20, 600}}, 1, 10},
    {"older than all samples: the first two", {{0, 0}, {5, 5}},
     {{10, 100}, {20, 200}, {30, 900}}, 1, 10},
};

TEST(LagRatesTest, EachRow) {
  for (const Row& row : kRows) {
    CommitWindow window;
    for (const auto& [second, offset] : row.commits) {
      window.Add({Offset(offset), 0, second * 1000});
    }
    std::deque<HighWatermarkSample> known;
    for (const auto& [second, offset] : row.high_watermarks) {
      known.push_back({Offset(offset), second * 1000});
    }
    const LagRates rates = RatesOf(window, known);
    EXPECT_DOUBLE_EQ(rates.read_records_per_s, row.read) << row.what;
    EXPECT_DOUBLE_EQ(rates.append_records_per_s, row.append) << row.what;
  }
}

}  // namespace
}  // namespace sluice::offsets
