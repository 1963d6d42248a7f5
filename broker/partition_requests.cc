// What clients ask of a partition: append, find an offset. Reading is in
// partition_reads.cc.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/partition.h"
#include "broker/time_lookup.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

// ---- Who may ask ----

absl::Status Partition::CheckLeads(
    const std::optional<LeaderEpoch>& epoch) const {
  if (failed_ && (leader_ == shard_->deps.self || leader_ == kNoNode)) {
    return FailedHere();
  }
  if (closed_) {
    return MakeError(ErrorCode::kShuttingDown, "broker ", shard_->deps.self,
                     " is stopping; refresh the metadata");
  }
  if (epoch.has_value() && *epoch > leader_epoch_) {
    return MakeError(ErrorCode::kUnknownLeaderEpoch, "leader epoch ", *epoch,
                     " of ", name(), " is not known here yet; it is ",
                     leader_epoch_, "; try again");
  }
  if (!leads()) {
    return MakeError(ErrorCode::kNotLeader, "broker ", shard_->deps.self,
                     " does not lead ", name(), "; the leader is ", leader_,
                     " in epoch ", leader_epoch_);
  }
  if (epoch.has_value() && *epoch < leader_epoch_) {
    return MakeError(ErrorCode::kFencedLeaderEpoch, "leader epoch ", *epoch,
                     " of ", name(), " is over; it is ", leader_epoch_,
                     " now; refresh the metadata");
  }
  if (core_.state() != replica::State::kLeading) {
    // Nothing is answered before the epoch's start is durable (RP10).
    return MakeError(ErrorCode::kLeaderNotAvailable, "broker ",
                     shard_->deps.self, " begins to lead ", name(),
                     "; try again");
  }
  return absl::OkStatus();
}

// With other replicas this is for a moment only: one of them takes over.
absl::Status Partition::FailedHere() const {
  const PartitionImage* state = shard_->image->FindPartition(tp_);
  const bool alone = state == nullptr || state->replicas.size() < 2;
  return MakeError(alone ? ErrorCode::kReplicaFailed
                         : ErrorCode::kLeaderNotAvailable,
                   "partition ", name(), " has failed on broker ",
                   shard_->deps.self, "; its log file says why",
                   alone ? "" : "; another replica takes over, try again");
}

// Where this broker keeps its files is nobody's business but its operator's.
absl::Status Partition::ForClients(const absl::Status& why) const {
  return MakeError(CodeOf(why), "partition ", name(), " on broker ",
                   shard_->deps.self, ": ",
                   directory_->WithoutPath(StdView(why.message())));
}

void Partition::NoteRefusedAppend(const absl::Status& why) {
  if (CodeOf(why) != ErrorCode::kStorageFull) return;
  ++shard_->counters.appends_without_room;
  directory_->NoteNoRoom();
}

std::optional<api::LeaderHint> Partition::HintWith(
    const api::ItemError& error) const {
  if (error.code != ErrorCode::kNotLeader) return std::nullopt;
  return shard_->HintTo(leader_, leader_epoch_);
}

// ---- Append ----

absl::Status Partition::CheckAppend(const AppendRequest& request) const {
  if (absl::Status s = CheckLeads(request.leader_epoch); !s.ok()) return s;
  return core_.CheckProduce(request.acks == api::Acks::kAll);
}

Partition::Validation Partition::Validate(std::string_view payload,
                                          const ProduceLimits& limits) {
  Validation validation;
  validation.facts = ValidateProduced(payload, limits, &validation.faults);
  return validation;
}

void Partition::Refuse(Produce produce, const absl::Status& why,
                       std::vector<RecordFault> faults) {
  AppendOutcome outcome;
  outcome.error = api::ItemError(why);
  outcome.log_start_offset = log_->log_start();
  outcome.leader = HintWith(outcome.error);
  for (RecordFault& fault : faults) {
    outcome.record_errors.push_back(
        {fault.record_index, std::move(fault.message)});
  }
  produce.ordered();
  produce.done(std::move(outcome));
}

// Nothing was appended: the partition went away during the validation.
void Partition::AnswerGone(Produce produce) {
  AppendOutcome outcome;
  outcome.error = api::ItemError(
      ErrorCode::kUnknownTopicOrPartition,
      "the partition left this broker meanwhile; refresh the metadata");
  produce.ordered();
  produce.done(std::move(outcome));
}

