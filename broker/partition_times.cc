// Offsets by timestamp: the log is read in pieces, on the I/O executor.
#include <memory>
#include <utility>

#include "broker/partition.h"
#include "broker/time_lookup.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

TimeSearch SearchFor(const OffsetRequest& request, Offset from) {
  return request.position == api::OffsetPosition::kMaxTimestamp
             ? TimeSearch::Greatest(from)
             : TimeSearch::FirstAt(request.timestamp_ms, from);
}

}  // namespace

absl::Status CheckTimestamp(const OffsetRequest& request) {
  const bool by_time = request.position == api::OffsetPosition::kTimestamp;
  if (by_time && request.timestamp_ms < 0) {
    return MakeError(ErrorCode::kInvalidRequest, "timestamp_ms ",
                     request.timestamp_ms, "; it is 0 or more");
  }
  if (!by_time && request.timestamp_ms != 0) {
    return MakeError(ErrorCode::kInvalidRequest, "timestamp_ms ",
                     request.timestamp_ms,
                     " beside a position that takes none; only "
                     "POSITION_TIMESTAMP does");
  }
  return absl::OkStatus();
}

absl::Status Partition::CheckLookup(const TimeLookup& lookup) const {
  const OffsetRequest& request = lookup.request;
  if (absl::Status s = CheckLeads(request.leader_epoch); !s.ok()) return s;
  if (absl::Status s = CheckTimestamp(request); !s.ok()) return s;
  // RP5: "none yet" would be a guess.
  if (!core_.hw_is_truth()) return CommittedUnknown();
  if (lookup.search.has_value() && log_->generation() != lookup.generation) {
    return MakeError(ErrorCode::kNotLeader, "the log of ", name(),
                     " was cut while it was looked through; refresh the "
                     "metadata");
  }
  if (shard_->deps.clock->MonoMicros() >= request.deadline_us) {
    return MakeError(ErrorCode::kRequestTimedOut, name(),
                     " was looked through up to offset ", lookup.next, " of ",
                     core_.high_watermark(), "; ask with more time");
  }
  return absl::OkStatus();
}

void Partition::AnswerLookup(TimeLookup& lookup, const absl::Status& why) {
  OffsetOutcome outcome;
  if (!why.ok()) {
    outcome.error = api::ItemError(why);
    outcome.leader = HintWith(outcome.error);
    return lookup.done(std::move(outcome));
  }
  outcome.high_watermark = core_.high_watermark();
  outcome.last_stable_offset = outcome.high_watermark;
  const auto record = lookup.search->Found();
  if (!record.ok()) {
    outcome.error = api::ItemError(record.status());
  } else if (record->has_value()) {
    outcome.offset = (*record)->offset;
    outcome.leader_epoch = (*record)->leader_epoch;
    outcome.timestamp_ms = (*record)->timestamp_ms;
  }
  lookup.done(std::move(outcome));
}

bool Partition::LookOn(const std::shared_ptr<TimeLookup>& lookup,
                       absl::AnyInvocable<void(bool more)> looked) {
  if (absl::Status s = CheckLookup(*lookup); !s.ok()) {
    AnswerLookup(*lookup, s);
    return false;
  }
  const Offset start = log_->log_start();
  if (!lookup->search.has_value() || lookup->next < start) {
    // What was found may lie below the log start of now.
    lookup->search = SearchFor(lookup->request, start);
    lookup->next = start;
    lookup->generation = log_->generation();
  }
  const Offset limit = MUTANT(kTimesPastHw) ? log_->leo()
                                            : core_.high_watermark();
  if (lookup->found || lookup->next >= limit) {
    AnswerLookup(*lookup, absl::OkStatus());
    return false;
  }
  auto plan = log_->PlanRead(lookup->next, limit, kTimeLookupPieceBytes);
  if (!plan.ok()) {
    AnswerLookup(*lookup,
                 JudgeFailedRead(plan.status(), log_->generation()));
    return false;
  }
  LookThere(lookup, *std::move(plan), std::move(looked));
  return true;
}

void Partition::LookThere(const std::shared_ptr<TimeLookup>& lookup,
                          ReadPlan plan,
                          absl::AnyInvocable<void(bool more)> looked) {
  shard_->deps.io_executor->Post([this, alive = alive_, lookup,
                                  plan = std::move(plan),
                                  executor = shard_->deps.executor,
                                  looked = std::move(looked)]() mutable {
    auto read = ExecuteRead(plan, /*no_wait=*/false);
    absl::Status decoded;
    if (read.ok()) {
      // Nothing whole below the limit: there is nothing more to look at.
      const bool none = (**read).batches.empty();
      auto found = lookup->search->Look((**read).batches);
      decoded = found.status();
      lookup->found = none || (found.ok() && *found);
      lookup->next = (**read).next_offset;
    }
    executor->Post([this, alive = std::move(alive), lookup,
                    generation = plan.generation, read = read.status(),
                    decoded = std::move(decoded),
                    looked = std::move(looked)]() mutable {
      if (!*alive) {
        // Closed, and asked for no more: whoever leads it now knows.
        OffsetOutcome gone;
        gone.error = api::ItemError(MakeError(
            ErrorCode::kNotLeader, "partition ", lookup->request.tp,
            " went away while it was looked through; refresh the metadata"));
        lookup->done(std::move(gone));
        return looked(false);
      }
      if (!read.ok()) {
        AnswerLookup(*lookup, log_->generation() == generation
                                  ? JudgeFailedRead(read, generation)
                                  : CheckLookup(*lookup));
        return looked(false);
      }
      unreadable_since_us_.reset();
      // The replica is sound: its CRCs are right. What is in it is not.
      if (!decoded.ok()) {
        AnswerLookup(*lookup, decoded);
        return looked(false);
      }
      looked(true);
    });
  });
}

}  // namespace sluice
