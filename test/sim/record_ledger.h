// What producers sent, what was acknowledged, what readers saw: and whether
// that fits together.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "client/client_types.h"

namespace sluice::sim {

// A record's name: its producer and its number there.
struct RecordName {
  int producer = 0;
  int64_t number = 0;

  auto operator<=>(const RecordName&) const = default;
  std::string ToString() const;  // "2:17"
  static RecordName FromString(std::string_view text);
  // The bytes of the record's value, about so many: no two records have the
  // same, and no part of one could stand where another of it does.
  std::string Value(int bytes) const;
};

// Violations are reported as they are found, by the names of correctness.md
// 4.2: LOST, DUP, REORDER, GAP, DIVERGENT, PHANTOM. A retry may store a record
// twice, but not an idempotent producer's.
class RecordLedger {
 public:
  using Report = std::function<void(const std::string&)>;
  explicit RecordLedger(Report report) : report_(std::move(report)) {}

  // Whatever it sends is stored once and in its order, acknowledged or not
  // (IP1).
  void OnIdempotent(int producer) { idempotent_.insert(producer); }
  void OnSent(const NamedPartition& tp, const RecordName& name);
  // acks=all, by the leader of that epoch: it must be there for ever.
  void OnAcked(const NamedPartition& tp, const RecordName& name, Offset offset,
               LeaderEpoch by = kNoLeaderEpoch);
  // By any reader, at any time.
  void OnRead(const NamedPartition& tp, const RecordName& name, Offset offset);
  // Somebody asks to delete what lies below `before`: from now on readers may
  // miss it.
  void OnTrimming(const NamedPartition& tp, Offset before);
  bool MayBeginAt(const NamedPartition& tp, Offset offset) const {
    return offset <= deletable_below(tp);
  }
  Offset deletable_below(const NamedPartition& tp) const;
  // That was answered: the log begins at `start`, for good (RP23).
  void OnTrimmed(const NamedPartition& tp, Offset start);
  // A leader's answer to where a log begins, as it comes.
  struct Earliest {
    LeaderEpoch epoch;
    Offset start;
    int64_t began_us = 0;  // when it was asked
    int64_t ended_us = 0;
  };
  // No leader of this epoch or a newer one may say less later, whatever else
  // was lost meanwhile (F34); a deposed one may not know.
  void OnEarliest(const NamedPartition& tp, const Earliest& answer);
  // A reader that began at the start has read all of the partition, up to
  // `end`, when nothing happens any more; `first` is what it found first.
  void CheckEnd(const NamedPartition& tp, Offset first, Offset end);
  // The run itself destroyed copies of the partition, of which `last` was the
  // epoch: an unclean election may lose records, and others take their offsets.
  // What leaders of later epochs acknowledge is there for ever, as before.
  void MayLose(const NamedPartition& tp, LeaderEpoch last);
  // So many were.
  int64_t acked_anew() const { return acked_anew_; }
  bool may_lose(const NamedPartition& tp) const;
  // What lies below `first` was kept all the same, as the cluster says.
  void IsKept(const NamedPartition& tp, Offset first);

  int64_t acked() const { return acked_; }
  int64_t acked_of(const NamedPartition& tp) const;
  int64_t sent() const { return sent_; }

 private:
  struct Partition {
    std::set<RecordName> sent;
    std::map<Offset, RecordName> acked;
    std::map<Offset, RecordName> read;
    Offset trimming;  // asked for, at most
    Offset trimmed;   // and answered
    std::vector<Earliest> earliest;  // as they came
    // From here on records may have been lost, of leaders up to that epoch.
    Offset certain{INT64_MAX};
    LeaderEpoch last = kNoLeaderEpoch;
    std::map<Offset, RecordName> acked_anew;  // by later ones
    int64_t acked_count = 0;
  };

  // Two sources of one offset must agree.
  void Compare(const NamedPartition& tp, Offset offset, const RecordName& one,
               const RecordName& two);
  void CheckOrder(const NamedPartition& tp, const Partition& partition);
  void CheckOnce(const NamedPartition& tp, const Partition& partition);
  void CheckAnew(const NamedPartition& tp, const Partition& partition,
                 Offset first);

  const Report report_;
  std::set<int> idempotent_;
  std::map<NamedPartition, Partition> partitions_;
  int64_t acked_ = 0;
  int64_t acked_anew_ = 0;
  int64_t sent_ = 0;
};

}  // namespace sluice::sim
