// A replica that leads: begins its epoch, answers followers, decides what is
// committed and who is in sync.
#include <algorithm>
#include <utility>

#include "broker/replica/replica_core.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice::replica {

// A leader's log starts at the registered log start, or later: what any leader
// has shown as deleted stays so (F34). Who was elected clean holds all that was
// committed, hence that offset. A log that was elected unclean may end below it,
// or have a batch across it: then it is of another history from before there
// on, in which nothing behind it was committed. It begins anew, empty: false,
// the epoch starts when that is done.
bool ReplicaCore::BeginsWhereItMust() {
  const Offset start = registered_start_;
  if (start <= log_start_ || MUTANT(kNewLeaderIgnoresTrim)) return true;
  const bool in_log = registered_in_log_ || MUTANT(kStartInsideABatch);
  if (start < leo_ ? in_log : start == leo_) {
    AdvanceLogStart(start);
    return true;
  }
  if (start < leo_ && !MayCutBelowHighWatermark()) {
    Fail(StrCat("the partition's log starts at ", start, " since a trim, where "
                "no batch of this one begins, from ", log_start_, " to ", leo_,
                ", and no unclean election after epoch ", epochs_.last_epoch(),
                " explains it"));
    return false;
  }
  Reset(start);
  return false;
}

// Rule T5: nothing is cut. The epoch's start is durable before the first
// append or answer, also when nothing is ever appended in it (RP10, F4).
void ReplicaCore::StartEpoch() {
  if (cut_.has_value()) return;  // of the log as a follower; when it is done
  if (!BeginsWhereItMust()) return;
  Leadership& leading = *leadership_;
  leading.persisting = true;
  leading.epoch_start = leo_;
  const bool assigned =
      MUTANT(kEmptyEpochNotKept) || epochs_.Assign(leader_epoch_, leo_);
  INVARIANT(assigned, "RP10 RP16 epoch ", leader_epoch_, ", ", Facts());
  leading.samples.Note(now_us_, leo_);
  for (const NodeId broker : replicas_) {
    if (broker != config_.self) leading.followers[broker];
  }
  for (const NodeId broker : isr_) {
    // A member has the whole time limit to be heard of.
    if (broker != config_.self) {
      leading.followers[broker].last_caught_up_us = now_us_;
    }
  }
  Do(PersistEpochStart{leader_epoch_});
}

void ReplicaCore::On(const EpochStartPersisted& e) {
  SeeTime(e.now_us);
  if (!leadership_.has_value() || leadership_->started ||
      !leadership_->persisting || e.epoch != leader_epoch_) {
    return;
  }
  leadership_->started = true;
  Do(BecameLeader{});
  // Checked anew: the metadata may have moved on.
  for (const auto& [broker, add] : std::exchange(leadership_->held, {})) {
    On(add);
  }
  AdvanceHighWatermark();
  ImproveIsr();
}

// The same epoch goes on: another ISR, another standing of a broker, another
// configuration.
void ReplicaCore::ContinueLeading() {
  Leadership& leading = *leadership_;
  // The question is settled, whichever way (RP15).
  if (leading.proposal.has_value() &&
      partition_epoch_ > leading.proposal->partition_epoch) {
    leading.proposal.reset();
  }
  for (auto it = leading.followers.begin(); it != leading.followers.end();) {
    auto& [broker, follower] = *it;
    const auto found = standing_.find(broker);
    const bool registered =
        found != standing_.end() &&
        found->second.epoch == follower.broker_epoch && IsReplica(broker);
    if (follower.broker_epoch != kNoBrokerEpoch && !registered &&
        !MUTANT(kPositionsOutliveIncarnation)) {
      // Another incarnation, or none: what this one reported is void (RP4).
      if (follower.accepted) Do(DropFollower{broker});
      follower = FollowerState();
    }
    it = IsReplica(broker) ? std::next(it) : leading.followers.erase(it);
  }
  for (const NodeId broker : replicas_) {
    if (broker != config_.self) leading.followers[broker];
  }
  // Asked for by this leader in this epoch. Until the epoch has begun there was
  // no question, and what was registered before is for its beginning.
  if (leading.started && registered_start_ > log_start_) {
    INVARIANT(registered_start_ <= high_watermark_, "RP6 RP23 log start to ",
              registered_start_, ", ", Facts());
    AdvanceLogStart(registered_start_);
  }
  AdvanceHighWatermark();
  ImproveIsr();
}

void ReplicaCore::OnLeaderAppended(Offset leo) {
  if (leo > leo_) leadership_->samples.Note(now_us_, leo_);
  leo_ = leo;
  AdvanceHighWatermark();
}

// ---- Followers ----

void ReplicaCore::RejectAdd(const FollowerAdd& add, ErrorCode code,
                            std::string message) {
  Do(RejectFollower{add.broker, code, std::move(message), add.leader_epoch,
                    add.fetch_offset});
}

