// What an unclean election does to what was committed: its leader's log is the
// history from then on, and nothing is lost but what was said.
#include <algorithm>

#include "common/base/str_cat.h"
#include "test/check/replication_invariants.h"

namespace sluice::check {

// A log whose last epoch is older has not met the new history, unless its
// leader has accepted it.
bool ReplicationInvariants::IsOfOlderHistory(const Record& record,
                                             const ReplicaView& now) {
  if (record.unclean_epoch == kNoLeaderEpoch) return false;
  const bool begun =
      !now.epochs.empty() && now.epochs.back().epoch >= record.unclean_epoch;
  const bool accepted = now.state == replica::State::kFollowing &&
                        now.leader_epoch >= record.unclean_epoch;
  return !record.adopted || (!begun && !accepted);
}

// What it knew to be committed may not be any more, as long as it has not met
// the history that the newest unclean election it knows of began. Another life
// may begin with the older log: of a cut that no disk has.
bool ReplicationInvariants::MayGiveUp(const Scene& scene) {
  return scene.now.last_unclean_leader_epoch != kNoLeaderEpoch &&
         scene.own.joined < scene.now.last_unclean_leader_epoch;
}

void ReplicationInvariants::NoteJoined(const Scene& scene) {
  const ReplicaView& now = scene.now;
  if (now.leads || (now.hosted && now.state == replica::State::kFollowing)) {
    scene.own.joined = std::max(scene.own.joined, now.leader_epoch);
  }
}

void ReplicationInvariants::OnUncleanElection(const TopicPartition& tp,
                                              const PartitionImage& state,
                                              Record& record) {
  record.unclean_epoch = state.last_unclean_leader_epoch;
  record.adopted = false;
  record.lost_from = std::min(record.lost_from, state.unclean_loss.first);
  // Its log stands still until it leads; one that is down is taken as it leads.
  const NodeView* node = cluster_.Running(state.leader);
  const ReplicaView* leader = cluster_.FindReplica(state.leader, tp);
  if (node != nullptr && node->logs_recovered && leader != nullptr &&
      !leader->failed && !leader->cutting) {
    Adopt(tp, state, *leader, record);
  }
}

bool ReplicationInvariants::MayBeLost(const TopicPartition& tp,
                                      Offset offset) const {
  const auto found = records_.find(tp);
  return found != records_.end() && offset >= found->second.lost_from;
}

void ReplicationInvariants::Adopt(const TopicPartition& tp,
                                  const PartitionImage& state,
                                  const ReplicaView& leader, Record& record) {
  record.adopted = true;
  const Offset upto = leader.hosted && leader.durable_counts
                          ? leader.durable_leo
                          : leader.leo;
  const auto lost =
      record.ledger.Adopt(leader.batches, LogStartOf(leader, state), upto);
  if (!lost.has_value()) return;
  for (auto& [node, replica] : record.replicas) {
    replica.verified_to = std::min(replica.verified_to, *lost);
  }
  // RP20: a loss is said before it is one.
  findings_.Check(Rule::kRP20, *lost >= state.unclean_loss.first, [&] {
    return StrCat("partition ", tp.ToString(), ": the unclean election of ",
                  state.leader, " in epoch ", record.unclean_epoch,
                  " lost what was committed from ", *lost,
                  " on, it said: from ", state.unclean_loss.first);
  });
}

}  // namespace sluice::check
