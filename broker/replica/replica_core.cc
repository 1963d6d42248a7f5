#include "broker/replica/replica_core.h"

#include <algorithm>
#include <utility>

#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice::replica {

std::string_view NameOf(State state) {
  switch (state) {
    case State::kWaiting: return "waiting";
    case State::kStarting: return "starting";
    case State::kLeading: return "leading";
    case State::kAsking: return "asking";
    case State::kFollowing: return "following";
    case State::kCutting: return "cutting";
    case State::kFailed: return "failed";
  }
  return "?";
}

ReplicaCore::ReplicaCore(const Config& config, const Recovered& recovered)
    : config_(config),
      log_start_(recovered.log_start),
      leo_(recovered.leo),
      durable_(recovered.leo),
      high_watermark_(std::clamp(recovered.high_watermark, recovered.log_start,
                                 recovered.leo)),
      epochs_(recovered.epochs) {}

std::vector<Action> ReplicaCore::Step(const Event& event) {
  if (failed_) return {};
  ++steps_;
  actions_.clear();
  const Before before = Remember();
  std::visit([this](const auto& e) { On(e); }, event);
  CheckInvariants(before);
  return std::exchange(actions_, {});
}

State ReplicaCore::state() const {
  if (failed_) return State::kFailed;
  if (cut_.has_value()) return State::kCutting;
  if (leadership_.has_value()) {
    return leadership_->started ? State::kLeading : State::kStarting;
  }
  if (!following_.has_value()) return State::kWaiting;
  return following_->accepted ? State::kFollowing : State::kAsking;
}

bool ReplicaCore::under_min_isr() const {
  return static_cast<int>(isr_.size()) < min_isr_;
}

bool ReplicaCore::hw_is_truth() const {
  return state() == State::kLeading &&
         high_watermark_ >= leadership_->epoch_start;
}

absl::Status ReplicaCore::CheckProduce(bool acks_all) const {
  switch (state()) {
    case State::kLeading: break;
    case State::kFailed:
      return MakeError(ErrorCode::kReplicaFailed, "replica ", config_.self,
                       " has failed; its log file says why");
    default:
      if (leads()) {
        return MakeError(ErrorCode::kLeaderNotAvailable, "replica ",
                         config_.self, " begins to lead epoch ", leader_epoch_,
                         "; try again");
      }
      return MakeError(ErrorCode::kNotLeader, "replica ", config_.self,
                       " does not lead; the leader of epoch ", leader_epoch_,
                       " is ", leader_);
  }
  if (acks_all && under_min_isr()) {
    return MakeError(ErrorCode::kNotEnoughReplicas, isr_.size(),
                     " in-sync replicas, min.insync.replicas is ", min_isr_,
                     "; nothing was appended, try again later");
  }
  return absl::OkStatus();
}

bool ReplicaCore::IsReplica(NodeId broker) const {
  return std::find(replicas_.begin(), replicas_.end(), broker) !=
         replicas_.end();
}

void ReplicaCore::SeeTime(int64_t now_us) {
  now_us_ = std::max(now_us_, now_us);
}

void ReplicaCore::Fail(std::string why) {
  failed_ = true;
  leadership_.reset();
  following_.reset();
  Do(Failed{std::move(why)});
}

// ---- Metadata ----

void ReplicaCore::On(const MetadataChanged& e) {
  SeeTime(e.now_us);
  if (knows_metadata_ &&
      (e.leader_epoch < leader_epoch_ ||
       (e.leader_epoch == leader_epoch_ &&
        e.partition_epoch < partition_epoch_))) {
    return;  // MD2
  }
  if (MUTANT(kDeposedLeadsOn) && leads() && e.leader != config_.self) return;
  const bool new_epoch = !knows_metadata_ || e.leader_epoch > leader_epoch_;
  if (!new_epoch && e.leader != leader_) {
    return Fail(StrCat("the metadata names both ", leader_, " and ", e.leader,
                       " leader of epoch ", leader_epoch_));
  }
  knows_metadata_ = true;
  leader_ = e.leader;
  leader_epoch_ = e.leader_epoch;
  partition_epoch_ = e.partition_epoch;
  replicas_ = e.replicas;
  isr_ = e.isr;
  elr_ = e.elr;
  standing_ = e.standing;
  if (new_epoch || !MUTANT(kMinIsrOfElection)) min_isr_ = e.min_isr;
  settling_ = e.durable && e.durability_settling;
  durable_counts_ =
      e.durable && !(settling_ && MUTANT(kSettlingCountsAppended));
  last_unclean_leader_epoch_ = e.last_unclean_leader_epoch;
  registered_start_ = e.log_start;
  registered_in_log_ = e.log_start_in_log;
  if (new_epoch) {
    TakeRole();
  } else if (leadership_.has_value()) {
    ContinueLeading();
  } else if (following_.has_value() && following_->accepted) {
    AdoptLogStart(registered_start_);
  }
}