void ReplicaCore::On(const FollowerAdd& add) {
  if (add.leader_epoch < leader_epoch_) {
    return RejectAdd(add, ErrorCode::kFencedLeaderEpoch,
                     StrCat("epoch ", add.leader_epoch, " is over, it is ",
                            leader_epoch_, "; wait for the metadata"));
  }
  if (add.leader_epoch > leader_epoch_) {
    return RejectAdd(add, ErrorCode::kUnknownLeaderEpoch,
                     StrCat("epoch ", add.leader_epoch,
                            " is not known here yet; ask again"));
  }
  if (!leadership_.has_value()) {
    return RejectAdd(add, ErrorCode::kNotLeader,
                     StrCat("the leader is ", leader_));
  }
  if (add.broker == config_.self || !IsReplica(add.broker)) {
    return RejectAdd(add, ErrorCode::kNotAReplica,
                     StrCat("broker ", add.broker, " is no replica here"));
  }
  const auto found = standing_.find(add.broker);
  if (found == standing_.end() || found->second.epoch != add.broker_epoch) {
    return RejectAdd(
        add, ErrorCode::kStaleBrokerEpoch,
        StrCat("broker ", add.broker, " is registered with epoch ",
               found == standing_.end() ? kNoBrokerEpoch : found->second.epoch,
               " here, not ", add.broker_epoch, "; ask again"));
  }
  if (add.fetch_offset < Offset(0)) {
    return RejectAdd(add, ErrorCode::kInvalidRequest,
                     StrCat("offset ", add.fetch_offset, " is negative"));
  }
  if (!leadership_->started) {
    leadership_->held.insert_or_assign(add.broker, add);
    return;
  }
  AnswerAdd(add);
}

void ReplicaCore::AnswerAdd(const FollowerAdd& add) {
  FollowerState& follower = leadership_->followers[add.broker];
  follower.accepted = false;
  if (add.fetch_offset < log_start_) {
    return RejectAdd(add, ErrorCode::kOffsetOutOfRange,
                     StrCat("the log starts at ", log_start_));
  }
  if (add.last_fetched_epoch != kNoLeaderEpoch) {
    const EpochEnd end = epochs_.EndOf(add.last_fetched_epoch, leo_);
    if (end.epoch == kNoLeaderEpoch) {
      return RejectAdd(add, ErrorCode::kOffsetOutOfRange,
                       StrCat("no epoch up to ", add.last_fetched_epoch,
                              " is known, the log starts at ", log_start_));
    }
    if ((end.epoch < add.last_fetched_epoch && !MUTANT(kOneEpochRound)) ||
        end.end < add.fetch_offset) {
      Do(DivergeFollower{add.broker, end, add.leader_epoch, add.fetch_offset});
      return;
    }
  }
  if (add.fetch_offset > leo_) {
    return RejectAdd(add, ErrorCode::kOffsetOutOfRange,
                     StrCat("the log ends at ", leo_));
  }
  if (MUTANT(kPositionsOutliveIncarnation)) {
    follower.broker_epoch = add.broker_epoch;
  } else if (follower.broker_epoch != add.broker_epoch) {
    follower = FollowerState{.broker_epoch = add.broker_epoch,
                             .last_caught_up_us = follower.last_caught_up_us};
  }
  const bool outlives = MUTANT(kPositionsOutliveLog) ||
                        MUTANT(kPositionsOutliveIncarnation) ||
                        MUTANT(kPositionsOutliveEpoch);
  if (add.fetch_offset < follower.appended && !outlives) {
    // In one leader epoch a log that was accepted only grows. This is another
    // one: the files were set aside, and nothing that it held counts (RP4).
    follower = FollowerState{.broker_epoch = add.broker_epoch,
                             .last_caught_up_us = follower.last_caught_up_us};
  }
  follower.accepted = true;
  // In memory already; whether it is on disk too is for an Ack to say.
  follower.appended = std::max(follower.appended, add.fetch_offset);
  NoteCaughtUp(follower);
  Do(AcceptFollower{add.broker, add.fetch_offset, add.leader_epoch});
  AdvanceHighWatermark();
  ImproveIsr();
}

void ReplicaCore::On(const FollowerAck& ack) {
  SeeTime(ack.now_us);
  if (state() != State::kLeading ||
      (ack.leader_epoch != leader_epoch_ && !MUTANT(kOlderAcksCount))) {
    return;
  }
  const auto found = leadership_->followers.find(ack.broker);
  if (found == leadership_->followers.end()) return;
  FollowerState& follower = found->second;
  // Of an incarnation or an acceptance that is over; or no replica of ours
  // says that.
  if (((!follower.accepted || follower.broker_epoch != ack.broker_epoch) &&
       !MUTANT(kOlderAcksCount)) ||
      ack.appended > leo_ || ack.durable > ack.appended) {
    return;
  }
  follower.appended = std::max(follower.appended, ack.appended);
  follower.durable = std::max(follower.durable, ack.durable);
  NoteCaughtUp(follower);
  AdvanceHighWatermark();
  ImproveIsr();
}

void ReplicaCore::On(const FollowerGone& e) {
  if (!leadership_.has_value()) return;
  leadership_->held.erase(e.broker);
  const auto found = leadership_->followers.find(e.broker);
  // What it has reported stays true of this incarnation.
  if (found != leadership_->followers.end()) found->second.accepted = false;
}

