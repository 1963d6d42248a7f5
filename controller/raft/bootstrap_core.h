// How empty controllers become one cluster without an operator: a state
// machine, no I/O, no clock.
//
//   Empty --(lowest id, all initial controllers answered "empty")--> Writing
//   Empty --(an offer that names this disk)------------------------> Writing
//   Empty --(an answer with a record that does not name this disk)-> Writing
//   Writing --(Persisted)--> Done, for ever; a restart begins in Done
//
// A node accepts exactly one record, only while empty. One that the record
// does not name belongs to the cluster as an observer and never votes (RA12):
// that is a wiped disk, or a controller that is new. Only the lowest initial
// id makes a record, and only after *every* initial controller said that it is
// empty, so a bootstrapped quorum is never bootstrapped again. In Done a node
// answers with its record and offers it to the other named voters until they
// have it: the first sender may die.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "controller/raft/types.h"

namespace sluice::raft {

struct BootstrapConfig {
  VoterId self;
  // --controllers: ids and endpoints; directories unset. May lack `self` (a
  // controller that joins later).
  std::vector<BootstrapVoter> initial;
  int retry_ticks = 10;  // 200 ms
  static constexpr size_t kVotersMax = 64;
};

// Do these in order.
struct BootstrapActions {
  // Make durable, then call Persisted().
  std::optional<BootstrapRecord> persist;
  std::vector<Message> messages;
  // This node has its cluster: start Raft. Set exactly once.
  std::optional<BootstrapRecord> done;
  // Why it waits, for the log; empty when nothing is new.
  std::string complaint;
};

class BootstrapCore {
 public:
  // `record`: what the store holds; none: the store is empty.
  BootstrapCore(const BootstrapConfig& config,
                std::optional<BootstrapRecord> record, Random& random);

  BootstrapActions Start();
  BootstrapActions Tick();
  BootstrapActions Step(const Message& message);
  BootstrapActions Persisted();
  // A Raft message of our cluster came from this voter: it has the record.
  void Heard(const VoterId& from);

  bool done() const { return state_ == State::kDone; }
  const std::optional<BootstrapRecord>& record() const { return record_; }

 private:
  enum class State { kEmpty, kWriting, kDone };

  Message To(NodeId to, MessageType type) const;
  bool SameInitial(const BootstrapRecord& theirs) const;
  bool IsLowest() const;
  void Probe(BootstrapActions& out);
  void Offer(BootstrapActions& out);
  void Accept(const BootstrapRecord& record, BootstrapActions& out);
  void MaybeForm(BootstrapActions& out);
  void StepProbe(const Message& message, BootstrapActions& out);
  void StepAnswer(const Message& message, BootstrapActions& out);
  void StepOffer(const Message& message, BootstrapActions& out);

  const BootstrapConfig config_;
  Random& random_;
  State state_;
  std::optional<BootstrapRecord> record_;
  std::map<NodeId, DirectoryId> empty_;  // who said that it is empty
  std::set<NodeId> confirmed_;           // who has our record, or never will
  std::string last_complaint_;
  int ticks_ = 0;
};

}  // namespace sluice::raft
