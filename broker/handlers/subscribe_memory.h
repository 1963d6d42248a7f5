// The memory that all subscriptions of a broker share.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "common/env/budget.h"
#include "common/env/clock.h"
#include "common/env/executor.h"

namespace sluice {

// Belongs to the worker. What was pushed and is not on the wire yet counts; a
// client that does not read holds what it was pushed last. So that a thousand
// of them do not take all:
//  - past half of the budget a stream holds one push at a time, of at most
//    kTightPushBytes (or one batch, which comes whole), and one stream reads at
//    a time: the bound is passed by one batch at most;
//  - windows for what other brokers push on its way here shrink (TakeWindow);
//  - when all is taken, who wants to push waits in line, and while somebody
//    waits, who has read nothing for kStalledUs is ended, the longest first.
class SubscribeMemory {
 public:
  static constexpr int64_t kTightPushBytes = 64 << 10;
  static constexpr int64_t kStalledUs = 10'000'000;
  static constexpr int64_t kWindowBytesMin = 4 << 10;
  // Of what is left of the first half, a window is so small a part at most.
  static constexpr int64_t kWindowPart = 16;

  // A stream, as this sees it. Outlives its Account.
  class Holder {
   public:
    virtual ~Holder() = default;
    // There may be room now. Posts what it does about it.
    virtual void OnMemory() = 0;
    // It has not read for kStalledUs and others wait: ends its Account.
    virtual void OnEvicted() = 0;
  };

  // What one stream holds.
  class Account {
   public:
    Account(SubscribeMemory* memory, Holder* holder)
        : memory_(memory), holder_(holder), share_(memory->budget_->Nothing()) {}
    ~Account();
    Account(const Account&) = delete;

    // Room for one push of `bytes_max` at most: how much of that. 0: none now;
    // OnMemory follows or, while it holds something, its own Release.
    int64_t Take(int64_t bytes_max);
    // What the push that was taken for is in the end; 0: there is none.
    void Settle(int64_t bytes);
    // Whether it may push what it has in memory already; then Charge.
    bool MayPush() const { return !memory_->tight() || bytes() == 0; }
    void Charge(int64_t bytes);
    // All that it holds is on the wire.
    void Release();
    // Woken by OnMemory, it has taken nothing.
    void Pass() {
      if (!waits_) memory_->WakeNext();
    }

    // Pushed and not on the wire.
    int64_t bytes() const { return share_.amount() - taken_; }
    // And not settled.
    int64_t taken() const { return taken_; }

   private:
    friend class SubscribeMemory;
    SubscribeMemory* const memory_;
    Holder* const holder_;
    Budget::Share share_;
    int64_t taken_ = 0;
    int64_t since_us_ = 0;  // holds something, and has read nothing since
    bool holds_ = false;    // in memory_->holding_
    std::list<Account*>::iterator place_;
    bool waits_ = false;  // in memory_->waiting_
  };

  SubscribeMemory(Executor* worker, const Clock* clock, int64_t bytes_max)
      : worker_(worker), clock_(clock), budget_(Budget::Of(bytes_max)) {}
  ~SubscribeMemory() { *alive_ = false; }
  SubscribeMemory(const SubscribeMemory&) = delete;

  const Budget& budget() const { return *budget_; }
  // For what comes from another broker before it is pushed: at most `most`, and
  // less the more of the first half of the budget is taken, so that nobody goes
  // without while others have much. Past that half kWindowBytesMin each, until
  // three quarters are taken; the rest is for pushes.
  // nullopt: all that windows may have is taken.
  std::optional<Budget::Share> TakeWindow(int64_t most);
  // Makes it up to twice as large, `most` at most, where there is much room:
  // by how much.
  int64_t GrowWindow(Budget::Share& window, int64_t most);

 private:
  int64_t WindowOffer() const {
    return (budget_->max() / 2 - budget_->taken()) / kWindowPart;
  }
  bool tight() const { return budget_->taken() > budget_->max() / 2; }
  bool has_room() const {
    return budget_->max() - budget_->taken() >= kTightPushBytes;
  }
  void Enqueue(Account* account);
  void WakeNext();
  void ScheduleEviction();
  void Evict();

  Executor* const worker_;
  const Clock* const clock_;
  const std::shared_ptr<Budget> budget_;
  std::list<Account*> holding_;  // by since_us_
  std::deque<Account*> waiting_;
  int reading_ = 0;  // accounts that have taken and not settled
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
