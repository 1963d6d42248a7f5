// Seeded random worlds. SLUICE_SEED=n runs one, with its trace;
// SLUICE_SCHEDULES=n runs n instead of 1,500.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "broker/group/group_world_testing.h"

namespace sluice::group {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int64_t kWorlds = 150;
#else
constexpr int64_t kWorlds = 1500;
#endif
constexpr int kEvents = 1500;
// F70: three rebalance timeouts of 30 s.
constexpr int64_t kStableWithinUs = 90'000'000;

int64_t NumberOr(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

// What went wrong; nothing.
std::optional<std::string> RunWorld(uint64_t seed, WorldCoverage& coverage,
                                    bool with_trace) {
  GroupWorld world(seed, coverage);
  std::optional<std::string> wrong;
  for (int i = 0; i < kEvents && !world.violation().has_value(); ++i) {
    world.Step();
  }
  if (!world.violation().has_value()) wrong = world.Settle(kStableWithinUs);
  if (world.violation().has_value()) wrong = world.violation();
  if (with_trace) std::fputs(world.Trace().c_str(), stderr);
  return wrong;
}

TEST(GroupPropertyTest, GR1GR3GR4HoldAndEverybodyIsStableInTheEnd) {
  WorldCoverage coverage;
  if (const int64_t seed = NumberOr("SLUICE_SEED", 0); seed != 0) {
    const auto wrong = RunWorld(static_cast<uint64_t>(seed), coverage, true);
    EXPECT_FALSE(wrong.has_value()) << *wrong;
    return;
  }
  const int64_t worlds = NumberOr("SLUICE_SCHEDULES", kWorlds);
  int failures = 0;
  for (int64_t seed = 1; seed <= worlds && failures < 5; ++seed) {
    const auto wrong = RunWorld(static_cast<uint64_t>(seed), coverage, false);
    if (!wrong.has_value()) continue;
    ++failures;
    ADD_FAILURE() << "SLUICE_SEED=" << seed << ": " << *wrong;
  }
  std::printf(
      "%lld rebalances, %lld assignments heard, %lld fail-overs, %lld writes "
      "lost, %lld refused, %lld messages lost, %lld fenced, %lld sleeps, %lld "
      "leaves, %lld commits, %lld refused, %lld of them late\n",
      static_cast<long long>(coverage.generations),
      static_cast<long long>(coverage.stable),
      static_cast<long long>(coverage.fail_overs),
      static_cast<long long>(coverage.lost_writes),
      static_cast<long long>(coverage.refused_writes),
      static_cast<long long>(coverage.lost_messages),
      static_cast<long long>(coverage.fenced),
      static_cast<long long>(coverage.sleeps),
      static_cast<long long>(coverage.leaves),
      static_cast<long long>(coverage.commits),
      static_cast<long long>(coverage.refused_commits),
      static_cast<long long>(coverage.late_commits));
  if (worlds < 100) return;
  for (int64_t count :
       {coverage.generations, coverage.stable, coverage.fail_overs,
        coverage.lost_writes, coverage.refused_writes, coverage.fenced,
        coverage.sleeps, coverage.leaves, coverage.commits,
        coverage.late_commits}) {
    EXPECT_GT(count, worlds / 20) << "a fault that hardly ever happens";
  }
}

}  // namespace
}  // namespace sluice::group