void Partition::Append(AppendRequest request, Task ordered, AppendDone done) {
  Produce produce{std::move(request), std::move(ordered), std::move(done)};
  if (absl::Status s = CheckAppend(produce.request); !s.ok()) {
    return Refuse(std::move(produce), s);
  }
  ProduceLimits limits;
  limits.batch_bytes_max = settings_.max_message_bytes;
  limits.now_ms = shard_->deps.clock->WallMillis();
  if (produce.request.origin == api::AppendOrigin::kCoordinator) {
    // Its own records have its own limit (a group of thousands in one).
    limits.batch_bytes_max =
        std::max(limits.batch_bytes_max,
                 static_cast<int64_t>(produce.request.batches.size()));
  }
  if (!HasCompressedBatch(produce.request.batches.view())) {
    Validation validation = Validate(produce.request.batches.view(), limits);
    return AppendValidated(std::move(produce), std::move(validation));
  }
  // Decompressing is for a worker. What is on its way there is bounded by the
  // budget of produce bytes in flight, and by `ordered` a connection.
  shard_->deps.worker_executor->Post([this, alive = alive_, limits,
                                      executor = shard_->deps.executor,
                                      produce = std::move(produce)]() mutable {
    Validation validation = Validate(produce.request.batches.view(), limits);
    executor->Post([this, alive = std::move(alive),
                    produce = std::move(produce),
                    validation = std::move(validation)]() mutable {
      if (!*alive) return AnswerGone(std::move(produce));
      AppendValidated(std::move(produce), std::move(validation));
    });
  });
}

void Partition::AppendValidated(Produce produce, Validation validation) {
  // Again: the validation may have taken a while.
  if (absl::Status s = CheckAppend(produce.request); !s.ok()) {
    return Refuse(std::move(produce), s);
  }
  if (!validation.facts.ok()) {
    return Refuse(std::move(produce), validation.facts.status(),
                  std::move(validation.faults));
  }
  const auto stored = JudgeSequences(produce.request);
  if (!stored.ok()) return Refuse(std::move(produce), stored.status());
  if (stored->has_value()) {
    return AnswerStored(
        std::move(produce), **stored,
        static_cast<int32_t>(validation.facts->record_count));
  }
  auto info = log_->AppendAsLeader(std::move(produce.request.batches),
                                   leader_epoch_);
  if (!info.ok()) {
    NoteRefusedAppend(info.status());
    if (CodeOf(info.status()) == ErrorCode::kStorageError ||
        MUTANT(kFullDiskEndsProcess)) {
      OnLogError(info.status());
    } else if (const auto rest = shard_->refused_appends.Due(
                   CodeOf(info.status()),
                   shard_->deps.clock->MonoMicros())) {
      LOG(ERROR) << "what a producer sent for " << name()
                 << " is not appended: " << info.status().ToString() << *rest;
    }
    return Refuse(std::move(produce), ForClients(info.status()));
  }
  ++shard_->counters.appended_batches;
  shard_->counters.appended_bytes +=
      static_cast<int64_t>(info->batches.size());
  AppendOutcome outcome;
  outcome.base_offset = info->base;
  outcome.record_count =
      static_cast<int32_t>(validation.facts->record_count);
  outcome.log_start_offset = log_->log_start();
  outcome.durability = Promise();
  const bool answered_later = produce.request.acks != api::Acks::kNone;
  // Before the core learns of the append: a single replica may commit it in
  // the same step.
  if (answered_later) AwaitAcknowledgement(produce, outcome, info->next);
  produce.ordered();
  AfterAppend(*info, {});
  if (!answered_later) {
    // Nobody knows whether it will stay.
    outcome.base_offset = kNoOffset;
    outcome.durability.clear();
    produce.done(std::move(outcome));
  }
}

void Partition::AwaitAcknowledgement(Produce& produce, AppendOutcome outcome,
                                     Offset next) {
  const bool all = produce.request.acks == api::Acks::kAll;
  Purgatory& purgatory =
      all && !MUTANT(kAcksAllAtLeader) ? committed_ : stored_;
  // The purgatory is this partition's: `this` outlives the wait.
  purgatory.Add(next, produce.request.deadline_us,
                [this, all, outcome = std::move(outcome),
                 done = std::move(produce.done)](Purgatory::End end) mutable {
                  if (end == Purgatory::End::kReached) {
                    // As it is now: what was promised when it was appended may
                    // not have been kept, or more is by now.
                    outcome.durability = Promise();
                    outcome.below_min_isr = !all && core_.under_min_isr();
                  } else {
                    outcome.error =
                        UnknownOutcome(end, all, outcome.base_offset);
                    outcome.base_offset = kNoOffset;
                    outcome.durability.clear();
                    outcome.leader = HintWith(outcome.error);
                  }
                  done(std::move(outcome));
                });
}

std::string Partition::Promise() const {
  const bool disk =
      core_.promises_disk() ||
      (core_.durable_counts() && MUTANT(kPromisedUnsettled));
  return disk ? "disk" : "memory";
}

