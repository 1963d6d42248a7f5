#include "broker/handlers/subscribe_memory.h"

#include <algorithm>
#include <utility>

namespace sluice {

SubscribeMemory::Account::~Account() {
  if (waits_) {
    auto& waiting = memory_->waiting_;
    waiting.erase(std::find(waiting.begin(), waiting.end(), this));
  }
  if (holds_) memory_->holding_.erase(place_);
  if (taken_ > 0) --memory_->reading_;
  const bool gives = share_.amount() > 0;
  share_ = Budget::Share();
  if (gives) memory_->WakeNext();
}

int64_t SubscribeMemory::Account::Take(int64_t bytes_max) {
  if (waits_) return 0;
  if (memory_->tight()) {
    if (bytes() > 0) return 0;  // until that is on the wire
    bytes_max = std::min(bytes_max, kTightPushBytes);
  }
  const bool in_turn = !memory_->tight() || memory_->reading_ == 0;
  if (!in_turn || !share_.TryAdd(bytes_max)) {
    if (bytes() == 0) memory_->Enqueue(this);
    return 0;
  }
  taken_ = bytes_max;
  ++memory_->reading_;
  if (memory_->has_room()) memory_->WakeNext();
  return bytes_max;
}

void SubscribeMemory::Account::Settle(int64_t bytes) {
  share_.Add(-std::exchange(taken_, 0));
  --memory_->reading_;
  if (bytes > 0) Charge(bytes);
  if (memory_->has_room()) memory_->WakeNext();
}

void SubscribeMemory::Account::Charge(int64_t bytes) {
  share_.Add(bytes);
  if (holds_) return;
  holds_ = true;
  since_us_ = memory_->clock_->MonoMicros();
  place_ = memory_->holding_.insert(memory_->holding_.end(), this);
  memory_->ScheduleEviction();
}

void SubscribeMemory::Account::Release() {
  if (!holds_) return;
  memory_->holding_.erase(place_);
  holds_ = false;
  share_.Add(-bytes());
  memory_->WakeNext();
}

std::optional<Budget::Share> SubscribeMemory::TakeWindow(int64_t most) {
  const int64_t bytes =
      std::min(most, std::max(WindowOffer(), kWindowBytesMin));
  if (budget_->taken() + bytes > budget_->max() / 4 * 3) return std::nullopt;
  return budget_->TryTake(bytes);
}

int64_t SubscribeMemory::GrowWindow(Budget::Share& window, int64_t most) {
  const int64_t bytes = std::min(most - window.amount(), window.amount());
  if (bytes <= 0 || bytes > WindowOffer() || !window.TryAdd(bytes)) return 0;
  return bytes;
}

void SubscribeMemory::Enqueue(Account* account) {
  account->waits_ = true;
  waiting_.push_back(account);
  ScheduleEviction();
}

void SubscribeMemory::WakeNext() {
  if (waiting_.empty()) return;
  Account* next = waiting_.front();
  waiting_.pop_front();
  next->waits_ = false;
  next->holder_->OnMemory();
}

void SubscribeMemory::ScheduleEviction() {
  if (timer_ != 0 || waiting_.empty() || holding_.empty() || has_room()) {
    return;
  }
  const int64_t at_us = holding_.front()->since_us_ + kStalledUs;
  timer_ = worker_->PostAfter(
      std::max<int64_t>(at_us - clock_->MonoMicros(), 0),
      [this, alive = alive_] {
        if (!*alive) return;
        timer_ = 0;
        Evict();
      });
}

void SubscribeMemory::Evict() {
  const int64_t now_us = clock_->MonoMicros();
  while (!waiting_.empty() && !has_room() && !holding_.empty() &&
         holding_.front()->since_us_ + kStalledUs <= now_us) {
    Holder* stalled = holding_.front()->holder_;
    stalled->OnEvicted();  // releases, and so wakes the next
  }
  ScheduleEviction();
}

}  // namespace sluice
