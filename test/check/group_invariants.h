// GR1-GR8: what the log of __consumer_offsets says, what coordinators answer to
// members and operators, what views hold, who owns what.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "common/consumer/named_partition.h"
#include "sluice/v1/group.pb.h"
#include "storage/mem_kv_store.h"
#include "test/check/cluster.h"
#include "test/check/findings.h"
#include "test/check/group_ledger.h"

namespace sluice::check {

// What was known when a call arrived at a broker.
struct GroupMoment {
  uint64_t moment = 0;
  NodeId node;
  std::string group;
  // In which the broker coordinates the group; kNoLeaderEpoch: it does not, or
  // it does not know yet.
  LeaderEpoch epoch = kNoLeaderEpoch;
  Offset committed;  // the end of the group's log
};

// Generations of a group, as half-open ranges.
class Generations {
 public:
  static constexpr int32_t kOpen = std::numeric_limits<int32_t>::max();

  void Add(int32_t from, int32_t end);
  // A range without an end gets this one.
  void End(int32_t end);
  bool Contains(int32_t generation) const;
  std::string ToString() const;  // "none", "2", "2, 4 on", "2 to 5"

 private:
  std::map<int32_t, int32_t> ranges_;  // from -> end; they may overlap
};

class GroupInvariants {
 public:
  GroupInvariants(Findings* findings, const Cluster* cluster)
      : findings_(*findings), cluster_(*cluster) {}

  // ---- The log ----

  // Batches of a partition of the topic that were committed, in order, once; by
  // the leader of the epoch `by`.
  void OnCommitted(const TopicPartition& tp, const offsets::ViewBatch& batch,
                   LeaderEpoch by);
  Offset folded(const TopicPartition& tp) const;
  // Whether the log of this partition is to be told of.
  bool IsOffsetsPartition(const TopicPartition& tp) const;

  // ---- Calls: whoever sends them, however often they arrive ----

  void OnSent(const v1::CommitOffsetsRequest& request);
  void OnSent(const v1::DeleteOffsetsRequest& request);
  void OnSent(const v1::DeleteGroupsRequest& request);
  // What a stream of Consume was told to be done with. Its broker commits it by
  // the generation that it has joined by then, which the stream is told of when
  // that one has its assignment (or never, when it has none): so this claims
  // the one that the request names and all behind it, until EndClaims.
  void OnClaimed(const v1::CommitOffsetsRequest& claim);
  // The member's stream is told of this generation, which its broker had joined
  // before: what it claimed till then it claims for no later one.
  void EndClaims(const std::string& group, const std::string& member,
                 int32_t generation);

  GroupMoment Arrived(NodeId node, const std::string& group) const;
  // Behind the event that answered, when its other effects were seen.
  void OnAnswered(const GroupMoment& asked, const v1::JoinGroupRequest& request,
                  const v1::JoinGroupResponse& response);
  void OnAnswered(const GroupMoment& asked, const v1::SyncGroupRequest& request,
                  const v1::SyncGroupResponse& response);
  void OnAnswered(const GroupMoment& asked, const v1::HeartbeatRequest& request,
                  const v1::HeartbeatResponse& response);
  void OnAnswered(const GroupMoment& asked,
                  const v1::CommitOffsetsRequest& request,
                  const v1::CommitOffsetsResponse& response);
  // `asked` and the answer are of one group of the call.
  void OnAnswered(const GroupMoment& asked, const v1::GroupOffsetsQuery& query,
                  const v1::GroupOffsets& answer);

  // ---- Members ----

  // A process of the group, of this number, has these in this generation now.
  // Negative: it is in none. `instance`: "": it has no instance id.
  void OnOwned(const std::string& group, int process,
               const std::string& instance, int32_t generation,
               const std::set<consumer::NamedPartition>& partitions);

  // ---- Views ----

  // The replica's mark, after an event that touched it.
  void CheckApplied(const NodeView& node, const TopicPartition& tp,
                    const ReplicaView& now, const MemKvStore& store);
  // All that a replica's view holds.
  void CheckView(const NodeView& node, const TopicPartition& tp,
                 const MemKvStore& store);
  // Healed and quiet: and that is all that was committed.
  void CheckConverged(const NodeView& node, const TopicPartition& tp,
                      const MemKvStore& store);

 private:
  using Words = WordsRegister::Entry;
  struct Owner {
    std::string instance;
    int32_t generation = -1;
    std::set<consumer::NamedPartition> partitions;
  };
  // Of the group's partition; null: there is no topic, or its log is empty.
  GroupLedger* LedgerOf(const std::string& group);
  LeaderEpoch CoordinatesIn(NodeId node, const std::string& group) const;
  // The broker that answers has coordinated the group since it was asked.
  bool IsCoordinators(const GroupMoment& asked) const;

  // The fold: group_log_invariants.cc
  void CheckCommit(const TopicPartition& tp, const offsets::OffsetPut& put);
  void CheckRemoval(const TopicPartition& tp, const offsets::OffsetKey& key);
  void CheckGroup(const TopicPartition& tp, const std::string& group,
                  const std::string& record);
  void CheckAssignments(const std::string& where,
                        const group::GroupImage& image,
                        const group::GroupImage* before);
  const group::GroupImage* ImageOf(const TopicPartition& tp,
                                   const std::string& group) const;
  // Answers: group_invariants.cc
  void CheckHolder(const GroupMoment& asked, const std::string& member,
                   const std::string& instance, const char* what);
  void CheckRead(const GroupMoment& asked, const offsets::OffsetKey& key,
                 const v1::CommittedOffset* answer);

  Findings& findings_;
  const Cluster& cluster_;
  std::map<TopicPartition, GroupLedger> ledgers_;
  uint64_t moment_ = 0;
  // Commits that were ever asked for: group, member, partition, offset -> in
  // which generations.
  using Claim = std::tuple<std::string, std::string, int32_t, int64_t>;
  std::map<Claim, Generations> claims_;
  std::set<std::string> deletions_;  // somebody asked to remove offsets of these
  std::map<std::pair<std::string, int>, Owner> owners_;
};

}  // namespace sluice::check
