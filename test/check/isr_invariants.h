// RP3, RP14-RP17, RP20: what the committed metadata says of ISRs and leaders,
// and what leaders asked for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "controller/metadata/delta.h"
#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/replication_invariants.h"
#include "test/check/views.h"

namespace sluice::check {

class IsrInvariants {
 public:
  // `replication` says how far followers really got.
  IsrInvariants(Findings* findings, const Cluster* cluster,
                const ReplicationInvariants* replication)
      : findings_(*findings), cluster_(*cluster), replication_(*replication) {}

  void OnChange(const NodeView& node, const ReplicaChange& change);
  // cluster->committed is new, `before` was the one before it.
  void OnCommitted(const MetadataImage& before, const MetadataChanges& changes);

 private:
  // A question as a leader put it.
  struct Question {
    NodeId leader;
    int64_t life = 0;
    replica::Proposal proposal;
  };
  // What may follow one state of a partition.
  using Moment = std::tuple<TopicPartition, LeaderEpoch, PartitionEpoch>;
  struct Transition {
    const TopicPartition& tp;
    const PartitionImage& before;
    const PartitionImage& now;
    int min_isr;
  };

  void CheckQuestion(const NodeView& node, const TopicPartition& tp,
                     const ReplicaView& now);
  void CheckMayJoin(const NodeView& node, const TopicPartition& tp,
                    const ReplicaView& now, NodeId joining, BrokerEpoch epoch);
  void NoteAccepted(const NodeView& node, const TopicPartition& tp,
                    const ReplicaView& now);
  bool WasAccepted(const NodeView& node, const TopicPartition& tp,
                   const ReplicaView& now, NodeId follower) const;
  void CheckMaximalIsr(const NodeView& node, const TopicPartition& tp,
                       const ReplicaView& now);
  void CheckForm(const TopicPartition& tp, const PartitionImage& now,
                 int min_isr);
  void CheckEpochs(const Transition& t);
  void CheckElection(const Transition& t);
  void CheckUncleanElection(const Transition& t);
  void CheckAdditions(const Transition& t);
  void CheckAsked(const Transition& t, const std::vector<NodeId>& added);
  static std::string Text(const TopicPartition& tp, const PartitionImage& p);

  Findings& findings_;
  const Cluster& cluster_;
  const ReplicationInvariants& replication_;
  std::map<Moment, std::vector<Question>> asked_;
  // The min.insync.replicas for which last_full_isr was full: raised since, it
  // asks for more than were needed (F31).
  std::map<TopicPartition, int> full_at_;
  // What each leader's question was when last seen.
  std::map<std::pair<TopicPartition, NodeId>, Question> current_;
  // Whom it had accepted by then, in that life and epoch of its.
  struct Accepted {
    int64_t life = 0;
    LeaderEpoch epoch;
    std::vector<std::pair<NodeId, BrokerEpoch>> followers;
  };
  std::map<std::pair<TopicPartition, NodeId>, Accepted> accepted_;
};

}  // namespace sluice::check
