// A partition's bytes and marks on disk: group commit, epoch starts, cuts.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

// ---- Marks ----

PartitionMarks Partition::Marks() const {
  PartitionMarks marks;
  marks.recovery_point = log_->durable_leo();
  marks.durable_mark = log_->durable_leo();
  marks.high_watermark = core_.high_watermark();
  if (core_.promises_disk() && !MUTANT(kHwMarkPastDurable)) {
    // Nobody counted what is not synced here: losing it is no loss (ST8).
    marks.high_watermark =
        std::min(marks.high_watermark, log_->durable_leo());
  }
  marks.log_start = log_->log_start();
  marks.epochs = log_->epochs();
  marks.lossy = lossy_;
  marks.topic_name = topic_name_;
  if (!cut_.has_value()) return marks;
  // Whoever writes marks meanwhile: what is about to go is not promised.
  const Offset target = cut_->target;
  marks.high_watermark = std::min(marks.high_watermark, target);
  marks.recovery_point = std::min(marks.recovery_point, target);
  marks.durable_mark = std::min(marks.durable_mark, target);
  marks.epochs.TruncateTo(target);
  if (cut_->reset) {
    marks.log_start = marks.high_watermark = target;
    marks.recovery_point = marks.durable_mark = target;
    marks.epochs.Clear();
  }
  return marks;
}

std::optional<PartitionMarks> Partition::TakeChangedMarks() {
  if (failed_ || cutting() || log_->failed()) return std::nullopt;
  PartitionMarks marks = Marks();
  if (marks == marks_written_) return std::nullopt;
  marks_written_ = marks;
  return marks;
}

void Partition::PersistEpochStart(LeaderEpoch epoch) {
  log_->StartEpoch(epoch);
  marks_written_ = Marks();
  if (MUTANT(kEpochStartNotDurable)) {
    return Step(replica::EpochStartPersisted{
        epoch, shard_->deps.clock->MonoMicros()});
  }
  directory_->PersistMarks(
      tp_, marks_written_, shard_->deps.executor,
      [this, alive = alive_, epoch] {
        if (!*alive) return;
        Step(replica::EpochStartPersisted{
            epoch, shard_->deps.clock->MonoMicros()});
      });
}

// At once: a kill before the marks said so would cost the ELR a member that
// lacks nothing, and the next fail-over would find too few to elect from.
void Partition::PersistWhole() {
  // A cut's lowered marks stand until it is done.
  if (lossy_ || !lossy_on_disk_ || cutting() || MUTANT(kWholeNotWritten)) return;
  marks_written_ = Marks();
  directory_->PersistMarks(tp_, marks_written_, shard_->deps.executor,
                           [this, alive = alive_] {
                             if (*alive) lossy_on_disk_ = false;
                           });
}

// ---- Syncs ----

void Partition::AfterAppend(const AppendInfo& info,
                            std::vector<EpochStart> epochs) {
  const bool led = leads();
  Step(replica::Appended{info.next, std::move(epochs),
                         shard_->deps.clock->MonoMicros()});
  if (led) {
    for (auto& [id, shipper] : shard_->sessions) shipper->OnAppended(tp_);
  }
  NoteUnsynced(info);
  if (settings_.durable || info.rolled || FlushIsDue()) RequestSync();
}

// ---- Syncs that nobody waits for: durability=memory ----

void Partition::NoteUnsynced(const AppendInfo& info) {
  if (unsynced_.bytes == 0) {
    unsynced_.since_us = shard_->deps.clock->MonoMicros();
  }
  unsynced_.bytes += static_cast<int64_t>(info.batches.size());
  unsynced_.records += info.next - info.base;
}

bool Partition::FlushIsDue() const {
  if (unsynced_.bytes == 0) return false;
  const int64_t waited_ms =
      (shard_->deps.clock->MonoMicros() - unsynced_.since_us) / 1000;
  return unsynced_.bytes >= kMemorySyncEveryBytes ||
         unsynced_.records >= settings_.flush_messages ||
         waited_ms >= settings_.flush_ms;
}

