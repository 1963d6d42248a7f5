#include "broker/handlers/subscribe_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/env/sim_world.h"

namespace sluice {
namespace {

constexpr int64_t kPush = 512 << 10;

class FakeHolder final : public SubscribeMemory::Holder {
 public:
  void OnMemory() override { ++woken; }
  void OnEvicted() override {
    ++evicted;
    account.reset();
  }
  std::unique_ptr<SubscribeMemory::Account> account;
  int woken = 0;
  int evicted = 0;
};

class SubscribeMemoryTest : public testing::Test {
 protected:
  FakeHolder& Add() {
    holders_.push_back(std::make_unique<FakeHolder>());
    holders_.back()->account = std::make_unique<SubscribeMemory::Account>(
        &memory_, holders_.back().get());
    return *holders_.back();
  }
  // A push of what it gets; 0: it got nothing.
  static int64_t Push(FakeHolder& holder) {
    const int64_t bytes = holder.account->Take(kPush);
    if (bytes > 0) holder.account->Settle(bytes);
    return bytes;
  }

  SimWorld world_;
  std::unique_ptr<Executor> worker_ = world_.NewExecutor();
  SubscribeMemory memory_{worker_.get(), &world_, 8 << 20};
  std::vector<std::unique_ptr<FakeHolder>> holders_;
};

TEST_F(SubscribeMemoryTest, WhatIsOnTheWireIsGivenBack) {
  FakeHolder& one = Add();
  EXPECT_EQ(Push(one), kPush);
  EXPECT_EQ(Push(one), kPush);
  EXPECT_EQ(one.account->bytes(), 2 * kPush);
  one.account->Release();
  EXPECT_EQ(memory_.budget().taken(), 0);
  // A read under way is not on the wire.
  EXPECT_EQ(one.account->Take(kPush), kPush);
  one.account->Release();
  EXPECT_EQ(memory_.budget().taken(), kPush);
  one.account->Settle(100);
  EXPECT_EQ(memory_.budget().taken(), 100);
  one.account.reset();
  EXPECT_EQ(memory_.budget().taken(), 0);
}

TEST_F(SubscribeMemoryTest, PastHalfAStreamHoldsOneSmallPush) {
  for (int i = 0; i < 9; ++i) Push(Add());
  FakeHolder& late = Add();
  EXPECT_EQ(Push(late), SubscribeMemory::kTightPushBytes);
  EXPECT_EQ(Push(late), 0);
  EXPECT_FALSE(late.account->MayPush());
  late.account->Release();
  EXPECT_EQ(Push(late), SubscribeMemory::kTightPushBytes);
}

TEST_F(SubscribeMemoryTest, AThousandThatDoNotReadStayBelowTheBound) {
  int64_t pushed = 0;
  for (int i = 0; i < 1000; ++i) pushed += Push(Add()) > 0;
  EXPECT_LE(memory_.budget().taken(), memory_.budget().max());
  EXPECT_GT(pushed, 60);
  // The longest stalled make room for those who wait, until all had a turn.
  world_.RunFor(SubscribeMemory::kStalledUs + 1'000'000);
  int evicted = 0;
  int woken = 0;
  for (const auto& holder : holders_) {
    evicted += holder->evicted;
    woken += holder->woken;
  }
  EXPECT_GT(evicted, 0);
  EXPECT_GT(woken, 0);
  EXPECT_LE(memory_.budget().taken(), memory_.budget().max());
}

TEST_F(SubscribeMemoryTest, BatchesThatComeWholePassTheBoundByOneAtMost) {
  constexpr int64_t kBatch = 600 << 10;
  std::vector<FakeHolder*> reading;
  for (int i = 0; i < 200; ++i) {
    FakeHolder& next = Add();
    if (next.account->Take(kPush) > 0) reading.push_back(&next);
    // Two reads are under way at a time, as they come.
    if (reading.size() < 2) continue;
    reading.front()->account->Settle(kBatch);
    reading.erase(reading.begin());
  }
  for (FakeHolder* holder : reading) holder->account->Settle(kBatch);
  // Of those who wait, one after the other.
  for (bool again = true; again;) {
    again = false;
    for (const auto& holder : holders_) {
      if (std::exchange(holder->woken, 0) == 0) continue;
      if (holder->account->Take(kPush) == 0) continue;
      holder->account->Settle(kBatch);
      again = true;
    }
  }
  EXPECT_GT(memory_.budget().taken(), memory_.budget().max() / 2);
  EXPECT_LE(memory_.budget().taken(), memory_.budget().max() + kBatch);
}

TEST_F(SubscribeMemoryTest, NobodyIsEndedWhileNobodyWaits) {
  FakeHolder& stalled = Add();
  Push(stalled);
  world_.RunFor(100 * SubscribeMemory::kStalledUs);
  EXPECT_EQ(stalled.evicted, 0);
}

TEST_F(SubscribeMemoryTest, WhoReadsIsNotEndedThoughOthersWait) {
  FakeHolder& reader = Add();
  Push(reader);
  FakeHolder* waiting = nullptr;
  while (waiting == nullptr) {
    FakeHolder& next = Add();
    if (Push(next) == 0) waiting = &next;
  }
  reader.account->Release();
  EXPECT_EQ(waiting->woken, 1);
  world_.RunFor(SubscribeMemory::kStalledUs / 2);
  EXPECT_GT(Push(*waiting), 0);
  FakeHolder* another = nullptr;
  while (another == nullptr) {
    FakeHolder& next = Add();
    if (Push(next) == 0) another = &next;
  }
  world_.RunFor(SubscribeMemory::kStalledUs / 2 + 1'000'000);
  EXPECT_EQ(reader.evicted, 0);
  EXPECT_EQ(waiting->evicted, 0);  // began to hold half the time ago
  EXPECT_GE(another->woken, 1);
}

TEST_F(SubscribeMemoryTest, WhoHasNoUseForRoomPassesItOn) {
  std::vector<FakeHolder*> waiting;
  while (waiting.size() < 2) {
    FakeHolder& next = Add();
    if (Push(next) == 0) waiting.push_back(&next);
  }
  holders_[1]->account->Release();
  ASSERT_EQ(waiting[0]->woken, 1);
  EXPECT_EQ(waiting[1]->woken, 0);
  waiting[0]->account->Pass();
  EXPECT_EQ(waiting[1]->woken, 1);
}

}  // namespace
}  // namespace sluice
