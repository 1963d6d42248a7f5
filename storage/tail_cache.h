// The newest appended bytes of a log, kept in memory as the Buffers that were
// appended: followers and consumers of the tail share them without a copy.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "common/base/buffer.h"
#include "common/base/ids.h"

namespace sluice {

class TailCache;

// The memory all tail caches of one shard may hold together; past it the
// oldest append of any of them goes first. One owner thread, shared with the
// logs it bounds; outlives nothing (shared_ptr).
class TailBudget {
 public:
  explicit TailBudget(int64_t bytes_max) : bytes_max_(bytes_max) {}

  int64_t bytes() const { return bytes_; }
  int64_t bytes_max() const { return bytes_max_; }

 private:
  friend class TailCache;
  struct Token {
    std::weak_ptr<TailCache> cache;
    uint64_t sequence;
  };

  void Added(std::weak_ptr<TailCache> cache, uint64_t sequence,
             int64_t bytes);

  int64_t bytes_max_;
  int64_t bytes_ = 0;
  std::deque<Token> order_;  // at most one token per cached append, plus stale
};

// Invariant: entries are contiguous, each begins where the one before ends.
class TailCache : public std::enable_shared_from_this<TailCache> {
 public:
  // `budget` may be null.
  TailCache(int64_t bytes_max, std::shared_ptr<TailBudget> budget)
      : bytes_max_(bytes_max), budget_(std::move(budget)) {}
  ~TailCache();

  // [base, next) is what `batches` hold; must continue the newest entry.
  void Add(Offset base, Offset next, const Buffer& batches);
  // Drops every entry that holds an offset at or above `end`.
  void EvictFrom(Offset end);
  void Clear();

  struct Entry {
    Offset base;
    Offset next;
    Buffer batches;
    uint64_t sequence = 0;
  };
  // The entry that holds `offset`, or null.
  const Entry* Find(Offset offset) const;
  int64_t bytes() const { return bytes_; }

 private:
  friend class TailBudget;
  void DropFront();
  void DropOldestUpTo(uint64_t sequence);

  int64_t bytes_max_;
  std::shared_ptr<TailBudget> budget_;
  std::deque<Entry> entries_;
  int64_t bytes_ = 0;
  uint64_t next_sequence_ = 1;
};

}  // namespace sluice
