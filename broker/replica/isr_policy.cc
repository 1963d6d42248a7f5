#include "broker/replica/isr_policy.h"

#include <algorithm>

#include "common/base/mutant.h"

namespace sluice::replica {
namespace {

bool Contains(const std::vector<NodeId>& list, NodeId broker) {
  return std::find(list.begin(), list.end(), broker) != list.end();
}

bool IsActive(const IsrView& view, NodeId broker) {
  const auto found = view.standing.find(broker);
  return found != view.standing.end() && found->second.active;
}

bool IsDemoted(const IsrView& view, NodeId broker) {
  const auto found = view.standing.find(broker);
  return found != view.standing.end() && found->second.demoted;
}

bool KeepsUp(const IsrView& view, NodeId broker) {
  if (broker == view.self) return true;
  if (!Contains(view.isr, broker)) return MayJoin(view, broker);
  const auto found = view.followers.find(broker);
  return IsActive(view, broker) && found != view.followers.end() &&
         (!Lags(view, found->second) || MUTANT(kSilentFollowerStays));
}

bool IsGoodMember(const IsrView& view, NodeId broker) {
  if (!KeepsUp(view, broker)) return false;
  if (broker == view.self || !IsDemoted(view, broker)) return true;
  const auto others = std::count_if(
      view.replicas.begin(), view.replicas.end(), [&](NodeId other) {
        return (other == view.self || !IsDemoted(view, other)) &&
               KeepsUp(view, other);
      });
  return others < view.min_isr;
}

}  // namespace

std::set<NodeId> MaximalIsr(const IsrView& view,
                            const std::optional<Proposal>& proposal) {
  std::set<NodeId> members;
  if (!proposal.has_value() || !MUTANT(kShrinkCountsAtOnce)) {
    members.insert(view.isr.begin(), view.isr.end());
  }
  if (proposal.has_value() && !MUTANT(kHwIgnoresProposedIsr)) {
    for (const auto& [broker, epoch] : proposal->isr) members.insert(broker);
  }
  members.erase(view.self);
  return members;
}

std::optional<Offset> CommittedUpTo(const IsrView& view,
                                    const std::optional<Proposal>& proposal,
                                    int min_isr) {
  if (static_cast<int>(view.isr.size()) < min_isr && !MUTANT(kHwBelowMinIsr)) {
    return std::nullopt;
  }
  Offset lowest = view.own_position;
  for (const NodeId broker : MaximalIsr(view, proposal)) {
    const auto found = view.followers.find(broker);
    if (found == view.followers.end()) return std::nullopt;
    const Offset position = found->second.Position(
        view.durable_counts && !MUTANT(kHwFromAppended));
    if (position == kNoOffset) return std::nullopt;
    lowest = std::min(lowest, position);
  }
  return lowest;
}

bool Lags(const IsrView& view, const FollowerState& follower) {
  if (follower.Position(view.durable_counts) >= view.leo) return false;
  return follower.last_caught_up_us < 0 ||
         view.now_us - follower.last_caught_up_us > view.lag_time_max_us;
}

bool MayJoin(const IsrView& view, NodeId broker) {
  const auto found = view.followers.find(broker);
  if (found == view.followers.end() || !found->second.accepted) return false;
  const FollowerState& follower = found->second;
  const Offset position = follower.Position(view.durable_counts);
  return position >= view.high_watermark &&
         (MUTANT(kJoinBelowLeso) ||
          (position >= view.epoch_start && !Lags(view, follower))) &&
         IsActive(view, broker) &&
         view.standing.at(broker).epoch == follower.broker_epoch;
}

std::optional<std::map<NodeId, BrokerEpoch>> SettledIsr(const IsrView& view,
                                                        int min_isr) {
  // Below min ISR the ELR may hold records in memory alone; below LESO others
  // may know more to be committed than this leader does.
  if (!IsActive(view, view.self) || view.high_watermark < view.epoch_start ||
      static_cast<int>(view.isr.size()) < min_isr) {
    return std::nullopt;
  }
  const auto upto = CommittedUpTo(view, std::nullopt, min_isr);
  if ((!upto.has_value() || *upto < view.high_watermark) &&
      !MUTANT(kSettledUnsynced)) {
    return std::nullopt;
  }
  std::map<NodeId, BrokerEpoch> members;
  for (const NodeId broker : view.isr) {
    const auto found = view.standing.find(broker);
    if (found == view.standing.end()) return std::nullopt;
    members[broker] = found->second.epoch;
  }
  return members;
}

std::optional<std::map<NodeId, BrokerEpoch>> BetterIsr(const IsrView& view) {
  if (!IsActive(view, view.self)) return std::nullopt;
  // Asked at every acknowledgement and tick, and nearly always the answer is
  // no: nothing is built before it is yes.
  const bool same = std::all_of(
      view.replicas.begin(), view.replicas.end(), [&](NodeId broker) {
        return IsGoodMember(view, broker) == Contains(view.isr, broker);
      });
  if (same) return std::nullopt;
  std::map<NodeId, BrokerEpoch> better;
  for (const NodeId broker : view.replicas) {
    if (!IsGoodMember(view, broker)) continue;
    better[broker] = view.standing.at(broker).epoch;
  }
  return better;
}

}  // namespace sluice::replica
