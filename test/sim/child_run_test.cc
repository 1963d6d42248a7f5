#include "test/sim/child_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "common/base/invariant.h"

namespace sluice::sim {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(SeedWorkersTest, ARunThatDiesOrNeverEndsIsNamedAndTheRestIsRun) {
  SeedWorkers workers(
      {1, 2, 3, 4, 5, 6}, /*jobs=*/2,
      [](uint64_t seed) {
        if (seed == 2) std::abort();
        INVARIANT(seed != 4, "RP4 hw=", 7);
        volatile bool hangs = seed == 3;
        while (hangs) {
        }
        return RunResult{seed == 5 ? "LOST: one" : "", {}};
      },
      /*processor_seconds_max=*/0);
  std::map<uint64_t, std::string> failures;
  workers.Run([&](uint64_t seed, const RunResult& result) {
    failures[seed] = result.failure;
    return true;
  });
  EXPECT_THAT(failures,
              ElementsAre(Pair(1, ""), Pair(2, kCrashed), Pair(3, kHung),
                          Pair(4, testing::MatchesRegex(
                                      "CRASHED: RP4: .*child_run_test.cc:"
                                      "[0-9]+: seed != 4: RP4 hw=7")),
                          Pair(5, "LOST: one"), Pair(6, "")));
}

TEST(WhyItDiedTest, WhatIsNamedIsWhatItDiedOf) {
  EXPECT_EQ(WhyItDied("noise\na/b.cc:3: INVARIANT failed: x: no number\n"),
            "a/b.cc:3: x: no number");
  EXPECT_EQ(WhyItDied("a/b.cc:3: INVARIANT failed: x: RP13 y"),
            "RP13: a/b.cc:3: x: RP13 y");
  // A rule's name, not a part of another word.
  EXPECT_EQ(WhyItDied("a/b.cc:3: INVARIANT failed: x: LIP4 y"),
            "a/b.cc:3: x: LIP4 y");
  EXPECT_EQ(WhyItDied("==7==ERROR: AddressSanitizer: heap-use-after-free on\n"),
            "AddressSanitizer: heap-use-after-free on");
  EXPECT_EQ(WhyItDied("W1126 a warning\n"), "");
}

TEST(SeedWorkersTest, WhoHasHeardEnoughHearsNoMore) {
  SeedWorkers workers({1, 2, 3, 4}, /*jobs=*/1,
                      [](uint64_t) { return RunResult(); });
  int heard = 0;
  workers.Run([&](uint64_t, const RunResult&) { return ++heard < 2; });
  EXPECT_EQ(heard, 2);
}

}  // namespace
}  // namespace sluice::sim
