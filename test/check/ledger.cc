#include "test/check/ledger.h"

#include <algorithm>

#include "common/base/str_cat.h"

namespace sluice::check {
namespace {

std::string Text(const StoredBatch& batch) {
  return StrCat("[", batch.base, ", ", batch.last, "] of epoch ", batch.epoch,
                " crc ", batch.crc);
}

}  // namespace

std::vector<StoredBatch>::const_iterator FindBatch(
    const std::vector<StoredBatch>& log, Offset offset) {
  return std::lower_bound(log.begin(), log.end(), offset,
                          [](const StoredBatch& batch, Offset at) {
                            return batch.last < at;
                          });
}

Offset Ledger::EndAsOf(LeaderEpoch epoch) const {
  Offset end = end_;
  for (auto it = entries_.rbegin(); it != entries_.rend() && it->by > epoch;
       ++it) {
    end = it->batch.base;
  }
  return end;
}

std::optional<std::string> Ledger::Commit(LeaderEpoch epoch,
                                          const std::vector<StoredBatch>& log,
                                          Offset from, Offset upto) {
  if (auto missing = Missing(log, Offset(0), from, std::min(upto, end_))) {
    return missing;
  }
  for (auto it = FindBatch(log, end_); end_ < upto; ++it) {
    if (it == log.end() || it->base > end_ || it->last >= upto) {
      return StrCat("it has no whole batch from ", end_, " up to ", upto);
    }
    entries_.push_back({*it, epoch});
    end_ = it->last.Next();
  }
  furthest_ = std::max(furthest_, end_);
  return std::nullopt;
}

std::optional<Offset> Ledger::Adopt(const std::vector<StoredBatch>& log,
                                    Offset log_start, Offset upto) {
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->batch.last < log_start) continue;
    const auto held = FindBatch(log, it->batch.last);
    if (it->batch.last < upto && held != log.end() &&
        held->SameRecords(it->batch)) {
      continue;
    }
    end_ = it->batch.base;
    entries_.erase(it, entries_.end());
    return end_;
  }
  return std::nullopt;
}

const StoredBatch* Ledger::Find(Offset offset) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), offset,
      [](const Entry& entry, Offset at) { return entry.batch.last < at; });
  return found == entries_.end() || found->batch.base > offset ? nullptr
                                                               : &found->batch;
}

std::optional<std::string> Ledger::Missing(const std::vector<StoredBatch>& log,
                                           Offset log_start, Offset from,
                                           Offset upto) const {
  from = std::max(from, log_start);
  if (from >= std::min(upto, end_)) return std::nullopt;
  auto committed = std::lower_bound(
      entries_.begin(), entries_.end(), from,
      [](const Entry& entry, Offset at) { return entry.batch.last < at; });
  auto held = FindBatch(log, from);
  for (; committed != entries_.end() && committed->batch.base < upto;
       ++committed, ++held) {
    if (held == log.end()) {
      return StrCat("its log ends at ",
                    log.empty() ? log_start : log.back().last.Next(),
                    ", committed was ", Text(committed->batch), " by epoch ",
                    committed->by);
    }
    if (!held->SameRecords(committed->batch)) {
      return StrCat("it holds ", Text(*held), ", committed was ",
                    Text(committed->batch), " by epoch ", committed->by);
    }
  }
  return std::nullopt;
}

}  // namespace sluice::check
