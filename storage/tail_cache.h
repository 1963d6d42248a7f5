// The newest appended bytes of a log, kept in memory as the Buffers that were
// appended: followers and consumers of the tail share them without a copy.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>

#include "common/base/buffer.h"
#include "common/base/ids.h"

namespace sluice {

class TailCache;

// The memory all tail caches of one shard may hold together; past it the
// oldest append of any of them goes first. One owner thread, shared with the
// logs it bounds.
class TailBudget {
 public:
  explicit TailBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

  int64_t bytes() const { return bytes_; }
  int64_t bytes_max() const { return bytes_max_; }

 private:
  friend class TailCache;

  int64_t bytes_max_;
  int64_t bytes_ = 0;
  // One per cached append, oldest first. A cache takes its own out.
  std::list<TailCache*> order_;
};

// Invariant: entries are contiguous, each begins where the one before ends.
class TailCache {
 public:
  // `budget` may be null.
  TailCache(int64_t bytes_max, std::shared_ptr<TailBudget> budget)
      : bytes_max_(bytes_max), budget_(std::move(budget)) {}
  ~TailCache() { Clear(); }
  TailCache(const TailCache&) = delete;
  TailCache& operator=(const TailCache&) = delete;

  // [base, next) is what `batches` hold. What does not continue the newest
  // entry replaces all.
  void Add(Offset base, Offset next, const Buffer& batches);
  // Drops every entry that holds an offset at or above `end`.
  void EvictFrom(Offset end);
  void Clear();

  struct Entry {
    Offset base;
    Offset next;
    Buffer batches;
    std::list<TailCache*>::iterator turn;  // in the budget's order
  };
  // The entry that holds `offset`, or null.
  const Entry* Find(Offset offset) const;
  int64_t bytes() const { return bytes_; }

 private:
  void Drop(bool front);

  int64_t bytes_max_;
  std::shared_ptr<TailBudget> budget_;
  std::deque<Entry> entries_;
  int64_t bytes_ = 0;
};

}  // namespace sluice
