// RA1-RA10, RA12, RA16 over the views of all controllers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "controller/raft/types.h"
#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/views.h"

namespace sluice::check {

// Fed in the order in which things happen. A node's views are those of its
// machine: what a process that ended believed to be durable is compared with
// what the next one finds.
class RaftInvariants {
 public:
  RaftInvariants(Findings* findings, const Cluster* cluster)
      : findings_(*findings), nodes_(cluster->nodes) {}

  // The process is gone; its view is of its last moment.
  void OnEnd(const NodeView& node);
  // A message leaves; it is judged with the event that sent it.
  void OnSent(NodeId from, const raft::Message& message);
  // `before` is unset for the first view of a life.
  void OnChange(const NodeView& node, const std::optional<RaftFacts>& before);
  void AtEnd();

  // What anybody ever called committed; [0] is index 1.
  const std::vector<EntryView>& committed() const { return committed_; }

 private:
  struct Link {
    uint64_t digest;
    Term term_before;
    bool operator==(const Link&) const = default;
  };
  struct Leadership {
    raft::VoterId who;
    int64_t life = 0;
    bool operator==(const Leadership&) const = default;
  };

  bool IsVoter(const RaftView& view, const raft::VoterId& who) const;
  // What the machine's disk holds, as its last process knew; null: nothing.
  const RaftView* DiskOf(const NodeView& node) const;
  void CheckRestart(const NodeView& node);
  void CheckSent(const NodeView& node);
  void CheckVote(const RaftView& view, Term term,
                 const raft::VoterId& candidate);
  void CheckMonotone(const RaftView& view, const RaftFacts& before);
  void CheckNewEntries(const NodeView& node);
  void CheckLeader(const NodeView& node,
                   const std::optional<RaftFacts>& before);
  void CheckBecameLeader(const NodeView& node);
  void CheckCommitted(const NodeView& node,
                      const std::optional<RaftFacts>& before);

  Findings& findings_;
  const Nodes& nodes_;
  std::map<NodeId, std::vector<raft::Message>> sent_;  // in the event under way
  std::map<NodeId, RaftView> ended_;
  std::vector<RaftView> gone_;  // of disks that were replaced
  std::map<std::pair<raft::VoterId, Term>, raft::VoterId> votes_;  // told of
  std::map<Term, Leadership> leaders_;
  std::map<std::pair<LogIndex, Term>, Link> links_;
  std::vector<EntryView> committed_;
  std::vector<Term> committed_in_;  // of who first said so, by the same index
};

}  // namespace sluice::check
