// What must be true after every Step, in production too: going on after one
// broke would break a promise to somebody who was told "committed".
#include <algorithm>

#include "broker/replica/replica_core.h"
#include "common/base/invariant.h"

namespace sluice::replica {

ReplicaCore::Before ReplicaCore::Remember() const {
  return {leader_epoch_, high_watermark_, log_start_, leads()};
}

std::string ReplicaCore::Facts() const {
  return StrCat("replica ", config_.self, " ", NameOf(state()), " epoch ",
                leader_epoch_, "/", partition_epoch_, " leader ", leader_,
                " log [", log_start_, ", ", leo_, ") durable ", durable_,
                " HW ", high_watermark_, " last epoch ", epochs_.last_epoch());
}

void ReplicaCore::CheckInvariants(const Before& before) const {
  INVARIANT(log_start_ <= high_watermark_ && high_watermark_ <= leo_,
            "RP6 log start <= HW <= LEO, ", Facts());
  INVARIANT(durable_ <= leo_, "ST5 durable <= LEO, ", Facts());
  INVARIANT(log_start_ >= before.log_start || cut_.has_value(),
            "RP6 the log start went back from ", before.log_start, ", ",
            Facts());
  INVARIANT(leader_epoch_ >= before.leader_epoch, "MD2 from epoch ",
            before.leader_epoch, ", ", Facts());
  // Only an unclean leader's log may take it back (RP13), by a cut.
  INVARIANT(high_watermark_ >= before.high_watermark || cut_.has_value(),
            "RP5 the HW went back from ", before.high_watermark, ", ",
            Facts());
  INVARIANT(!leadership_.has_value() || !following_.has_value(),
            "leads and follows, ", Facts());
  if (failed_) return;
  if (following_.has_value()) {
    INVARIANT(leader_ != config_.self && leader_ != kNoNode,
              "follows nobody, ", Facts());
    INVARIANT(epochs_.last_epoch() <= leader_epoch_, "RP11 follows, ", Facts());
    INVARIANT(!following_->accepted || !cut_.has_value(),
              "RP7 fetches while cutting, ", Facts());
  }
  if (leadership_.has_value()) CheckLeadership(before);
}

void ReplicaCore::CheckLeadership(const Before& before) const {
  const Leadership& leading = *leadership_;
  INVARIANT(leader_ == config_.self, "leads another's epoch, ", Facts());
  INVARIANT(leading.persisting != cut_.has_value(),
            "its epoch starts when its cut is done, ", Facts());
  if (leading.persisting) {
    INVARIANT(epochs_.last_epoch() == leader_epoch_ &&
                  leading.epoch_start <= leo_,
              "RP10 LESO ", leading.epoch_start, ", ", Facts());
  }
  INVARIANT(!leading.proposal.has_value() ||
                leading.proposal->partition_epoch == partition_epoch_,
            "RP15 a proposal of another partition epoch is pending, ",
            Facts());
  for (const auto& [broker, follower] : leading.followers) {
    INVARIANT(follower.appended <= leo_ &&
                  follower.durable <= follower.appended,
              "RP4 follower ", broker, " at ", follower.appended, "/",
              follower.durable, ", ", Facts());
    if (follower.broker_epoch == kNoBrokerEpoch) continue;
    const auto found = standing_.find(broker);
    INVARIANT(found != standing_.end() &&
                  found->second.epoch == follower.broker_epoch,
              "RP4 follower ", broker, " counts with broker epoch ",
              follower.broker_epoch, ", ", Facts());
  }
  // What a trim has deleted was committed by whom it was asked.
  if (high_watermark_ <= std::max(before.high_watermark, registered_start_) ||
      !before.led) {
    return;
  }
  const std::set<NodeId> maximal = maximal_isr();
  INVARIANT(std::all_of(isr_.begin(), isr_.end(),
                        [&](NodeId broker) { return maximal.count(broker); }),
            "RP3 the maximal ISR lacks a member of the ISR, ", Facts());
  INVARIANT(leading.started && !under_min_isr(),
            "RP4 the HW moved from ", before.high_watermark, " with ",
            isr_.size(), " in the ISR, ", Facts());
  for (const NodeId broker : maximal) {
    const Offset position =
        broker == config_.self
            ? this->position()
            : leading.followers.at(broker).Position(durable_counts_);
    INVARIANT(position >= high_watermark_, "RP4 the HW passed ", broker,
              " at ", position, ", ", Facts());
  }
}

}  // namespace sluice::replica
