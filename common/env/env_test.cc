#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "common/env/budget.h"
#include "common/env/published.h"
#include "common/env/real_clock.h"
#include "common/env/sim_world.h"
#include "common/env/thread_executor.h"

namespace sluice {
namespace {

using testing::ElementsAre;

TEST(ThreadExecutorTest, RunsTasksInOrderOnItsOwnThread) {
  ThreadExecutor executor("test");
  std::vector<int> order;
  std::promise<bool> done;
  for (int i = 0; i < 3; ++i) {
    executor.Post([&order, i] { order.push_back(i); });
  }
  executor.Post([&] { done.set_value(executor.IsCurrent()); });

  EXPECT_TRUE(done.get_future().get());
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
  EXPECT_FALSE(executor.IsCurrent());
}

TEST(ThreadExecutorTest, TimersRunInOrderOfTimeAndCancelledOnesNever) {
  ThreadExecutor executor("test");
  std::vector<int> order;
  std::promise<void> done;
  executor.PostAfter(20000, [&] {
    order.push_back(2);
    done.set_value();
  });
  executor.PostAfter(1000, [&] { order.push_back(1); });
  const TimerId cancelled =
      executor.PostAfter(2000, [&] { order.push_back(99); });
  EXPECT_TRUE(executor.Cancel(cancelled));
  EXPECT_FALSE(executor.Cancel(cancelled));

  done.get_future().get();
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST(SimWorldTest, TimeMovesFromEventToEvent) {
  SimWorld world;
  const auto a = world.NewExecutor();
  auto b = world.NewExecutor();
  std::vector<int64_t> seen;
  a->PostAfter(500, [&] { seen.push_back(world.MonoMicros()); });
  b->PostAfter(100, [&] {
    seen.push_back(world.MonoMicros());
    EXPECT_TRUE(b->IsCurrent());
    a->Post([&] { seen.push_back(-1); });
  });

  world.RunFor(1000);

  EXPECT_THAT(seen, ElementsAre(100, -1, 500));
  EXPECT_EQ(world.MonoMicros(), 1000);
}

TEST(SimWorldTest, AnExecutorThatDiesTakesItsEventsAlong) {
  SimWorld world;
  auto executor = world.NewExecutor();
  bool ran = false;
  executor->PostAfter(10, [&] { ran = true; });
  executor.reset();
  world.RunFor(100);
  EXPECT_FALSE(ran);
}

TEST(SimWorldTest, BehindAHaltTimePassesWithoutEvents) {
  SimWorld world;
  const auto executor = world.NewExecutor();
  int ran = 0;
  std::function<void()> again = [&] {
    if (++ran == 3) world.Halt();
    executor->Post(again);
  };
  again();
  world.RunFor(100);  // would never end
  EXPECT_EQ(ran, 3);
  EXPECT_EQ(world.MonoMicros(), 100);
  EXPECT_FALSE(world.RunUntil([&] { return ran == 4; }, 50));
  EXPECT_EQ(world.MonoMicros(), 150);
  EXPECT_FALSE(world.Step());
}

TEST(PublishedTest, ReadersKeepTheValueTheyLoaded) {
  Published<int> holder(std::make_shared<const int>(1));
  const auto before = holder.Load();
  holder.Store(std::make_shared<const int>(2));

  EXPECT_EQ(*before, 1);
  EXPECT_EQ(*holder.Load(), 2);
}

TEST(BudgetTest, GivesNoMoreThanItHasAndTakesSharesBack) {
  const auto budget = Budget::Of(10);
  auto first = budget->TryTake(7);
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(budget->TryTake(4).has_value());
  EXPECT_TRUE(budget->TryTake(3).has_value());  // and back at once
  EXPECT_EQ(budget->taken(), 7);

  Budget::Share moved = *std::move(first);
  first.reset();
  EXPECT_EQ(budget->taken(), 7);
  moved = Budget::Share();
  EXPECT_EQ(budget->taken(), 0);
}

TEST(BudgetTest, AShareGrowsWithinTheBoundAndIsSetToWhatIsThere) {
  const auto budget = Budget::Of(10);
  std::optional<Budget::Share> share = budget->Nothing();
  EXPECT_TRUE(share->TryAdd(8));
  EXPECT_FALSE(share->TryAdd(3));
  EXPECT_EQ(budget->refused(), 1);
  share->Add(5);  // came larger than it was thought to be
  EXPECT_EQ(budget->taken(), 13);
  EXPECT_EQ(share->amount(), 13);
  EXPECT_FALSE(budget->TryTake(0).has_value());
  share->Add(-10);
  EXPECT_EQ(budget->taken(), 3);
  share.reset();
  EXPECT_EQ(budget->taken(), 0);
}

TEST(BudgetTest, ThreadsNeverTakeMoreThanTheBoundTogether) {
  const auto budget = Budget::Of(3);
  std::vector<std::future<bool>> threads;
  for (int t = 0; t < 4; ++t) {
    threads.push_back(std::async(std::launch::async, [&] {
      for (int i = 0; i < 10000; ++i) {
        const auto share = budget->TryTake(1);
        if (budget->taken() > budget->max()) return false;
      }
      return true;
    }));
  }
  for (auto& thread : threads) EXPECT_TRUE(thread.get());
  EXPECT_EQ(budget->taken(), 0);
}

}  // namespace
}  // namespace sluice
