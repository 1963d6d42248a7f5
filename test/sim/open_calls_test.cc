// Who waits too long for an answer, or gets two.
#include "test/sim/open_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/env/sim_world.h"

namespace sluice::sim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Fixture {
  SimWorld world;
  std::vector<std::string> found;
  OpenCalls calls{&world,
                  [this](const std::string& what) { found.push_back(what); }};
};

TEST(OpenCallsTest, WhatIsAnsweredInTimeIsNoFlaw) {
  Fixture f;
  const auto id = f.calls.Begin("a poll", 200'000);
  f.world.RunFor(200'000 + OpenCalls::kGraceUs);
  f.calls.CheckDue();
  f.calls.End(id);
  EXPECT_THAT(f.found, IsEmpty());
  EXPECT_TRUE(f.calls.empty());
}

TEST(OpenCallsTest, WhatIsNeverAnsweredIsLateOnce) {
  Fixture f;
  f.calls.Begin("a poll", 200'000);
  f.calls.Begin("a list", 5'000'000);
  f.world.RunFor(200'000 + OpenCalls::kGraceUs + 1);
  f.calls.CheckDue();
  f.calls.CheckDue();
  EXPECT_THAT(f.found, ElementsAre("LATE: a poll has no answer, 1000001 us "
                                   "past its deadline"));
  EXPECT_EQ(f.calls.ToString(), "a poll, a list");
}

TEST(OpenCallsTest, AnAnswerBehindItsDeadlineIsLate) {
  Fixture f;
  const auto id = f.calls.Begin("a list", 0);
  f.world.RunFor(OpenCalls::kGraceUs + 1);
  f.calls.End(id);
  EXPECT_THAT(f.found, ElementsAre("LATE: a list was answered, 1000001 us "
                                   "past its deadline"));
}

TEST(OpenCallsTest, TwoAnswersAreOneTooMany) {
  Fixture f;
  const auto id = f.calls.Begin("a list", 1'000);
  f.calls.End(id);
  f.calls.End(id);
  EXPECT_THAT(f.found, ElementsAre("TWICE: call 1 was answered again"));
}

}  // namespace
}  // namespace sluice::sim
