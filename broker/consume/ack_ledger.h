// What was pushed to a client, what of it is done with, and what is committed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/group/membership_types.h"
#include "common/base/ids.h"
#include "common/consumer/named_partition.h"

namespace sluice::consume {

using consumer::NamedPartition;
using membership::Partitions;

// Of the partitions that are assigned. Nothing is committed that was not
// pushed, and per partition only forward.
//
//   acknowledged   the client says so (Acknowledge) or, in auto mode, has given
//                  credit for as many bytes again (Release)
//   due            acknowledged, not committed and not asked for
//   under way      asked of the coordinator
class AckLedger {
 public:
  enum class Mode { kExplicit, kAuto };
  struct Position {
    Offset offset;
    LeaderEpoch leader_epoch = kNoLeaderEpoch;  // of the record before it
    std::optional<std::string> metadata;
  };
  using Positions = std::map<NamedPartition, Position>;

  // Pushes that are remembered one by one, to be released (auto mode), and to
  // be counted. Beyond, new ones go with the last of them.
  static constexpr size_t kUnreleasedMax = 10'000;
  static constexpr size_t kMetadataBytesMax = 4'096;

  explicit AckLedger(Mode mode) : mode_(mode) {}

  // Assigned, or read anew from somewhere else: nothing is pushed.
  void Begin(const NamedPartition& tp);
  void End(const Partitions& partitions);
  // The client has said all that it will of these: what a grant releases of
  // them from here on it has given up.
  void Seal(const Partitions& partitions);

  // The client keeps its offsets, and begins there: what is before is done.
  void Sought(const NamedPartition& tp, Offset offset);
  void Pushed(const NamedPartition& tp, Offset next, LeaderEpoch leader_epoch,
              int64_t bytes);

  // INVALID_REQUEST: not assigned. INVALID_COMMIT_OFFSET: not forward, or past
  // what was pushed or sought. OFFSET_METADATA_TOO_LARGE.
  absl::Status Acknowledge(const NamedPartition& tp, const Position& position);
  // Auto mode: the oldest `bytes` that were pushed are done with. What was not
  // pushed yet is not: credit given before it was pushed is no word about it.
  // Whether anything was.
  bool Release(int64_t bytes);

  // Something was pushed that the client has not acknowledged.
  bool HasUnacknowledged() const { return !unacknowledged_.empty(); }
  // Of that.
  int64_t unacknowledged_bytes() const { return unacknowledged_bytes_; }
  bool HasDue() const { return !due_.empty(); }
  // Of these something is due or under way.
  bool IsUnsettled(const Partitions& partitions) const;
  bool IsUnsettled() const { return !due_.empty() || !under_way_.empty(); }

  // Becomes under way, `most` at most.
  Positions TakeDue(size_t most);
  // What became of what was under way.
  void OnCommitted(const NamedPartition& tp, Offset offset);
  void OnRefused(const NamedPartition& tp);  // will not be asked again
  void OnUnanswered(const NamedPartition& tp);  // is due again
  // Nothing that is due can be committed any more.
  Positions DropDue();

 private:
  struct Weight {
    Offset next;  // acknowledged: its bytes are
    int64_t bytes = 0;
  };
  struct Entry {
    Offset sought = kNoOffset;
    Offset pushed = kNoOffset;  // the next to be pushed
    LeaderEpoch pushed_epoch = kNoLeaderEpoch;
    std::optional<Position> acknowledged;
    std::optional<Offset> under_way;
    Offset committed = kNoOffset;  // through this stream
    std::deque<Weight> weights;    // in the order of offsets

    bool unacknowledged() const {
      return pushed != kNoOffset &&
             (!acknowledged.has_value() || acknowledged->offset < pushed);
    }
    bool due() const {
      return acknowledged.has_value() && !under_way.has_value() &&
             acknowledged->offset > committed;
    }
  };
  struct Unreleased {
    int64_t bytes = 0;
    Positions positions;
  };

  void AcknowledgeReleased(const Positions& positions);
  void Weigh(Entry& entry, Offset next, int64_t bytes);
  // Nothing before `offset` is unacknowledged any more.
  void Unweigh(Entry& entry, Offset offset);
  // After each change of an entry, or without one.
  void Note(const NamedPartition& tp, const Entry* entry);

  const Mode mode_;
  std::map<NamedPartition, Entry> entries_;
  // Which of them are what.
  Partitions unacknowledged_;
  Partitions due_;
  Partitions under_way_;
  std::deque<Unreleased> unreleased_;
  int64_t released_bytes_ = 0;  // of the first of unreleased_
  int64_t unacknowledged_bytes_ = 0;
  size_t weights_ = 0;  // of all entries
};

}  // namespace sluice::consume
