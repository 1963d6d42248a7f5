#include "broker/consume/ack_ledger.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice::consume {

void AckLedger::Note(const NamedPartition& tp, const Entry* entry) {
  const auto put = [&tp](Partitions& among, bool is) {
    is ? void(among.insert(tp)) : void(among.erase(tp));
  };
  put(unacknowledged_, entry != nullptr && entry->unacknowledged());
  put(due_, entry != nullptr && entry->due());
  put(under_way_, entry != nullptr && entry->under_way.has_value());
}

void AckLedger::Begin(const NamedPartition& tp) {
  End({tp});
  entries_[tp] = Entry();
}

void AckLedger::End(const Partitions& partitions) {
  for (const NamedPartition& tp : partitions) {
    if (const auto found = entries_.find(tp); found != entries_.end()) {
      Unweigh(found->second, Offset(INT64_MAX));
      entries_.erase(found);
    }
    Note(tp, nullptr);
  }
  Seal(partitions);
}

// Their bytes are released in their turn all the same.
void AckLedger::Seal(const Partitions& partitions) {
  for (Unreleased& pushed : unreleased_) {
    for (const NamedPartition& tp : partitions) pushed.positions.erase(tp);
  }
}

void AckLedger::Sought(const NamedPartition& tp, Offset offset) {
  const auto found = entries_.find(tp);
  INVARIANT(found != entries_.end(), tp.ToString(),
            " was sought and is not assigned");
  found->second.sought = offset;
}

void AckLedger::Pushed(const NamedPartition& tp, Offset next,
                       LeaderEpoch leader_epoch, int64_t bytes) {
  const auto found = entries_.find(tp);
  INVARIANT(found != entries_.end(), tp.ToString(),
            " was pushed and is not assigned");
  found->second.pushed = next;
  found->second.pushed_epoch = leader_epoch;
  Weigh(found->second, next, bytes);
  Note(tp, &found->second);
  if (mode_ != Mode::kAuto) return;
  if (unreleased_.size() < kUnreleasedMax) unreleased_.emplace_back();
  unreleased_.back().bytes += bytes;
  unreleased_.back().positions[tp] = {next, leader_epoch, std::nullopt};
}

absl::Status AckLedger::Acknowledge(const NamedPartition& tp,
                                    const Position& position) {
  const auto found = entries_.find(tp);
  if (found == entries_.end()) {
    return MakeError(ErrorCode::kInvalidRequest, tp.ToString(),
                     " is not assigned to this stream, or was revoked; its "
                     "records come again to whoever has it");
  }
  Entry& entry = found->second;
  if (position.metadata.has_value() &&
      position.metadata->size() > kMetadataBytesMax) {
    return MakeError(ErrorCode::kOffsetMetadataTooLarge,
                     "metadata of ", position.metadata->size(),
                     " bytes; the most is ", kMetadataBytesMax);
  }
  const Offset most = std::max(entry.sought, entry.pushed);
  if (position.offset > most && !MUTANT(kAckedPastPushed)) {
    return MakeError(ErrorCode::kInvalidCommitOffset, tp.ToString(), ": offset ",
                     position.offset, " was acknowledged, and what was pushed "
                     "ends at ", most);
  }
  const Offset last =
      entry.acknowledged.has_value() ? entry.acknowledged->offset : kNoOffset;
  if (position.offset <= last) {
    return MakeError(ErrorCode::kInvalidCommitOffset, tp.ToString(), ": offset ",
                     position.offset, " was acknowledged after ", last,
                     "; acknowledgements only go forward");
  }
  entry.acknowledged = position;
  const bool all = position.offset == entry.pushed;
  if (all && position.leader_epoch == kNoLeaderEpoch) {
    entry.acknowledged->leader_epoch = entry.pushed_epoch;
  }
  Unweigh(entry, position.offset);
  Note(tp, &entry);
  return absl::OkStatus();
}

bool AckLedger::Release(int64_t bytes) {
  const bool any = bytes > 0 && !unreleased_.empty();
  if (MUTANT(kAutoReleasesAll)) bytes = INT64_MAX / 2;
  while (bytes > 0 && !unreleased_.empty()) {
    Unreleased& first = unreleased_.front();
    const int64_t part = std::min(bytes, first.bytes - released_bytes_);
    bytes -= part;
    released_bytes_ += part;
    if (released_bytes_ < first.bytes) break;
    released_bytes_ = 0;
    AcknowledgeReleased(first.positions);
    unreleased_.pop_front();
  }
  return any;
}

void AckLedger::AcknowledgeReleased(const Positions& positions) {
  for (const auto& [tp, position] : positions) {
    const auto found = entries_.find(tp);
    if (found == entries_.end()) continue;
    std::optional<Position>& last = found->second.acknowledged;
    // A RevokeAck may have said more.
    if (!last.has_value() || last->offset < position.offset) last = position;
    Unweigh(found->second, last->offset);
    Note(tp, &found->second);
  }
}

void AckLedger::Weigh(Entry& entry, Offset next, int64_t bytes) {
  if (bytes == 0) return;
  unacknowledged_bytes_ += bytes;
  // Partitions bound what is beyond kUnreleasedMax.
  if (weights_ < kUnreleasedMax || entry.weights.empty()) {
    entry.weights.emplace_back();
    ++weights_;
  }
  entry.weights.back().next = next;
  entry.weights.back().bytes += bytes;
}

void AckLedger::Unweigh(Entry& entry, Offset offset) {
  while (!entry.weights.empty() && entry.weights.front().next <= offset) {
    unacknowledged_bytes_ -= entry.weights.front().bytes;
    entry.weights.pop_front();
    --weights_;
  }
}

bool AckLedger::IsUnsettled(const Partitions& partitions) const {
  return std::any_of(partitions.begin(), partitions.end(),
                     [this](const auto& tp) {
                       return due_.contains(tp) || under_way_.contains(tp);
                     });
}

// ---- Commits ----

AckLedger::Positions AckLedger::TakeDue(size_t most) {
  Positions due;
  while (!due_.empty() && due.size() < most) {
    const NamedPartition tp = *due_.begin();
    Entry& entry = entries_.at(tp);
    entry.under_way = entry.acknowledged->offset;
    due[tp] = *entry.acknowledged;
    Note(tp, &entry);
  }
  return due;
}

void AckLedger::OnCommitted(const NamedPartition& tp, Offset offset) {
  const auto found = entries_.find(tp);
  // Assigned anew since: it is of the time before.
  if (found == entries_.end() || found->second.under_way != offset) return;
  found->second.under_way.reset();
  found->second.committed = offset;
  Note(tp, &found->second);
}

void AckLedger::OnRefused(const NamedPartition& tp) {
  const auto found = entries_.find(tp);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  // What was acknowledged since is asked for by itself.
  if (entry.under_way.has_value() && entry.acknowledged.has_value() &&
      entry.acknowledged->offset == *entry.under_way) {
    entry.acknowledged.reset();
    if (entry.committed != kNoOffset) {
      entry.acknowledged = Position{entry.committed};
    }
  }
  entry.under_way.reset();
  Note(tp, &entry);
}

void AckLedger::OnUnanswered(const NamedPartition& tp) {
  const auto found = entries_.find(tp);
  if (found == entries_.end()) return;
  found->second.under_way.reset();
  Note(tp, &found->second);
}

AckLedger::Positions AckLedger::DropDue() {
  Positions due = TakeDue(entries_.size());
  for (const auto& [tp, position] : due) OnRefused(tp);
  return due;
}

}  // namespace sluice::consume
