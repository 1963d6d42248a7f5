// A replica that follows: asks, cuts what its leader does not confirm, takes
// what it sends, says how far it got.
#include <algorithm>
#include <utility>

#include "broker/replica/replica_core.h"
#include "common/base/mutant.h"

namespace sluice::replica {

// RP11: a frame of another epoch has no effect.
bool ReplicaCore::Hears(LeaderEpoch epoch) const {
  return following_.has_value() && !cut_.has_value() &&
         (epoch == leader_epoch_ || MUTANT(kOlderEpochHeard));
}

void ReplicaCore::Ask() {
  if (cut_.has_value()) return;
  following_->accepted = false;
  following_->leader_high_watermark = kNoOffset;
  // Of the own log, however long nothing was fetched (F25).
  Do(SendAdd{leader_, leader_epoch_, leo_,
             MUTANT(kFollowerForgetsEpoch) ? kNoLeaderEpoch
                                           : epochs_.last_epoch()});
  following_->ask_again_us = now_us_ + following_->patience_us;
  following_->patience_us =
      std::min(2 * following_->patience_us, kAskAgainMaxUs);
}

void ReplicaCore::TickFollower() {
  Following& following = *following_;
  if (following.accepted) {
    if (std::find(isr_.begin(), isr_.end(), config_.self) != isr_.end()) {
      Hear();
    } else if (IsLeaderSilent()) {
      AskAnew();
    }
  } else if (now_us_ >= following.ask_again_us) {
    Ask();
  }
}

bool ReplicaCore::IsLeaderSilent() const {
  return now_us_ - following_->heard_us >= following_->silence_us &&
         !MUTANT(kSilentLeaderAwaited);
}

void ReplicaCore::AskAnew() {
  following_->silence_us =
      std::min(2 * following_->silence_us,
               kSilenceLagTimesMax * config_.lag_time_max_us);
  Ask();
  std::get<SendAdd>(actions_.back()).leader_silent = true;
}

void ReplicaCore::Hear() {
  following_->heard_us = now_us_;
  following_->silence_us = config_.lag_time_max_us;
}

void ReplicaCore::AskLater() {
  following_->accepted = false;
  following_->leader_high_watermark = kNoOffset;
  following_->ask_again_us =
      std::max(following_->ask_again_us, now_us_ + kAskAgainMinUs);
}

void ReplicaCore::On(const LinkOpened& e) {
  if (!following_.has_value() || e.leader != leader_) return;
  following_->patience_us = kAskAgainMinUs;
  Ask();
}

void ReplicaCore::On(const LinkClosed& e) {
  if (following_.has_value() && e.leader == leader_) AskLater();
}

void ReplicaCore::On(const AddAccepted& e) {
  // An answer to an earlier question says nothing of where the log ends now.
  if (!Hears(e.leader_epoch) || following_->accepted ||
      e.fetch_offset != leo_) {
    return;
  }
  following_->accepted = true;
  following_->patience_us = kAskAgainMinUs;
  following_->heard_us = now_us_;
  // What lies below the leader's log start in this log need not be what was
  // committed there (F34). The leader may know of a trim before this replica.
  AdoptLogStart(std::max(e.log_start, registered_start_));
  Acknowledge();
}

void ReplicaCore::On(const DataReceived& e) {
  if (!Hears(e.leader_epoch) || !following_->accepted) return;
  Hear();
  if (e.base_offset > leo_) return Ask();  // something is missing
  if (e.base_offset == leo_) Do(AppendData{});
}

void ReplicaCore::On(const HighWatermarkReceived& e) {
  // Before the divergence is settled nothing says that what lies below the
  // leader's high watermark here is what lies below it there (F24).
  if (!Hears(e.leader_epoch) || !following_->accepted) return;
  following_->heard_us = now_us_;
  following_->leader_high_watermark =
      std::max(following_->leader_high_watermark, e.high_watermark);
  AdoptHighWatermark();
}

// Only while accepted: before, what lies at the registered start here need not
// be what the leader has there, a batch may even lie across it.
void ReplicaCore::AdoptLogStart(Offset wanted) {
  const Offset start = std::min(wanted, leo_);
  if (start > log_start_) AdvanceLogStart(start);
}

void ReplicaCore::AdoptHighWatermark() {
  const Offset known = MUTANT(kFollowerHwUncapped)
                           ? following_->leader_high_watermark
                           : std::min(following_->leader_high_watermark, leo_);
  if (known <= high_watermark_) return;
  high_watermark_ = known;
  Do(HighWatermarkMoved{high_watermark_});
}

void ReplicaCore::Acknowledge() {
  Do(SendAck{leader_, leader_epoch_, leo_,
             MUTANT(kFollowerReportsUnsynced) ? leo_ : durable_});
}

// Rule T4, RP12: cut to where both histories of the leader's epoch end, then
// ask again, until the epochs agree (F4).
void ReplicaCore::On(const Diverging& e) {
  if (!Hears(e.leader_epoch) || following_->accepted) return;
  if (e.fetch_offset != kNoOffset && e.fetch_offset != leo_) return;
  if (e.epoch < LeaderEpoch(0) || e.end < Offset(0)) return;  // makes no sense
  EpochEnd own = epochs_.EndOf(e.epoch, leo_);
  if (own.epoch == kNoLeaderEpoch) {
    // Every epoch here is newer than that.
    own.end = epochs_.starts().empty() ? log_start_
                                       : epochs_.starts().front().start;
  }
  const Offset target = std::max(
      MUTANT(kCutAtLeaderEnd) ? e.end : std::min(own.end, e.end), log_start_);
  if (target == leo_ && epochs_.last_epoch() <= e.epoch) return;  // answered
  Cut(target, StrCat("epoch ", e.epoch, " ends at ", e.end,
                     " in the leader's log, epoch ", own.epoch, " at ",
                     own.end, " in this one"));
}

void ReplicaCore::On(const AddError& e) {
  if (!Hears(e.leader_epoch)) return;
  if (e.code == ErrorCode::kOffsetOutOfRange && !following_->accepted) {
    OnOffsetOutOfRange(e);
  }
  if (following_.has_value() && !cut_.has_value()) AskLater();
}

void ReplicaCore::OnOffsetOutOfRange(const AddError& e) {
  if (e.log_start < Offset(0)) return;
  // The leader's log begins past the end of this one (KAFKA-9491).
  if (e.log_start > leo_) return Reset(e.log_start);
  if (e.fetch_offset != leo_) return;  // of an earlier Add
  if (epochs_.last_epoch() == kNoLeaderEpoch && leo_ > high_watermark_) {
    const auto among = [this](const std::vector<NodeId>& list) {
      return std::find(list.begin(), list.end(), config_.self) != list.end();
    };
    if (among(isr_) || among(elr_)) return;
    return Cut(high_watermark_, "no epoch is known on either side");
  }
  // No epoch is common to both logs: nothing above the leader's log start is.
  if (e.log_start < high_watermark_ && !MayCutBelowHighWatermark()) {
    return Fail(StrCat("the leader's log, from ", e.log_start,
                       " on, has nothing of this one, whose high watermark is ",
                       high_watermark_, ", and no unclean election after epoch ",
                       epochs_.last_epoch(), " explains it"));
  }
  Reset(e.log_start);
}

// RP13: what was committed is given up only for a leader that was elected
// unclean after this log was written.
bool ReplicaCore::MayCutBelowHighWatermark() const {
  return last_unclean_leader_epoch_ > epochs_.last_epoch();
}

void ReplicaCore::Cut(Offset target, std::string why) {
  if (target < high_watermark_) {
    if (!MayCutBelowHighWatermark()) {
      return Fail(StrCat("a cut to ", target, " is below the high watermark ",
                         high_watermark_, " (", why,
                         "; last unclean leader epoch ",
                         last_unclean_leader_epoch_, ", last own epoch ",
                         epochs_.last_epoch(), ")"));
    }
    high_watermark_ = target;
  }
  cut_ = target;
  Do(TruncateTo{target, std::move(why)});
}

void ReplicaCore::Reset(Offset start) {
  log_start_ = start;
  leo_ = start;
  durable_ = start;
  high_watermark_ = start;
  epochs_.Clear();
  cut_ = start;
  Do(ResetTo{start});
}

}  // namespace sluice::replica
