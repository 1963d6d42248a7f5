// Where a partition's log begins: asked of the controllers, done when the
// metadata says so.
#include <algorithm>
#include <utility>

#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/str_cat.h"

namespace sluice {

// The core says so: the metadata has it.
void Partition::AdvanceLogStart(Offset start) {
  if (absl::Status moved = log_->SetLogStart(start); !moved.ok()) {
    return OnLogError(moved);
  }
  marks_written_ = Marks();
  // The mark first: a crash in between leaves files below the log start, not
  // a log start without files.
  directory_->PersistMarks(
      tp_, marks_written_, shard_->deps.executor, [this, alive = alive_] {
        // A cut under way has a later mark of its own, which begins no earlier.
        if (!*alive || failed_ || closed_ || cutting()) return;
        if (absl::Status gone = log_->DropBelowLogStart(); !gone.ok()) {
          OnLogError(gone);
        }
      });
}

bool Partition::BeginsToLeadAt(const PartitionImage& partition) {
  if (failed_ || closed_ || partition.leader != shard_->deps.self ||
      partition.leader_epoch <= core_.leader_epoch() ||
      partition.log_start <= log_->log_start()) {
    return false;
  }
  const auto begins = log_->BeginsBatchAt(partition.log_start);
  if (!begins.ok()) OnLogError(begins.status());
  return begins.value_or(false);
}

// ---- DeleteRecords ----

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

// Nothing moves here before the controllers have recorded it: whoever leads
// next would show what readers were told is gone (F34).
void Partition::TrimTo(const TrimRequest& request, Offset to, TrimDone done) {
  TrimOutcome outcome = TrimFacts();
  if (request.validate_only || to <= log_->log_start()) {
    outcome.log_start_offset = std::max(to, log_->log_start());
    return done(std::move(outcome));
  }
  if (trims_.size() >= kTrimsWaitingMax) {
    outcome.error = api::ItemError(MakeError(
        ErrorCode::kBusy, trims_.size(), " trims of ", name(),
        " wait for the controllers, the limit; try again later"));
    return done(std::move(outcome));
  }
  // The purgatory is this partition's: `this` outlives the wait.
  trims_.Add(to, request.deadline_us,
             [this, to, done = std::move(done)](Purgatory::End end) mutable {
               done(EndOfTrim(end, to));
             });
  AskToRecord(to, request.deadline_us);
  if (MUTANT(kTrimBeforeRecorded)) {
    AdvanceLogStart(to);
    trims_.Advance(to);
  }
}

void Partition::AskToRecord(Offset start, int64_t deadline_us) {
  internal::v1::AdvanceLogStart wanted;
  wanted.set_topic_id(tp_.topic_id.ToBytes());
  wanted.set_partition(tp_.partition.value());
  wanted.set_leader_epoch(leader_epoch_.value());
  wanted.set_log_start_offset(start.value());
  shard_->deps.log_starts->Record(std::move(wanted), deadline_us);
}

void Partition::OnLogStartDecision(const LogStartDecision& decision) {
  // Who waited in an older epoch has been told.
  if (!leads() || decision.leader_epoch != leader_epoch_) return;
  if (decision.status.ok()) {
    // The log start comes with the metadata, or has come.
    trim_recorded_ = std::max(trim_recorded_, decision.log_start);
    return;
  }
  trim_refused_ =
      MakeErrorStatus(CodeOf(decision.status),
                      StrCat(decision.status.message(),
                             decision.uncertain
                                 ? "; it may be recorded yet"
                                 : "; nothing is deleted, and nothing will be"));
  trims_.Refuse(decision.log_start);
}

TrimOutcome Partition::EndOfTrim(Purgatory::End end, Offset start) const {
  TrimOutcome outcome = TrimFacts();
  if (end == Purgatory::End::kReached) return outcome;
  outcome.error = api::ItemError(WhyNotTrimmed(end, start));
  outcome.leader = HintWith(outcome.error);
  return outcome;
}

absl::Status Partition::WhyNotTrimmed(Purgatory::End end, Offset start) const {
  if (end == Purgatory::End::kRefused) {
    return MakeError(CodeOf(trim_refused_), "the controllers have not recorded "
                     "that ", name(), " begins at offset ", start, ": ",
                     trim_refused_.message());
  }
  if (end == Purgatory::End::kTimedOut && start <= trim_recorded_) {
    return MakeError(ErrorCode::kRequestTimedOut, name(), " begins at offset ",
                     start, " by the controllers' records, which its leader has "
                     "not followed yet; it does so by itself, repeat the call "
                     "to be sure");
  }
  if (end == Purgatory::End::kTimedOut) {
    return MakeError(ErrorCode::kRequestTimedOut, "no controller has said in "
                     "time that ", name(), " begins at offset ", start,
                     "; nothing is deleted before one records it, which may "
                     "still happen; check that a majority of the controllers "
                     "runs, and repeat the call");
  }
  const ErrorCode code = failed_   ? CodeOf(FailedHere())
                         : closed_ ? ErrorCode::kShuttingDown
                                   : ErrorCode::kNotLeader;
  return MakeError(code, name(), ": leadership went away before it was known "
                   "here whether it begins at offset ", start,
                   "; repeat the call at the new leader");
}

}  // namespace sluice
