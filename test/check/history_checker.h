// Judges what clients of a cluster did and saw, knowing nothing of how the
// cluster works: correctness.md 4.2. HISTORY.md says what each flaw means here
// and what is counted without being one. O(n log n) in sends, answers and
// records.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "test/check/history.h"

namespace sluice::check {

// In the order of kFlawNames.
enum class Flaw {
  kLost,
  kLostTail,
  kDup,
  kReorder,
  kRealtime,
  kGap,
  kDivergent,
  kPhantom,
  kTorn,
  kFailedButRead,
  kStale,
  kNonMono,
  kHwBack,
  kUnjudged,
};

inline constexpr std::array<std::string_view, 14> kFlawNames = {
    "LOST",      "LOST-TAIL", "DUP",     "REORDER", "REALTIME",
    "GAP",       "DIVERGENT", "PHANTOM", "TORN",    "FAILED-BUT-READ",
    "STALE",     "NONMONO",   "HW-BACK", "UNJUDGED",
};
inline constexpr size_t kFlawCount = kFlawNames.size();
static_assert(static_cast<size_t>(Flaw::kUnjudged) + 1 == kFlawCount);

struct HistoryVerdict {
  static constexpr size_t kExamplesMax = 3;  // of each flaw

  std::array<int64_t, kFlawCount> flaws{};
  std::vector<std::string> examples;  // "LOST orders-0: ..."

  // What the verdict rests on.
  int64_t sent = 0;
  int64_t acked = 0;       // by all in-sync replicas
  int64_t acked_weak = 0;  // acks = 0, 1
  int64_t failed = 0;
  int64_t unknown = 0;  // no answer, or one that says nothing
  int64_t answers = 0;
  int64_t polls = 0;
  int64_t records_polled = 0;
  int64_t copies = 0;
  int64_t records_copied = 0;

  // Allowed, and worth knowing.
  int64_t duplicates_explained = 0;  // by retries
  int64_t weak_losses = 0;           // of acks = 0, 1
  int64_t deposed_answers = 0;  // old news, by a leader of an older epoch
  int64_t early_answers = 0;    // by a new leader that did not know it all yet
  // Cannot be judged.
  int64_t acks_without_epoch = 0;
  int64_t answers_without_epoch = 0;

  int64_t count(Flaw flaw) const { return flaws[static_cast<size_t>(flaw)]; }
  bool passed() const;
  // A line a count, flaws first.
  std::string ToTable() const;
};

// What a history does not say itself.
struct HistoryScope {
  // By number, as all here: somebody asked to delete what lies below. It need
  // not be there any more, for no reader; and a replica that was filled from
  // the log's start on knows nothing of it: sent again, it is stored again, as
  // in Kafka.
  std::map<int32_t, int64_t> deleted_below;
  // Records were given up there: what was acknowledged may be gone. Still no
  // reader is given what nobody sent, in other bytes, or what was refused, and an
  // offset is one record in an epoch.
  std::set<int32_t> given_up;
  // False: more will happen, nobody has looked for what was acknowledged.
  bool is_over = true;

  int64_t DeletedBelow(int32_t partition) const {
    const auto found = deleted_below.find(partition);
    return found == deleted_below.end() ? 0 : found->second;
  }
};

HistoryVerdict CheckHistory(const History& history,
                            const HistoryScope& scope = {});

}  // namespace sluice::check
