#include "test/sim/child_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

namespace sluice::sim {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(SeedWorkersTest, ARunThatDiesOrNeverEndsIsNamedAndTheRestIsRun) {
  SeedWorkers workers(
      {1, 2, 3, 4, 5, 6}, /*jobs=*/2,
      [](uint64_t seed) {
        if (seed == 2) std::abort();
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
                          Pair(4, ""), Pair(5, "LOST: one"), Pair(6, "")));
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
