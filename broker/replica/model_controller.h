// The controller as one partition's replicas see it: for tests. The rules are
// those of controller/metadata/partition_change.h and isr_control.h.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "broker/replica/actions.h"
#include "broker/replica/events.h"
#include "common/base/ids.h"

namespace sluice::replica {

struct ModelBroker {
  BrokerEpoch epoch = kNoBrokerEpoch;
  bool fenced = true;
  bool stopping = false;

  bool active() const { return !fenced && !stopping; }
  bool operator==(const ModelBroker&) const = default;
};

// The state after one committed batch.
struct ModelMetadata {
  std::vector<NodeId> replicas;
  std::vector<NodeId> isr;
  std::vector<NodeId> elr;
  std::vector<NodeId> unverified_elr;
  NodeId leader = kNoNode;
  LeaderEpoch leader_epoch{0};
  PartitionEpoch partition_epoch{0};
  LeaderEpoch last_unclean_leader_epoch = kNoLeaderEpoch;
  // The topic's configs, and whether a switch to durable is settling.
  int min_isr = 1;
  bool durable = true;
  bool settling = false;
  Offset log_start;  // since the last trim
  std::map<NodeId, ModelBroker> brokers;

  bool operator==(const ModelMetadata&) const = default;
  bool IsActive(NodeId broker) const;
  bool promises_disk() const { return durable && !settling; }
  // In the ISR or electable without a verdict.
  std::set<NodeId> MustHoldCommitted() const;
};

class ModelController {
 public:
  enum class Verdict { kApplied, kIneligible, kStale };
  // What a restarted broker's disk is worth.
  enum class Restart {
    kClean,    // it stopped cleanly: nothing is lost
    kIntact,   // unclean, but its verdict is that nothing it acknowledged is
    kLost,     // or may be: memory mode after a power cut, a wiped disk
  };

  // Brokers 1..replicas, active; the first leads.
  ModelController(int replicas, int min_isr, bool durable);

  int64_t version() const { return static_cast<int64_t>(history_.size()) - 1; }
  const ModelMetadata& now() const { return history_.back(); }
  const ModelMetadata& At(int64_t version) const {
    return history_.at(static_cast<size_t>(version));
  }

  void Fence(NodeId broker);
  void Unfence(NodeId broker);
  // Controlled shutdown: out of the ISR, leadership handed over.
  void Stop(NodeId broker);
  // A new incarnation: fenced, out of the ISR in the same batch. Returns its
  // epoch.
  BrokerEpoch Register(NodeId broker, Restart restart);
  // Its recovery is done and it lost nothing.
  void Verify(NodeId broker);
  Verdict Alter(NodeId sender, BrokerEpoch sender_epoch,
                const ProposeIsr& proposal);
  // A trim that a leader asks for. Kept to what is registered: never back.
  void AdvanceLogStart(NodeId sender, BrokerEpoch sender_epoch,
                       LeaderEpoch leader_epoch, Offset start);
  // An operator orders it: `broker` leads with what it has.
  void ElectUnclean(NodeId broker);
  // Moves leadership within the ISR.
  void Prefer(NodeId broker);
  // The topic is configured anew.
  void SetMinIsr(int min_isr);
  void SetDurable(bool durable);
  // Removed from the replicas and added again in one batch: the leader epoch
  // rises with the removal (RP16).
  void RemoveAndAddAgain(NodeId broker);

 private:
  struct Change {
    std::set<NodeId> leaving, doubted, verified, dropped;
    bool new_epoch = false;
  };
  void Commit(ModelMetadata next, const Change& change);
  void Elect(ModelMetadata& next) const;

  std::vector<ModelMetadata> history_;
};

}  // namespace sluice::replica
