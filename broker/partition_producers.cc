// A partition and its idempotent producers: which batches it stores, which it
// has already, whom it forgets.
#include <utility>

#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

absl::StatusOr<std::optional<StoredRun>> Partition::JudgeSequences(
    const AppendRequest& request) const {
  return log_->producers().Judge(
      request.batches.view(),
      silent_.OlderThanAge(shard_->deps.clock->MonoMicros()));
}

// IP2: the answer is that of the attempt which stored them, given when that
// one would have been: nobody is told of records that may still be lost.
void Partition::AnswerStored(Produce produce, const StoredRun& run,
                             int32_t record_count) {
  ++shard_->counters.duplicates_answered;
  AppendOutcome outcome;
  outcome.duplicate = true;
  outcome.base_offset = run.base;
  outcome.record_count = record_count;
  outcome.log_start_offset = log_->log_start();
  outcome.durability = Promise();
  const bool unacknowledged = produce.request.acks == api::Acks::kNone;
  if (unacknowledged) outcome.base_offset = kNoOffset;
  if (unacknowledged || MUTANT(kDuplicateAnsweredAtOnce)) {
    produce.ordered();
    return produce.done(std::move(outcome));
  }
  AwaitAcknowledgement(produce, std::move(outcome), run.next);
  produce.ordered();
  // It may be so long ago that nothing moves any more.
  committed_.Advance(core_.high_watermark());
  stored_.Advance(core_.position());
}

void Partition::ForgetSilentProducers(int64_t now_us) {
  if (log_->producers().empty()) return;
  silent_.Note(now_us, log_->leo());
  expired_.Note(now_us, log_->leo());
  log_->ExpireProducers(expired_.OlderThanAge(now_us));
}

}  // namespace sluice
