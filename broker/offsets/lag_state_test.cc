// One table for each state: commits, what lies behind them now, and the state.
#include "broker/offsets/lag_state.h"

#include <gtest/gtest.h>

namespace sluice::offsets {
namespace {

constexpr int64_t kEveryMs = 10'000;

// Ten commits, 10 s apart; offset and lag of each.
using Commits = std::vector<std::pair<int64_t, int64_t>>;

CommitWindow WindowOf(const Commits& commits) {
  CommitWindow window;
  int64_t time_ms = 0;
  for (const auto& [offset, lag] : commits) {
    window.Add({Offset(offset), lag, time_ms});
    time_ms += kEveryMs;
  }
  return window;
}

struct Row {
  const char* what;
  Commits commits;
  int64_t lag_now;
  int64_t silent_ms;  // since the last commit
  std::vector<Offset> high_watermarks;
};

void Expect(LagState state, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    const CommitWindow window = WindowOf(row.commits);
    const int64_t last_ms =
        window.samples().empty() ? 0 : window.samples().back().time_ms;
    EXPECT_EQ(NameOf(EvaluateLag(window, row.lag_now, row.high_watermarks,
                                 last_ms + row.silent_ms)),
              NameOf(state))
        << row.what;
  }
}

const Commits kSteady = {{10, 5}, {20, 5}, {30, 5}, {40, 5}, {50, 5},
                         {60, 5}, {70, 5}, {80, 5}, {90, 5}, {100, 5}};
const Commits kGaining = {{10, 9}, {20, 8}, {30, 9}, {40, 7}, {50, 8},
                          {60, 8}, {70, 8}, {80, 8}, {90, 8}, {100, 8}};
const Commits kSame = {{10, 1}, {10, 2}, {10, 3}, {10, 4}, {10, 5},
                       {10, 6}, {10, 7}, {10, 8}, {10, 9}, {10, 10}};

TEST(LagStateTest, Ok) {
  Expect(LagState::kOk,
         {{"nothing committed", {}, 100, 1'000'000, {}},
          {"a single commit spans no time", {{10, 5}}, 5, 1'000'000, {}},
          {"nothing behind, however long ago", kSame, 0, 1'000'000'000, {}},
          {"gains at times", kGaining, 8, 1'000, {}},
          {"was caught up once",
           {{10, 5}, {20, 0}, {30, 5}, {40, 6}}, 7, 1'000, {}},
          {"the same offset, but caught up then",
           {{10, 0}, {10, 0}, {10, 4}}, 4, 1'000, {}},
          {"silent, but had all there was a moment ago", kGaining, 5, 500'000,
           {Offset(100), Offset(105)}},
          {"went back a little and made it good",
           {{10, 9}, {30, 8}, {20, 9}, {40, 7}}, 7, 1'000, {}}});
}

TEST(LagStateTest, Warn) {
  Expect(LagState::kWarn,
         {{"never gains", kSteady, 5, 1'000, {}},
          {"falls behind", {{10, 1}, {20, 2}, {30, 30}}, 40, 1'000, {}},
          {"silent for just the span of its commits", kSteady, 5, 90'000, {}}});
}

TEST(LagStateTest, Stall) {
  Expect(LagState::kStall,
         {{"the same offset, more behind it", kSame, 11, 1'000, {}},
          {"the same offset, as much behind it",
           {{10, 4}, {10, 4}, {10, 4}}, 4, 1'000, {}}});
}

TEST(LagStateTest, Stop) {
  Expect(LagState::kStop,
         {{"silent for longer than its commits span", kSteady, 5, 90'001, {}},
          {"was caught up once, long ago",
           {{10, 0}, {20, 0}, {30, 0}}, 1, 30'000, {}},
          {"silent, and was behind lately too", kSteady, 5, 90'001,
           {Offset(101), Offset(105)}},
          {"stopping is worse than having gone back",
           {{30, 5}, {10, 25}}, 25, 20'000, {}}});
}

TEST(LagStateTest, Rewind) {
  Expect(LagState::kRewind,
         {{"to the beginning", {{10, 1}, {20, 1}, {0, 30}}, 30, 1'000, {}},
          {"on its way, not yet where it was",
           {{100, 1}, {0, 105}, {50, 60}}, 60, 1'000, {}},
          {"it was caught up before",
           {{90, 0}, {100, 0}, {0, 110}}, 110, 1'000, {}}});
}

TEST(CommitWindowTest, TheLastTenCommits) {
  Commits commits;
  for (int64_t i = 0; i < 25; ++i) commits.push_back({i, 1});
  const CommitWindow window = WindowOf(commits);
  ASSERT_EQ(window.samples().size(), 10u);
  EXPECT_EQ(window.samples().front().offset, Offset(15));
  EXPECT_EQ(window.samples().back().offset, Offset(24));
}

// A consumer that commits every record still has a window of seconds.
TEST(CommitWindowTest, ManyCommitsASecondCountAsFew) {
  CommitWindow window;
  for (int64_t i = 0; i < 20'000; ++i) window.Add({Offset(i), 1, i});
  const auto& samples = window.samples();
  ASSERT_EQ(samples.size(), 10u);
  EXPECT_EQ(samples.back().offset, Offset(19'999));
  EXPECT_GE(samples.back().time_ms - samples.front().time_ms,
            4 * CommitWindow::kDistanceMs);
}

}  // namespace
}  // namespace sluice::offsets
