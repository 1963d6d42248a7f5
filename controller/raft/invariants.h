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

// Feed it what each node does, in the order in which it happens. The first
// broken invariant is kept in violation(), with its number.
class InvariantChecker {
 public:
  // Who may vote. `first`: what every log starts with, on disk already.
  InvariantChecker(std::vector<VoterId> voters, std::vector<Entry> first);

  // A life of a node begins with what its disk holds; an unknown node's disk
  // holds `first`.
  void Started(const VoterId& node);
  // Its log in memory changed. RA3: a leader only appends, in its own term.
  // RA4.
  void LogChanged(const VoterId& node, bool is_leader, Term node_term,
                  std::optional<LogIndex> truncate_from,
                  const std::vector<Entry>& entries);
  // A write of it became durable.
  void DiskWrote(const VoterId& node, const std::optional<HardState>& state,
                 std::optional<LogIndex> truncate_from,
                 const std::vector<Entry>& entries);

  // RA1, RA10: one leader, one leadership per term; a quorum of voters voted
  // (RA2, RA12). RA5: its log holds all that was ever committed.
  void BecameLeader(const VoterId& node, Term term);
  // A message leaves: RA2 (votes durable, never changed), RA9 (acks durable),
  // RA12 (only voters vote).
  void Sent(const VoterId& node, const Message& message);
  // RA8 within one life.
  void StateIs(const VoterId& node, Term term, LogIndex commit);
  // RA6; at the first delivery by anybody a quorum of voters' disks holds the
  // entry (RA9, RA12).
  void Delivered(const VoterId& node, const Entry& entry);
  // RA14: what was committed when the read began is covered when it ends.
  void ReadBegan(uint64_t id);
  void ReadEnded(uint64_t id, LogIndex index);

  const std::optional<std::string>& violation() const { return violation_; }
  uint64_t checks() const { return checks_; }
  LogIndex max_committed() const {
    return LogIndex(static_cast<int64_t>(committed_.size()));
  }

 private:
  // An entry by term and content.
  struct Stored {
    Term term;
    uint64_t digest = 0;
    bool operator==(const Stored&) const = default;
  };
  struct Node {
    std::vector<Stored> log;  // [0] is index 1; as in memory
    std::vector<Stored> disk;
    HardState hard_state;  // durable
    Term term;
    LogIndex commit{0};
    LogIndex delivered{0};
  };

  bool Check(bool holds, std::string_view number, const VoterId& node,
             const std::string& facts);
  static Stored Digest(const Entry& entry);
  static void Change(std::vector<Stored>& log,
                     std::optional<LogIndex> truncate_from,
                     const std::vector<Entry>& entries);
  void CheckLink(const VoterId& node, const Node& state, const Entry& entry);
  void NoteVote(const VoterId& voter, Term term, const VoterId& candidate);
  bool IsVoter(const VoterId& who) const;
  Node& At(const VoterId& node);

  const std::vector<VoterId> voters_;
  const std::vector<Entry> first_;
  std::map<VoterId, Node> nodes_;
  std::map<Term, VoterId> leaders_;
  std::map<std::pair<VoterId, Term>, VoterId> votes_;
  // (index, term) names one entry and the term of the one before it, from
  // which equal prefixes follow (RA4).
  std::map<std::pair<LogIndex, Term>, std::pair<uint64_t, Term>> links_;
  std::vector<Stored> committed_;  // by anybody, [0] is index 1
  std::map<uint64_t, LogIndex> reads_;
  std::optional<std::string> violation_;
  uint64_t checks_ = 0;
};

}  // namespace sluice::raft
