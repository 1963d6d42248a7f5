// Reading a partition: as leader and, for readers that are near, as a follower
// that is in sync.
#include <algorithm>
#include <utility>

#include "broker/partition.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/base/str_cat.h"

namespace sluice {

// ---- Who may read ----

// Its log agrees with the leader's of this epoch, and what it knows to be
// committed is no older than the in-sync replicas' lag allows.
bool Partition::ServesAsFollower() const {
  return !failed_ && !closed_ && !cutting() &&
         core_.state() == replica::State::kFollowing &&
         (Contains(isr_, shard_->deps.self) ||
          MUTANT(kFollowerReadOutOfSync));
}

absl::Status Partition::CheckReads(const ReadRequest& request) const {
  if (request.rack.empty() || !ServesAsFollower()) {
    return CheckLeads(request.leader_epoch);
  }
  if (!request.leader_epoch.has_value() ||
      *request.leader_epoch == leader_epoch_) {
    return absl::OkStatus();
  }
  const bool newer = *request.leader_epoch > leader_epoch_;
  return MakeError(newer ? ErrorCode::kUnknownLeaderEpoch
                         : ErrorCode::kFencedLeaderEpoch,
                   "leader epoch ", *request.leader_epoch, " of ", name(),
                   newer ? " is not known here yet; it is "
                         : " is over; it is ",
                   leader_epoch_, newer ? "; try again"
                                        : " now; refresh the metadata");
}

// An in-sync follower in the reader's rack that holds what is asked for, as far
// as this leader knows; nullopt too where the leader itself is in that rack.
std::optional<PreferredReplica> Partition::ReplicaNear(
    const ReadRequest& request) const {
  if (request.rack.empty() || !leads() || shard_->image == nullptr) {
    return std::nullopt;
  }
  const auto is_near = [&](NodeId id) {
    const BrokerImage* broker = shard_->image->FindBroker(id);
    return broker != nullptr && broker->active() &&
           broker->rack == request.rack;
  };
  if (is_near(shard_->deps.self)) return std::nullopt;
  for (const auto& follower : core_.Followers()) {
    if (!Contains(isr_, follower.broker) || !is_near(follower.broker) ||
        follower.appended < request.offset) {
      continue;
    }
    auto endpoint = shard_->EndpointOf(follower.broker, kPublicListener);
    if (endpoint.has_value()) {
      return PreferredReplica{follower.broker, *std::move(endpoint)};
    }
  }
  return std::nullopt;
}

// ---- What there is to read ----

// Where the leader's log begins for readers, and whether a history is another,
// is for the leader to say: a reader that a follower cannot serve asks there.
absl::Status Partition::JudgeFollowerRead(const ReadRequest& request,
                                          Offset limit) const {
  if (request.offset > log_->leo() && MUTANT(kFollowerAheadOutOfRange)) {
    return MakeError(ErrorCode::kOffsetOutOfRange, "offset ", request.offset,
                     " of ", name(), " is above ", log_->leo());
  }
  // F33: what a follower does not have yet is no reason to begin anew.
  if (request.offset > limit) return NotCommittedYet(request.offset, limit);
  const bool agrees =
      !request.last_fetched_epoch.has_value() ||
      !Divergence(request.offset, *request.last_fetched_epoch).has_value();
  if (request.offset >= log_->log_start() && agrees) return absl::OkStatus();
  return MakeError(ErrorCode::kOffsetNotAvailable, "broker ",
                   shard_->deps.self, ", a follower, cannot read ", name(),
                   " from offset ", request.offset,
                   " on; ask the leader, broker ", leader_);
}

absl::Status Partition::NotCommittedYet(Offset offset, Offset limit) const {
  return MakeError(MUTANT(kOutOfRangePastHw) ? ErrorCode::kOffsetOutOfRange
                                             : ErrorCode::kOffsetNotAvailable,
                   "offset ", offset, " of ", name(),
                   " is not known to be committed yet (high watermark ", limit,
                   "); try again");
}

absl::Status Partition::JudgeRead(const ReadRequest& request, Offset limit,
                                  std::optional<EpochEnd>& diverging) const {
  if (request.last_fetched_epoch > std::optional(leader_epoch_)) {
    return MakeError(ErrorCode::kUnknownLeaderEpoch, "a record of ", name(),
                     " in leader epoch ", *request.last_fetched_epoch,
                     " is not known here yet; the epoch is ", leader_epoch_,
                     "; try again");
  }
  if (!leads()) return JudgeFollowerRead(request, limit);
  if (request.last_fetched_epoch.has_value() &&
      request.offset >= log_->log_start()) {
    diverging = Divergence(request.offset, *request.last_fetched_epoch);
    if (diverging.has_value()) {
      const std::string holds =
          diverging->epoch == kNoLeaderEpoch
              ? "it has no record of that epoch or an older one"
              : StrCat("epoch ", diverging->epoch, " ends at ", diverging->end);
      return MakeError(
          ErrorCode::kLogTruncated, "what was read of ", name(), " up to offset ",
          request.offset, " in leader epoch ", *request.last_fetched_epoch,
          " is not what the log holds any more: ", holds,
          ", the log begins at ", log_->log_start(),
          "; read again from where both agree");
    }
  }
  if (request.offset < log_->log_start() || request.offset > log_->leo()) {
    return MakeError(ErrorCode::kOffsetOutOfRange, "offset ", request.offset,
                     " of ", name(), " is outside [", log_->log_start(), ", ",
                     log_->leo(), "]");
  }
  // F23: a new leader may not know yet how much is committed.
  if (request.offset > limit) return NotCommittedYet(request.offset, limit);
  return absl::OkStatus();
}

// Where the histories part, when a reader's record before `offset` is of
// `epoch` and this log's is not. A reader at the log start is past comparing.
std::optional<EpochEnd> Partition::Divergence(Offset offset,
                                              LeaderEpoch epoch) const {
  if (epoch < LeaderEpoch(0) || offset == log_->log_start() ||
      MUTANT(kCutUnseenByReaders)) {
    return std::nullopt;
  }
  const EpochEnd end = log_->epochs().EndOf(epoch, log_->leo());
  if (end.epoch == epoch && end.end >= offset) return std::nullopt;
  return end;
}

// ---- Reading ----

void Partition::Read(const ReadRequest& request, ReadDone done) {
  ReadOutcome outcome;
  outcome.leader_epoch = leader_epoch_;
  if (leads()) outcome.log_start_offset = log_->log_start();
  outcome.next_offset = request.offset;
  const auto refuse = [&](const absl::Status& why) {
    outcome.error = api::ItemError(why);
    outcome.leader = HintWith(outcome.error);
    done(std::move(outcome));
  };
  if (absl::Status s = CheckReads(request); !s.ok()) return refuse(s);
  outcome.follower = !leads();
  const bool past_hw = MUTANT(kReadsPastHw) ||
                       (!leads() && MUTANT(kFollowerReadPastHw));
  const Offset limit = past_hw ? log_->leo() : core_.high_watermark();
  outcome.high_watermark = limit;
  outcome.last_stable_offset = limit;
  if (absl::Status s = JudgeRead(request, limit, outcome.diverging); !s.ok()) {
    return refuse(s);
  }
  outcome.preferred_replica = ReplicaNear(request);
  if (outcome.preferred_replica.has_value()) return done(std::move(outcome));
  ReadUpTo(limit, std::max<int32_t>(request.max_bytes, 1), std::move(outcome),
           std::move(done));
}

// From outcome.next_offset on: the tail in memory, else the disk.
void Partition::ReadUpTo(Offset limit, int64_t room, ReadOutcome outcome,
                         ReadDone done) {
  Offset& from = outcome.next_offset;
  while (from < limit && room > 0) {
    auto tail = log_->ReadInMemory(from, limit, room);
    if (!tail.has_value() || MUTANT(kTailReadFromDisk)) break;
    const auto bytes = static_cast<int64_t>(tail->batches.size());
    if (!outcome.batches.empty() && bytes > room) break;
    room -= bytes;
    outcome.batches_bytes += tail->batches.size();
    outcome.batches.push_back(std::move(tail->batches));
    from = tail->next_offset;
  }
  if (!outcome.batches.empty()) {
    outcome.last_record_epoch = log_->epochs().EpochAt(from - 1);
  }
  if (!outcome.batches.empty() || from >= limit) {
    shard_->counters.read_bytes +=
        static_cast<int64_t>(outcome.batches_bytes);
    return done(std::move(outcome));
  }
  ReadDiskUpTo(from, limit, room,
               [this, alive = alive_, outcome = std::move(outcome),
                done = std::move(done)](
                   absl::StatusOr<ReadResult> result) mutable {
                 if (!result.ok()) {
                   outcome.error = api::ItemError(result.status());
                   if (*alive) outcome.leader = HintWith(outcome.error);
                 } else {
                   outcome.next_offset = result->next_offset;
                   outcome.batches_bytes = result->batches.size();
                   outcome.batches.push_back(std::move(result->batches));
                   if (*alive) {
                     outcome.last_record_epoch =
                         log_->epochs().EpochAt(outcome.next_offset - 1);
                     shard_->counters.read_bytes +=
                         static_cast<int64_t>(outcome.batches_bytes);
                   }
                 }
                 done(std::move(outcome));
               });
}

std::optional<ReadResult> Partition::ReadTail(Offset from,
                                              int64_t bytes_max) {
  if (MUTANT(kTailReadFromDisk)) return std::nullopt;
  return log_->ReadInMemory(from, log_->leo(), bytes_max);
}

void Partition::ReadDisk(
    Offset from, int64_t bytes_max,
    absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done) {
  ReadDiskUpTo(from, log_->leo(), bytes_max, std::move(done));
}

// `from` < `upto`: the result is never empty.
void Partition::ReadDiskUpTo(
    Offset from, Offset upto, int64_t bytes_max,
    absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done) {
  auto plan = log_->PlanRead(from, upto, bytes_max);
  if (!plan.ok()) {
    return done(JudgeFailedRead(plan.status(), log_->generation()));
  }
  auto at_once = ExecuteRead(*plan, /*no_wait=*/true);
  if (!at_once.ok()) {
    return done(JudgeFailedRead(at_once.status(), plan->generation));
  }
  if (at_once->has_value()) {
    unreadable_since_us_.reset();
    return done(*std::move(*at_once));
  }
  shard_->deps.io_executor->Post([this, alive = alive_,
                                  plan = *std::move(plan),
                                  executor = shard_->deps.executor,
                                  done = std::move(done)]() mutable {
    auto result = ExecuteRead(plan, /*no_wait=*/false);
    executor->Post([this, alive = std::move(alive),
                    generation = plan.generation, result = std::move(result),
                    done = std::move(done)]() mutable {
      if (!*alive || log_->generation() != generation) {
        return done(MakeError(ErrorCode::kNotLeader,
                              "the log was cut while it was read; refresh the "
                              "metadata"));
      }
      if (!result.ok()) {
        return done(JudgeFailedRead(result.status(), generation));
      }
      INVARIANT(result->has_value(), name(), ": a waiting read answers");
      unreadable_since_us_.reset();
      done(*std::move(*result));
    });
  });
}

// A read that failed fails its request (ST10); one that found bad bytes fails
// the replica (ST2): what it holds must not be served, or elected, again.
absl::Status Partition::JudgeFailedRead(const absl::Status& failed,
                                        uint64_t generation) {
  if (generation != log_->generation() || failed_) return failed;
  const ErrorCode code = CodeOf(failed);
  if (code == ErrorCode::kCorruptMessage) {
    Fail(std::string(failed.message()), /*corrupt=*/true);
    return FailedHere();
  }
  if (code == ErrorCode::kStorageError &&
      (IsUnreadable() || MUTANT(kReadErrorFailsReplica))) {
    Fail(StrCat("every read of its files has failed for ",
                kUnreadableUs / 1'000, " ms; the last one: ",
                std::string(failed.message())),
         /*corrupt=*/true);
    return FailedHere();
  }
  return ForClients(failed);
}

// F52: a leader that writes well and cannot read starves its followers, and
// would drop them from the ISR one by one until it is the only one who has what
// it cannot read. Somebody else in sync leads on instead; without one, what it
// still can do is better than nothing.
bool Partition::IsUnreadable() {
  if (!leads() || isr_.size() < 2 || MUTANT(kUnreadableLeadsOn)) return false;
  const int64_t now_us = shard_->deps.clock->MonoMicros();
  if (!unreadable_since_us_.has_value()) unreadable_since_us_ = now_us;
  return now_us - *unreadable_since_us_ >= kUnreadableUs;
}

WaitId Partition::WaitForProgress(Offset offset, Task wake) {
  const bool serves = CheckLeads(std::nullopt).ok() || ServesAsFollower();
  if (!serves || core_.high_watermark() > offset) {
    shard_->deps.executor->Post(std::move(wake));
    return kWaitPosted;
  }
  return waiters_.Add(offset, std::move(wake));
}

}  // namespace sluice