api::ItemError Partition::UnknownOutcome(Purgatory::End end, bool all,
                                         Offset base) const {
  if (end == Purgatory::End::kTimedOut) {
    const bool short_isr = all && core_.under_min_isr();
    return api::ItemError(MakeError(
        short_isr ? ErrorCode::kNotEnoughReplicasAfterAppend
                  : ErrorCode::kRequestTimedOut,
        name(), ": stored at offset ", base, " but not acknowledged by ",
        all ? "all in-sync replicas" : "the leader's disk",
        " in time; the outcome is unknown"));
  }
  const ErrorCode code = failed_   ? CodeOf(FailedHere())
                         : closed_ ? ErrorCode::kShuttingDown
                                   : ErrorCode::kNotLeader;
  return api::ItemError(MakeError(
      code, name(), ": stored at offset ", base, ", but ",
      failed_   ? "the replica failed"
      : closed_ ? "this broker let go of it"
                : "leadership moved",
      " before the acknowledgement; the outcome is unknown"));
}

// ---- Offsets, facts ----

absl::Status Partition::CommittedUnknown() const {
  return MakeError(ErrorCode::kOffsetNotAvailable, "the new leader of ",
                   name(),
                   " does not know yet how much is committed; try again");
}

OffsetOutcome Partition::FindOffset(const OffsetRequest& request) {
  OffsetOutcome outcome;
  const auto refuse = [&](const absl::Status& why) {
    outcome.error = api::ItemError(why);
    outcome.leader = HintWith(outcome.error);
    return outcome;
  };
  if (absl::Status s = CheckLeads(request.leader_epoch); !s.ok()) {
    return refuse(s);
  }
  if (absl::Status s = CheckTimestamp(request); !s.ok()) return refuse(s);
  outcome.high_watermark = core_.high_watermark();
  outcome.last_stable_offset = outcome.high_watermark;
  switch (request.position) {
    case api::OffsetPosition::kEarliest:
      outcome.offset = log_->log_start();
      break;
    case api::OffsetPosition::kLatest:
      if (!core_.hw_is_truth() && !MUTANT(kLatestBeforeLeso)) {  // RP5
        return refuse(CommittedUnknown());
      }
      outcome.offset = outcome.high_watermark;
      break;
    case api::OffsetPosition::kTimestamp:
    case api::OffsetPosition::kMaxTimestamp:
    case api::OffsetPosition::kInvalid:
      return refuse(MakeError(ErrorCode::kInvalidRequest,
                              "a position is EARLIEST, LATEST, TIMESTAMP or "
                              "MAX_TIMESTAMP"));
  }
  outcome.leader_epoch = log_->epochs().EpochAt(outcome.offset);
  return outcome;
}

EpochEndOutcome Partition::FindEpochEnd(const EpochEndRequest& request) const {
  EpochEndOutcome outcome;
  if (absl::Status s = CheckLeads(request.leader_epoch); !s.ok()) {
    outcome.error = api::ItemError(s);
    outcome.leader = HintWith(outcome.error);
    return outcome;
  }
  outcome.log_start_offset = log_->log_start();
  // An epoch to come has no end: "the log ends here" would be a guess.
  if (request.epoch < LeaderEpoch(0) || request.epoch > leader_epoch_) {
    return outcome;
  }
  outcome.end = log_->epochs().EndOf(request.epoch, log_->leo());
  return outcome;
}

v1::PartitionLog Partition::DescribeLog() const {
  v1::PartitionLog out;
  out.set_partition(tp_.partition.value());
  if (absl::Status s = CheckLeads(std::nullopt); !s.ok()) {
    out.mutable_error()->set_code(
        static_cast<v1::ErrorCode>(static_cast<int>(CodeOf(s))));
    out.mutable_error()->set_message(std::string(s.message()));
    return out;
  }
  out.set_log_start_offset(log_->log_start().value());
  out.set_high_watermark(core_.high_watermark().value());
  out.set_log_end_offset(log_->leo().value());
  out.set_durable_end_offset(log_->durable_leo().value());
  out.set_size_bytes(log_->size_bytes());
  out.set_durability(Promise());
  const int64_t now_us = shard_->deps.clock->MonoMicros();
  for (const auto& follower : core_.Followers()) {
    auto* replica = out.add_replicas();
    replica->set_broker_id(follower.broker.value());
    replica->set_appended_offset(follower.appended.value());
    replica->set_durable_offset(follower.durable.value());
    replica->set_last_caught_up_ms(
        follower.last_caught_up_us < 0
            ? -1
            : std::max<int64_t>(now_us - follower.last_caught_up_us, 0) /
                  1000);
  }
  return out;
}

}  // namespace sluice
