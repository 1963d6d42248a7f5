#include "test/sim/minimiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

using testing::ElementsAre;

// Those at `guilty` together make a run fail; `others` fail in another way.
class MinimiserOf {
 public:
  MinimiserOf(std::set<size_t> guilty, std::set<size_t> others)
      : guilty_(std::move(guilty)), others_(std::move(others)) {}

  std::string operator()(const std::vector<size_t>& kept) {
    ++runs_;
    const std::set<size_t> all(kept.begin(), kept.end());
    const auto has = [&all](const std::set<size_t>& some) {
      return std::includes(all.begin(), all.end(), some.begin(), some.end());
    };
    if (has(guilty_)) return StrCat("LOST: ", kept.size(), " faults left");
    return !others_.empty() && has(others_) ? "DUP: of another kind" : "";
  }
  int runs() const { return runs_; }

 private:
  const std::set<size_t> guilty_, others_;
  int runs_ = 0;
};

TEST(MinimiserTest, WhatIsLeftIsWhatIsNeeded) {
  for (const std::set<size_t>& guilty :
       {std::set<size_t>{}, {0}, {99}, {3, 4}, {7, 50, 98}, {0, 1, 2, 97}}) {
    MinimiserOf run(guilty, {});
    const auto minimum = MinimiseBy(100, std::ref(run));
    ASSERT_TRUE(minimum.has_value());
    EXPECT_EQ(std::set<size_t>(minimum->kept.begin(), minimum->kept.end()),
              guilty);
    EXPECT_TRUE(std::is_sorted(minimum->kept.begin(), minimum->kept.end()));
    EXPECT_EQ(minimum->failure,
              StrCat("LOST: ", guilty.size(), " faults left"));
    EXPECT_LT(run.runs(), 250) << "in chunks, not one by one";
  }
}

// Not to {8}, which fails too, but is another finding.
TEST(MinimiserTest, AnotherFailureIsNotTakenForTheOne) {
  MinimiserOf run({2, 8}, {8});
  const auto minimum = MinimiseBy(20, std::ref(run));
  ASSERT_TRUE(minimum.has_value());
  EXPECT_THAT(minimum->kept, ElementsAre(2, 8));
}

TEST(MinimiserTest, WhatTwoFailuresHaveInCommon) {
  EXPECT_EQ(FailureClass("LOST topic0-1: all of it"), "LOST");
  EXPECT_EQ(FailureClass("RP4: HW"), "RP4");
  EXPECT_EQ(FailureClass("NO PROGRESS with a healthy core of 1 2:"),
            "NO PROGRESS");
  EXPECT_EQ(FailureClass("CRASHED"), "CRASHED");
  EXPECT_EQ(FailureClass("CRASHED: RP4: a/b.cc:3: x: RP4"), "CRASHED: RP4");
  EXPECT_EQ(FailureClass("CRASHED: a/b.cc:3: x: 7 > 6"), "CRASHED: a/b.cc:3");
  EXPECT_EQ(FailureClass("process 3 ended itself: why"),
            "process 3 ended itself");
}

TEST(MinimiserTest, WhatDoesNotFailHasNoMinimum) {
  EXPECT_FALSE(MinimiseBy(5, [](const auto&) { return ""; }).has_value());
}

TEST(MinimiserTest, SubsetKeepsOrderAndIgnoresWhatIsNotThere) {
  FaultSchedule faults(4);
  for (size_t i = 0; i < faults.size(); ++i) faults[i].node = static_cast<int>(i);
  const FaultSchedule part = Subset(faults, {3, 1, 9});
  ASSERT_EQ(part.size(), 2u);
  EXPECT_EQ(part[0].node, 1);
  EXPECT_EQ(part[1].node, 3);
}

}  // namespace
}  // namespace sluice::sim
