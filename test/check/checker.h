// Checks a whole cluster between the events of a simulated run: what the event
// touched after each, everything now and then. It changes nothing that an event
// could see.
//
//   Findings findings;
//   Checker checker({&findings, configs});
//   checker.OnBoot(id, {broker, controller, &disk});   // opened, not started
//   ... after every event: checker.AfterEvent(id);     // whose executor ran
//   ... every 1,000 events: checker.FullScan();
//   checker.OnEnd(id, End::kPowerCut);                 // before it is destroyed
//   ... healed, quiet: checker.AtEnd();
//   findings.first(), findings.evaluations()
//
// correctness.md 2 numbers the invariants; README.md here says what each means
// in this design.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "controller/metadata/config_registry.h"
#include "controller/raft/types.h"
#include "test/check/findings.h"
#include "test/check/group_invariants.h"
#include "test/check/live_views.h"
#include "test/check/producer_invariants.h"
#include "test/check/views.h"

namespace sluice::check {

class Checker {
 public:
  struct Deps {
    Findings* findings = nullptr;
    std::shared_ptr<const ConfigRegistry> configs;
    // Whose copy of what the run has damaged, or keeps from being read, as of
    // now: that replica, and no other, may be quarantined. Null: nobody's.
    std::function<bool(NodeId, const TopicPartition&)> lies;
  };

  explicit Checker(Deps deps);
  ~Checker();
  Checker(const Checker&) = delete;

  // ---- What happens to nodes ----

  void OnBoot(NodeId node, const Process& process);
  void OnEnd(NodeId node, End how);
  // The disk of a node that is down was replaced.
  void OnWiped(NodeId node);
  // A sync on this node's disk failed (EIO): nothing may become durable there
  // any more in this life (ST4).
  void OnSyncFailed(NodeId node);

  // ---- What crosses the edges ----

  // A Raft message leaves `from`, whatever becomes of it.
  void OnRaftSent(NodeId from, const raft::Message& message);
  // A client was told by acks=all that all below `next` of the partition, its
  // own records, is committed (RP21), by the leader of epoch `by`;
  // kNoLeaderEpoch: by whom is not known.
  void OnAcknowledged(const TopicPartition& tp, Offset next, LeaderEpoch by);
  // A broker has answered an idempotent producer; told behind that event.
  void OnProducerAnswered(const ProducerAnswer& answer);
  void OnProducerIdentified(const IdentityAnswer& answer);
  // What members and operators of groups ask and are answered.
  GroupInvariants& groups();
  // A client was told that its topic was created (RA16).
  void OnTopicCreated(const TopicId& id);

  // ---- Between events ----

  // An event ran on an executor of `ran`; kNoNode: on nobody's.
  void AfterEvent(NodeId ran);
  // Everything that only a full look finds.
  void FullScan();
  // Everything is healed, up, and had time: all replicas are equal, every ISR
  // is full, no call is under way (RP24, RA16).
  void AtEnd();

  // ---- For runners ----

  // The end of what any leader ever called committed; 0: nothing.
  Offset committed(const TopicPartition& tp) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::check