void ReplicaCore::NoteCaughtUp(FollowerState& follower) {
  const Offset position =
      follower.Position(durable_counts_ && !MUTANT(kLagByAppended));
  const int64_t at_us = position >= leo_ ? now_us_
                        : MUTANT(kCaughtUpAgainstCurrentLeo)
                            ? -1
                            : leadership_->samples.CaughtUpAt(position);
  follower.last_caught_up_us = std::max(follower.last_caught_up_us, at_us);
}

// ---- Commitment, ISR ----

IsrView ReplicaCore::View() const {
  return {.self = config_.self,
          .replicas = replicas_,
          .isr = isr_,
          .standing = standing_,
          .followers = leadership_->followers,
          .durable_counts = durable_counts_,
          .own_position = MUTANT(kHwFromAppended) ? leo_ : position(),
          .leo = leo_,
          .high_watermark = high_watermark_,
          .epoch_start = leadership_->epoch_start,
          .now_us = now_us_,
          .lag_time_max_us = config_.lag_time_max_us,
          .min_isr = min_isr_};
}

void ReplicaCore::AdvanceHighWatermark() {
  if (!leadership_->started) return;
  const auto upto = CommittedUpTo(View(), leadership_->proposal, min_isr_);
  if (!upto.has_value() || *upto <= high_watermark_) return;  // RP5
  high_watermark_ = *upto;
  Do(HighWatermarkMoved{high_watermark_});
}

void ReplicaCore::ImproveIsr() {
  Leadership& leading = *leadership_;
  if (!leading.started ||
      (leading.proposal.has_value() && !MUTANT(kTwoIsrChangesInFlight)) ||
      now_us_ < leading.propose_not_before_us) {
    return;
  }
  auto better = BetterIsr(View());
  const bool settles = !better.has_value() && settling_;
  // Durable positions count from the first, so that the high watermark waits
  // for them and none that is told as settled is overtaken.
  if (settles) better = SettledIsr(View(), min_isr_);
  if (!better.has_value()) return;
  leading.proposal = Proposal{.isr = *std::move(better),
                              .partition_epoch = partition_epoch_,
                              .settled = settles};
  Propose();
}

void ReplicaCore::Propose() {
  Proposal& proposal = *leadership_->proposal;
  proposal.answered = false;
  Do(ProposeIsr{leader_epoch_, proposal.partition_epoch, proposal.isr,
                proposal.settled});
}

void ReplicaCore::On(const IsrAnswer& e) {
  using Outcome = IsrAnswer::Outcome;
  if (!leadership_.has_value() || e.leader_epoch != leader_epoch_ ||
      !leadership_->proposal.has_value()) {
    return;
  }
  Proposal& proposal = *leadership_->proposal;
  if (e.partition_epoch != proposal.partition_epoch) return;
  if (e.outcome == Outcome::kApplied) {
    // Until the metadata says so everyone counts, the old and the new; unless
    // it was that already.
    if (e.applied_epoch <= partition_epoch_ || MUTANT(kIsrAnswerCountsAtOnce)) {
      leadership_->proposal.reset();
    }
    return;
  }
  if (e.outcome == Outcome::kNotApplied) {
    leadership_->proposal.reset();
    leadership_->propose_not_before_us = now_us_ + kProposeAgainUs;
    AdvanceHighWatermark();
  } else if (e.outcome == Outcome::kUnknown) {
    proposal.answered = true;
    proposal.ask_again_us = now_us_ + kProposeAgainUs;
  }
  // kStale: newer metadata is on its way, and settles it.
}

void ReplicaCore::TickLeader() {
  Leadership& leading = *leadership_;
  if (!leading.started) return;
  for (auto& [broker, follower] : leading.followers) NoteCaughtUp(follower);
  if (leading.proposal.has_value() && leading.proposal->answered &&
      now_us_ >= leading.proposal->ask_again_us) {
    // The same words: another question could be applied next to this one.
    Propose();
  }
  ImproveIsr();
}

// ---- Queries ----

std::vector<FollowerStatus> ReplicaCore::Followers() const {
  std::vector<FollowerStatus> result;
  if (!leads()) return result;
  for (const auto& [broker, follower] : leadership_->followers) {
    result.push_back({broker, follower.appended, follower.durable,
                      follower.last_caught_up_us});
  }
  return result;
}

std::set<NodeId> ReplicaCore::maximal_isr() const {
  if (!leads()) return {};
  std::set<NodeId> members = MaximalIsr(View(), leadership_->proposal);
  members.insert(config_.self);
  return members;
}

bool ReplicaCore::isr_is_settled() const {
  return leads() && !leadership_->proposal.has_value();
}

// ---- Inspection ----

Offset ReplicaCore::epoch_start() const {
  return leads() ? leadership_->epoch_start : kNoOffset;
}

std::map<NodeId, FollowerState> ReplicaCore::follower_states() const {
  if (!leads()) return {};
  return leadership_->followers;
}

std::optional<Proposal> ReplicaCore::proposal() const {
  if (!leads()) return std::nullopt;
  return leadership_->proposal;
}

}  // namespace sluice::replica
