// The arithmetic of the ISR: who counts, who may join, who has to leave, how
// far is committed. Pure functions of what a leader knows
// (design/replication.md 2).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "broker/replica/caught_up_samples.h"
#include "broker/replica/events.h"
#include "common/base/ids.h"

namespace sluice::replica {

// What a leader knows of one follower, all of it reported in the current
// leader epoch by the registered incarnation (RP4).
struct FollowerState {
  BrokerEpoch broker_epoch = kNoBrokerEpoch;  // -1: nothing reported yet
  Offset appended = kNoOffset;
  Offset durable = kNoOffset;
  int64_t last_caught_up_us = -1;  // -1: not in this epoch
  bool accepted = false;           // it is being shipped to

  // What counts: -1 while unknown.
  Offset Position(bool durable_counts) const {
    return durable_counts ? durable : appended;
  }
};

// An ISR change that the controller may or may not have applied.
struct Proposal {
  std::map<NodeId, BrokerEpoch> isr;
  PartitionEpoch partition_epoch;
  bool settled = false;    // no other ISR: durability has settled
  bool answered = false;   // kUnknown: to be asked again, word for word
  int64_t ask_again_us = 0;
};

// A leader's view of its partition.
struct IsrView {
  NodeId self;
  const std::vector<NodeId>& replicas;
  const std::vector<NodeId>& isr;  // committed
  const std::map<NodeId, Standing>& standing;
  const std::map<NodeId, FollowerState>& followers;
  bool durable_counts;
  Offset own_position;
  Offset leo;
  Offset high_watermark;
  Offset epoch_start;  // LESO
  int64_t now_us;
  int64_t lag_time_max_us;
  int min_isr = 1;
};

// The committed ISR and everyone a proposal would add: a proposed addition
// counts already, a proposed removal counts still (RP3, F9, F10). Without the
// leader itself.
std::set<NodeId> MaximalIsr(const IsrView& view,
                            const std::optional<Proposal>& proposal);

// The lowest position in the maximal ISR; nullopt while one is unknown or the
// committed ISR has fewer than `min_isr` members (RP4).
std::optional<Offset> CommittedUpTo(const IsrView& view,
                                    const std::optional<Proposal>& proposal,
                                    int min_isr);

// Out of time: its position has not reached, for lag_time_max_us, what the
// leader's log held then.
bool Lags(const IsrView& view, const FollowerState& follower);

// RP14, as far as a leader can tell: shipped to in this epoch, position past
// the high watermark and past LESO, not lagging, its broker active.
bool MayJoin(const IsrView& view, NodeId broker);

// The committed ISR with the broker epochs to compare, when all below the high
// watermark is on the disk of each of its members and no replica out of it
// could be elected. nullopt: not so, not known, or this leader cannot propose.
std::optional<std::map<NodeId, BrokerEpoch>> SettledIsr(const IsrView& view,
                                                        int min_isr);

// What the ISR should be: without those that lag or whose broker is inactive,
// without demoted ones where min ISR others count, with those that may join;
// with the broker epochs to compare. nullopt: it is that already, or this
// leader cannot propose (its own broker is inactive).
std::optional<std::map<NodeId, BrokerEpoch>> BetterIsr(const IsrView& view);

}  // namespace sluice::replica
