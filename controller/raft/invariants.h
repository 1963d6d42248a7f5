// What must hold across the nodes of a group after every event. For tests and
// the simulator; the asserts of one node are in RaftCore.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/raft/types.h"

namespace sluice::raft {

// Feed it what each node does, in the order it happens. The first broken
// invariant is kept in violation(), with its number.
class InvariantChecker {
 public:
  // Who may vote (RA12).
  void SetVoters(std::vector<VoterId> voters);

  // A node's log in memory changed: `from` and all after were replaced by
  // `entries`. Checks RA3 (a leader only appends) and RA4.
  void LogChanged(const VoterId& node, bool is_leader, Term node_term,
                  LogIndex from, const std::vector<Entry>& entries);
  // The disk of the node now holds exactly this: after a restart or a write.
  void DiskHolds(const VoterId& node, const HardState& state, LogIndex last);
  // A crash: what the node has in memory is what its disk held.
  void Restarted(const VoterId& node, const std::vector<Entry>& log);
  void Wiped(const VoterId& node);

  // RA1; RA5: the new leader's log holds all that was ever committed.
  void BecameLeader(const VoterId& node, Term term);
  // A message leaves the node: RA2 (votes durable and never changed), RA9
  // (acks durable), RA12 (only voters vote).
  void Sent(const VoterId& node, const Message& message);
  // RA8 within one life of a node.
  void StateIs(const VoterId& node, Term term, LogIndex commit);
  // RA6; `leader_term`: the term of the node when it delivered.
  void Delivered(const VoterId& node, const Entry& entry);

  const std::optional<std::string>& violation() const { return violation_; }
  uint64_t checks() const { return checks_; }
  LogIndex max_committed() const { return LogIndex(committed_.size()); }

 private:
  struct Stored {
    Term term;
    uint64_t digest;
    bool operator==(const Stored&) const = default;
  };
  struct Node {
    std::vector<Stored> log;  // [0] is index 1
    HardState durable;
    LogIndex durable_last{0};
    Term term;
    LogIndex commit{0};
    LogIndex delivered{0};
    bool leader = false;
    Term leader_term;
  };

  void Fail(const std::string& what);
  static Stored Digest(const Entry& entry);
  void CheckMatching(const VoterId& node, LogIndex from);

  std::vector<VoterId> voters_;
  std::map<VoterId, Node> nodes_;
  std::map<Term, VoterId> leaders_;
  std::map<std::pair<VoterId, Term>, VoterId> votes_;
  // (index, term) names one entry and the entry before it (RA4).
  struct Link {
    uint64_t digest;
    Term previous_term;
    bool operator==(const Link&) const = default;
  };
  std::map<std::pair<LogIndex, Term>, Link> links_;
  std::vector<Stored> committed_;  // by anybody, [0] is index 1
  std::optional<std::string> violation_;
  uint64_t checks_ = 0;
};

}  // namespace sluice::raft