// All below was committed once, and is deleted.
void ReplicaCore::AdvanceLogStart(Offset start) {
  log_start_ = start;
  epochs_.TrimTo(leads() && MUTANT(kEpochsLostAtTrim) ? leo_ : start);
  if (high_watermark_ < start) {
    high_watermark_ = start;
    // A leader of whom that is true has not begun: it says nothing yet (RP10).
    if (!leads()) Do(HighWatermarkMoved{high_watermark_});
  }
  Do(replica::AdvanceLogStart{start});
}

// A new leader epoch: nothing that was said or asked in an older one counts
// any more.
void ReplicaCore::TakeRole() {
  const bool leads_now =
      leader_ == config_.self && leader_epoch_ > epochs_.last_epoch();
  if (leadership_.has_value()) {
    if (leads_now) {
      for (const auto& [broker, follower] : leadership_->followers) {
        if (follower.accepted) Do(DropFollower{broker});
      }
    } else {
      Do(LostLeadership{});
    }
  }
  if (!MUTANT(kPositionsOutliveEpoch) || !leads_now) leadership_.reset();
  following_.reset();
  if (leads_now) {
    if (!leadership_.has_value()) leadership_.emplace(config_.lag_time_max_us);
    if (MUTANT(kNewLeaderCuts) && !cut_.has_value()) {
      return Cut(high_watermark_, "the high watermark");
    }
    StartEpoch();
  } else if (leader_ != config_.self && leader_ != kNoNode &&
             IsReplica(config_.self) &&
             leader_epoch_ >= epochs_.last_epoch()) {
    following_.emplace();
    following_->silence_us = config_.lag_time_max_us;
    if (MUTANT(kCutAtHighWatermark) && !cut_.has_value()) {
      return Cut(high_watermark_, "the high watermark");
    }
    Ask();
  }
  // Else: nobody leads, or this metadata is older than the own log, which it
  // cannot be after Rule T3. RP16: an epoch that this replica's log has begun
  // already is never led again.
}

// ---- The own log ----

void ReplicaCore::On(const Appended& e) {
  SeeTime(e.now_us);
  INVARIANT(e.leo >= leo_, "the log went back, ", Facts(), " told ", e.leo);
  INVARIANT(state() == State::kLeading || state() == State::kFollowing,
            "an append in between, ", Facts());
  if (leadership_.has_value()) return OnLeaderAppended(e.leo);
  for (const EpochStart& start : e.started) {
    INVARIANT(epochs_.Assign(start.epoch, start.start), "RP10 epoch ",
              start.epoch, " at ", start.start, " follows ",
              epochs_.last_epoch(), ", ", Facts());
  }
  leo_ = e.leo;
  AdoptHighWatermark();
  AdoptLogStart(registered_start_);
  Acknowledge();
}

void ReplicaCore::On(const Flushed& e) {
  SeeTime(e.now_us);
  // While a cut is under way the log's end is not this core's yet.
  if (cut_.has_value() || e.durable_leo <= durable_) return;
  INVARIANT(e.durable_leo <= leo_, "flushed to ", e.durable_leo, ", ",
            Facts());
  durable_ = e.durable_leo;
  if (leadership_.has_value()) {
    AdvanceHighWatermark();
    ImproveIsr();
  } else if (following_.has_value() && following_->accepted) {
    Acknowledge();
  }
}

void ReplicaCore::On(const TruncateDone& e) {
  INVARIANT(cut_.has_value() && e.leo <= *cut_, "a cut to ", e.leo,
            " that was not ordered, ", Facts());
  if (e.leo < high_watermark_) {
    // Where the epochs agree batches begin alike (RP6). These files are not
    // this log's: somebody put them there.
    return Fail(StrCat("RP13 a cut to ", *cut_, " took the log to ", e.leo,
                       ", below its high watermark ", high_watermark_,
                       ": no batch began at ", *cut_));
  }
  cut_.reset();
  leo_ = e.leo;
  durable_ = e.leo;
  epochs_.TruncateTo(e.leo);
  if (leadership_.has_value()) {
    StartEpoch();
  } else if (following_.has_value()) {
    Ask();
  }
}

void ReplicaCore::On(const Tick& e) {
  SeeTime(e.now_us);
  if (leadership_.has_value()) {
    TickLeader();
  } else if (following_.has_value() && !cut_.has_value()) {
    TickFollower();
  }
}

}  // namespace sluice::replica
