// Where a partition's log begins: moved up by whoever may, told to the replicas.
#include <algorithm>
#include <utility>

#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

void Partition::AdvanceLogStart(Offset start) {
  if (absl::Status moved = log_->SetLogStart(start); !moved.ok()) {
    return OnLogError(moved);
  }
  marks_written_ = Marks();
  // The mark first: a crash in between leaves files below the log start, not
  // a log start without files.
  directory_->PersistMarks(
      tp_, marks_written_, shard_->deps.executor,
      [this, alive = alive_, start] {
        if (!*alive || failed_ || closed_) return;
        // A cut under way has a later mark of its own, which begins no earlier.
        if (!cutting()) {
          if (absl::Status gone = log_->DropBelowLogStart(); !gone.ok()) {
            return OnLogError(gone);
          }
        }
        Step(replica::LogStartPersisted{start});
      });
}

// ---- DeleteRecords ----

// Nobody is told of a log start that the next leader may not know: a reader
// that saw it would see what was deleted come back (F34).
Offset Partition::ShownLogStart() const {
  return trims_.empty() || MUTANT(kTrimShownAtOnce)
             ? log_->log_start()
             : std::min(shown_start_, log_->log_start());
}

absl::Status Partition::BeingTrimmed(Offset offset) const {
  return MakeError(ErrorCode::kOffsetNotAvailable, "offset ", offset, " of ",
                   name(), " is being deleted, up to ", log_->log_start(),
                   ", which not every in-sync replica knows yet; try again");
}

void Partition::SettleTrims() {
  const Offset settled = MUTANT(kTrimAloneIsEnough)
                             ? log_->log_start()
                             : core_.settled_log_start();
  shown_start_ = std::max(shown_start_, settled);
  trims_.Advance(settled);
}

TrimOutcome Partition::TrimFacts() const {
  TrimOutcome outcome;
  outcome.log_start_offset = log_->log_start();
  outcome.high_watermark = core_.high_watermark();
  return outcome;
}

// The log start that is asked for, never past what is committed (RP23).
absl::StatusOr<Offset> Partition::JudgeTrim(const TrimRequest& request) const {
  if (absl::Status s = CheckLeads(request.leader_epoch); !s.ok()) return s;
  // RP5: a new leader's high watermark may be lower than what readers saw.
  if (!core_.hw_is_truth() && !MUTANT(kTrimBeforeLeso)) {
    return MakeError(ErrorCode::kOffsetNotAvailable, "the new leader of ",
                     name(), " does not know yet how much is committed; try "
                     "again");
  }
  const Offset hw = core_.high_watermark();
  if (request.before == kNoOffset) return hw;
  if (request.before < Offset(0) ||
      request.before > (MUTANT(kTrimPastHw) ? log_->leo() : hw)) {
    return MakeError(ErrorCode::kOffsetOutOfRange, name(),
                     " cannot be trimmed to offset ", request.before,
                     ": its records are in [", log_->log_start(), ", ", hw,
                     "); name an offset up to ", hw, ", or its end for all (-1)");
  }
  return request.before;
}

TrimOutcome Partition::RefuseTrim(const absl::Status& why) const {
  TrimOutcome outcome = TrimFacts();
  outcome.error = api::ItemError(why);
  outcome.leader = HintWith(outcome.error);
  return outcome;
}

// A log begins with a batch: replicas copy whole ones. `offset` is in the log.
void Partition::FindBatchStart(
    Offset offset, absl::AnyInvocable<void(absl::StatusOr<Offset>)> done) {
  if (offset <= log_->log_start() || offset >= log_->leo()) return done(offset);
  if (auto tail = log_->ReadInMemory(offset, log_->leo(), /*bytes_max=*/1)) {
    return done(tail->base);
  }
  ReadDiskUpTo(offset, log_->leo(), /*bytes_max=*/1,
               [done = std::move(done)](
                   absl::StatusOr<ReadResult> result) mutable {
                 if (!result.ok()) return done(result.status());
                 done(result->base);
               });
}

void Partition::Trim(const TrimRequest& request, TrimDone done) {
  const absl::StatusOr<Offset> target = JudgeTrim(request);
  if (!target.ok()) return done(RefuseTrim(target.status()));
  FindBatchStart(*target, [this, alive = alive_, request,
                           done = std::move(done)](
                              absl::StatusOr<Offset> start) mutable {
    if (!*alive) {
      TrimOutcome gone;
      gone.error = api::ItemError(
          ErrorCode::kUnknownTopicOrPartition,
          "the partition left this broker meanwhile; refresh the metadata");
      return done(std::move(gone));
    }
    // Again: it may have taken a while.
    absl::Status may = JudgeTrim(request).status();
    if (may.ok()) may = start.status();
    if (!may.ok()) return done(RefuseTrim(may));
    TrimTo(request, *start, std::move(done));
  });
}

void Partition::TrimTo(const TrimRequest& request, Offset to, TrimDone done) {
  TrimOutcome outcome = TrimFacts();
  const Offset start = std::max(to, log_->log_start());
  if (request.validate_only) {
    outcome.log_start_offset = start;
    return done(std::move(outcome));
  }
  if (trims_.size() >= kTrimsWaitingMax) {
    outcome.error = api::ItemError(MakeError(
        ErrorCode::kBusy, trims_.size(), " trims of ", name(),
        " wait for its replicas, the limit; try again later"));
    return done(std::move(outcome));
  }
  const bool moves = start > log_->log_start();
  if (trims_.empty()) shown_start_ = log_->log_start();
  // The purgatory is this partition's: `this` outlives the wait.
  trims_.Add(start, request.deadline_us,
             [this, start, done = std::move(done)](Purgatory::End end) mutable {
               done(EndOfTrim(end, start));
             });
  if (moves) {
    Step(replica::LogStartMoved{start});
    AdvanceLogStart(start);
    if (failed_) return;
    for (auto& [id, shipper] : shard_->sessions) shipper->OnHighWatermark(tp_);
  }
  SettleTrims();
}

TrimOutcome Partition::EndOfTrim(Purgatory::End end, Offset start) const {
  TrimOutcome outcome = TrimFacts();
  if (end == Purgatory::End::kReached) return outcome;
  if (end == Purgatory::End::kTimedOut) {
    outcome.error = api::ItemError(MakeError(
        ErrorCode::kRequestTimedOut, name(), " begins at offset ", start,
        " on its leader, but not every in-sync replica has that on disk yet; "
        "it follows by itself, repeat the call to be sure"));
    return outcome;
  }
  const ErrorCode code = failed_   ? CodeOf(FailedHere())
                         : closed_ ? ErrorCode::kShuttingDown
                                   : ErrorCode::kNotLeader;
  outcome.error = api::ItemError(MakeError(
      code, name(), ": trimmed to offset ", start,
      " here, but leadership went away before every in-sync replica had that; "
      "repeat the call at the new leader"));
  outcome.leader = HintWith(outcome.error);
  return outcome;
}

}  // namespace sluice
