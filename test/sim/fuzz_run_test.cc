// What a seed means, that it means the same each time, and that a run ends.
#include "test/sim/fuzz_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "common/base/str_cat.h"
#include "test/sim/swarm.h"

namespace sluice::sim {
namespace {

using testing::ElementsAre;

TEST(SwarmTest, OneSeedOnePlanAndSeedsReachEverything) {
  std::set<FaultKind> kinds;
  std::set<int> brokers;
  std::set<int> controllers;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    const SwarmPlan plan = DrawPlan(seed);
    EXPECT_EQ(plan.ToString(), DrawPlan(seed).ToString());
    brokers.insert(plan.cluster.nodes);
    controllers.insert(plan.cluster.controllers);
    for (const Fault& fault : plan.faults) kinds.insert(fault.kind);
    for (const TopicPlan& topic : plan.topics) {
      EXPECT_LE(topic.replicas, plan.cluster.nodes);
      EXPECT_LE(topic.min_isr, topic.replicas);
    }
  }
  EXPECT_EQ(kinds.size(), static_cast<size_t>(kDrawnFaultKindCount));
  EXPECT_THAT(brokers, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(controllers, ElementsAre(1, 3, 5));
}

TEST(SwarmTest, WhatIsNotLeftToTheSeedIsAsAsked) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const SwarmPlan plan = DrawPlan(seed, {.brokers = 3, .controllers = 3});
    EXPECT_EQ(plan.cluster.nodes, 3);
    EXPECT_EQ(plan.cluster.controllers, 3);
    for (const TopicPlan& topic : plan.topics) EXPECT_LE(topic.replicas, 3);
  }
}

TEST(FuzzRunTest, ASeedHasOneHashAndAnotherSeedAnother) {
  const auto hash = [](uint64_t seed) {
    const RunResult result =
        FuzzRun(DrawPlan(seed, {.virtual_us = 5'000'000}), nullptr).Run();
    EXPECT_EQ(result.failure, "") << seed;
    return result.numbers.hash;
  };
  const uint64_t first = hash(3);
  EXPECT_EQ(first, hash(3));
  EXPECT_NE(first, hash(5));
}

// ---- Time that stands still ----

TEST(InstantBoundTest, EventsWithoutEndAtOneMomentAreNamed) {
  SimWorld world;
  const auto executor = world.NewExecutor(NodeId(7));
  InstantBound bound(1'000);
  int64_t ran = 0;
  world.Watch([&](NodeId node) {
    if (bound.OnEvent(world.MonoMicros(), node)) world.Halt();
  });
  std::function<void()> again = [&] {
    ++ran;
    if (bound.wants_notes()) bound.Note(StrCat("round ", ran));
    executor->Post(again);
  };
  executor->PostAfter(5, again);
  world.RunFor(1'000);
  EXPECT_EQ(ran, 1'001);
  EXPECT_THAT(bound.ToString(),
              testing::StartsWith("LIVELOCK: more than 1000 events at "
                                  "0.000005 s, the last: ["));
  EXPECT_THAT(bound.ToString(), testing::EndsWith("[node 7; round 1001]"));
  EXPECT_EQ(bound.most(), 1'001);
}

TEST(InstantBoundTest, AsManyAsMayBeAtEachMomentAreNone) {
  InstantBound bound(10);
  for (int64_t now_us = 0; now_us < 3; ++now_us) {
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(bound.OnEvent(now_us, kNoNode));
  }
}

TEST(FuzzRunTest, ARunWhoseTimeStandsStillFailsAndEnds) {
  SwarmPlan plan = DrawPlan(3);
  plan.instant_events_max = 3;
  const RunResult result = FuzzRun(plan, nullptr).Run();
  EXPECT_THAT(result.failure, testing::StartsWith("LIVELOCK: "));
  EXPECT_LT(result.numbers.events, 1'000);
}

}  // namespace
}  // namespace sluice::sim
