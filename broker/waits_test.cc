// Purgatory and Waiters: who waits for a partition to move.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/purgatory.h"
#include "broker/waiters.h"
#include "common/env/sim_world.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using End = Purgatory::End;

class PurgatoryTest : public testing::Test {
 protected:
  void Add(int64_t next, int64_t deadline_us) {
    purgatory.Add(Offset(next), deadline_us, [this, next](End end) {
      ends.emplace_back(next, end);
    });
  }
  Purgatory purgatory;
  std::vector<std::pair<int64_t, End>> ends;
};

TEST_F(PurgatoryTest, ThoseThatThePositionHasPassedAreDoneInOrder) {
  Add(3, 100);
  Add(1, 100);
  Add(2, 100);
  purgatory.Advance(Offset(2));
  EXPECT_THAT(ends, ElementsAre(std::pair(1, End::kReached),
                                std::pair(2, End::kReached)));
  EXPECT_EQ(purgatory.size(), 1u);
}

TEST_F(PurgatoryTest, AtTheDeadlineTheOutcomeIsUnknown) {
  Add(1, 100);
  Add(2, 50);
  EXPECT_EQ(purgatory.Expire(49), 50);
  EXPECT_THAT(ends, IsEmpty());
  EXPECT_EQ(purgatory.Expire(50), 100);
  EXPECT_THAT(ends, ElementsAre(std::pair(2, End::kTimedOut)));
  EXPECT_EQ(purgatory.Expire(100), INT64_MAX);
  EXPECT_TRUE(purgatory.empty());
}

TEST_F(PurgatoryTest, AnInterruptEndsAllAndOneWhoWaitsAgainIsKept) {
  purgatory.Add(Offset(1), 100, [&](End end) {
    EXPECT_EQ(end, End::kInterrupted);
    Add(9, 100);
  });
  Add(2, 100);
  purgatory.Interrupt();
  EXPECT_THAT(ends, ElementsAre(std::pair(2, End::kInterrupted)));
  EXPECT_EQ(purgatory.size(), 1u);
}

class WaitersTest : public testing::Test {
 protected:
  WaitId Add(int64_t offset) {
    return waiters.Add(Offset(offset), [this, offset] {
      woken.push_back(offset);
    });
  }
  SimWorld world;
  std::unique_ptr<Executor> executor = world.NewExecutor();
  Waiters waiters{executor.get()};
  std::vector<int64_t> woken;
};

TEST_F(WaitersTest, WhoWaitsBelowTheLimitIsWokenOnceAndNotInline) {
  Add(5);
  Add(4);
  Add(6);
  waiters.Advance(Offset(6));
  EXPECT_THAT(woken, IsEmpty());
  world.RunFor(1);
  EXPECT_THAT(woken, ElementsAre(4, 5));
  waiters.Advance(Offset(6));
  world.RunFor(1);
  EXPECT_THAT(woken, ElementsAre(4, 5));
}

TEST_F(WaitersTest, ACancelledWaitIsNotWoken) {
  const WaitId first = Add(1);
  Add(1);
  waiters.Cancel(first);
  waiters.Cancel(first);  // harmless
  waiters.Cancel(kWaitPosted);
  waiters.WakeAll();
  world.RunFor(1);
  EXPECT_THAT(woken, ElementsAre(1));
}

TEST_F(WaitersTest, BeyondTheLimitThereIsNoRoomUntilOneGoes) {
  WaitId last = 0;
  for (size_t i = 0; i < Waiters::kWaitersMax; ++i) last = Add(1);
  EXPECT_NE(last, 0u);
  EXPECT_EQ(Add(1), 0u);
  waiters.Cancel(last);
  EXPECT_NE(Add(1), 0u);
}

}  // namespace
}  // namespace sluice