void Partition::RequestSync() {
  // One request in flight a log: what is appended meanwhile shares the next.
  if (sync_in_flight_ || cutting() || failed_ || closed_) return;
  auto unsynced = log_->TakeUnsynced();
  if (!unsynced.has_value()) return;
  sync_in_flight_ = true;
  unsynced_ = {};
  SyncThen(*std::move(unsynced), [this] {
    sync_in_flight_ = false;
    Step(replica::Flushed{log_->durable_leo(),
                          shard_->deps.clock->MonoMicros()});
    if (settings_.durable || FlushIsDue()) RequestSync();
  });
}

void Partition::SyncThen(Unsynced unsynced, Task then) {
  SyncSet targets = unsynced.targets;
  directory_->group_commit().Request(
      std::move(targets), shard_->deps.executor,
      [this, alive = alive_, unsynced = std::move(unsynced),
       then = std::move(then)]() mutable {
        if (!*alive || failed_) return;
        log_->MarkDurable(unsynced);
        then();
      });
}

// Syncs of a directory end in the order they were asked for: behind one that
// is under way, this one makes all of the log durable, itself with or without
// anything to sync.
Unsynced Partition::TakeAllUnsynced() {
  if (MUTANT(kCleanStopUnsynced) && closed_) {
    return Unsynced{{}, log_->leo(), log_->generation()};
  }
  return log_->TakeUnsynced().value_or(
      Unsynced{{}, log_->leo(), log_->generation()});
}

// ---- Cuts: lowered marks, then the log, then its sync ----

// The marks go first. A crash after them leaves a log that is longer than it
// had to be, and the leader's answer cuts it again; a crash after a cut that
// the marks do not know would look like lost bytes (ST8).
void Partition::BeginCut(Cut cut) {
  cut_ = cut;
  // Of a log that begins anew nothing is known, wherever that is.
  if (observer_ != nullptr) {
    observer_->OnCut(cut.reset ? Offset(0) : cut.target);
  }
  if (MUTANT(kCutBeforeMarks)) return CutLog(cut);
  marks_written_ = Marks();
  directory_->PersistMarks(tp_, marks_written_, shard_->deps.executor,
                           [this, alive = alive_, cut = std::move(cut)] {
                             if (*alive && !failed_ && !closed_) CutLog(cut);
                           });
}

void Partition::CutLog(const Cut& cut) {
  const Offset from = log_->leo();
  const LeaderEpoch last_epoch = log_->epochs().last_epoch();
  absl::StatusOr<Offset> leo = cut.target;
  if (cut.reset) {
    if (absl::Status done = log_->ResetTo(cut.target); !done.ok()) leo = done;
  } else {
    leo = log_->TruncateTo(cut.target);
  }
  if (!leo.ok()) return OnLogError(leo.status());
  silent_.Cut(*leo);
  expired_.Cut(*leo);
  NoteCut(cut, from, *leo, last_epoch);
  SyncThen(TakeAllUnsynced(), [this, leo = *leo] { FinishCut(leo); });
}

// A cut of an epoch without a record takes nothing away.
void Partition::NoteCut(const Cut& cut, Offset from, Offset to,
                        LeaderEpoch last_epoch) {
  if (from == to) return;
  ++shard_->counters.truncations;
  LOG(INFO) << "broker " << shard_->deps.self
            << (cut.reset ? " reset " : " truncated ") << name() << " from "
            << from << " to " << to << " (HW " << core_.high_watermark()
            << ", last epoch " << last_epoch << ", leader " << leader_
            << " in epoch " << leader_epoch_ << "): " << cut.why;
}

void Partition::FinishCut(Offset leo) {
  if (failed_ || closed_) return;
  if (marks_written_.durable_mark > leo) {
    // The target lay inside a batch.
    marks_written_ = Marks();
    directory_->PersistMarks(tp_, marks_written_, shard_->deps.executor,
                             [this, alive = alive_, leo] {
                               if (*alive) FinishCut(leo);
                             });
    return;
  }
  cut_.reset();
  PersistWhole();
  unsynced_ = {};
  Step(replica::TruncateDone{leo});
}

}  // namespace sluice
