#include "storage/tail_cache.h"

#include <algorithm>

namespace sluice {

void TailCache::Add(Offset base, Offset next, const Buffer& batches) {
  if (!entries_.empty() && entries_.back().next != base) Clear();
  Entry entry{base, next, batches, {}};
  const auto size = static_cast<int64_t>(batches.size());
  bytes_ += size;
  if (budget_ != nullptr) {
    budget_->bytes_ += size;
    entry.turn = budget_->order_.insert(budget_->order_.end(), this);
  }
  entries_.push_back(std::move(entry));
  while (bytes_ > bytes_max_) Drop(/*front=*/true);
  while (budget_ != nullptr && budget_->bytes_ > budget_->bytes_max_) {
    budget_->order_.front()->Drop(/*front=*/true);
  }
}

void TailCache::Drop(bool front) {
  Entry& entry = front ? entries_.front() : entries_.back();
  const auto size = static_cast<int64_t>(entry.batches.size());
  bytes_ -= size;
  if (budget_ != nullptr) {
    budget_->bytes_ -= size;
    budget_->order_.erase(entry.turn);
  }
  if (front) {
    entries_.pop_front();
  } else {
    entries_.pop_back();
  }
}

void TailCache::EvictFrom(Offset end) {
  while (!entries_.empty() && entries_.back().next > end) {
    Drop(/*front=*/false);
  }
}

void TailCache::Clear() {
  while (!entries_.empty()) Drop(/*front=*/false);
}

const TailCache::Entry* TailCache::Find(Offset offset) const {
  if (entries_.empty() || offset < entries_.front().base ||
      offset >= entries_.back().next) {
    return nullptr;
  }
  // Readers of the tail ask for the newest entry nearly always.
  if (offset >= entries_.back().base) return &entries_.back();
  const auto after = std::upper_bound(
      entries_.begin(), entries_.end(), offset,
      [](Offset o, const Entry& entry) { return o < entry.base; });
  return &*std::prev(after);
}

}  // namespace sluice
