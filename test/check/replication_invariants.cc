#include "test/check/replication_invariants.h"

#include <algorithm>
#include <set>

#include "common/base/str_cat.h"

namespace sluice::check {
namespace {

// Whose copy of all that is committed the protocol relies on.
std::set<NodeId> MustHold(const PartitionImage& state) {
  std::set<NodeId> members(state.isr.begin(), state.isr.end());
  members.insert(state.elr.begin(), state.elr.end());
  return members;
}

Offset PositionOf(const ReplicaView& view, bool on_disk) {
  return view.hosted && on_disk ? view.durable_leo : view.leo;
}

}  // namespace

std::string ReplicationInvariants::Where(const Scene& scene) {
  const ReplicaView& now = scene.now;
  return StrCat("replica ", scene.node.id, " of ", scene.tp.ToString(), " (",
                now.hosted ? replica::NameOf(now.state) : "not hosted",
                ", epoch ", now.leader_epoch, "/", now.partition_epoch,
                ", leader ", now.leader, ", log [", now.log_start, ", ",
                now.leo, "), durable ", now.durable_leo, ", HW ",
                now.high_watermark, ")");
}

void ReplicationInvariants::OnChange(const NodeView& node,
                                     const ReplicaChange& change) {
  // Of a deleted topic, by somebody who does not know yet.
  const PartitionImage* state = cluster_.committed->FindPartition(change.tp);
  if (state == nullptr) return;
  Record& record = records_[change.tp];
  Replica& own = record.replicas[node.id];
  if (own.life != node.life || change.now == nullptr) {
    own.life = node.life;
    own.verified_to = Offset(0);
    own.joined = kNoLeaderEpoch;
  }
  if (change.now == nullptr) return;
  const ReplicaView& now = *change.now;
  if (now.batches_kept < now.batches_before) {
    const Offset kept = now.batches_kept == 0
                            ? Offset(0)
                            : now.batches[now.batches_kept - 1].last.Next();
    own.verified_to = std::min(own.verified_to, kept);
  }
  const Scene scene{node, change.tp, *state,
                    change.before.has_value() ? &*change.before : nullptr,
                    now,  record,    own};
  CheckFailed(scene);
  if (now.failed) {
    // What it committed in the event in which its disk failed, it told.
    const bool failed_now = scene.before != nullptr && !scene.before->failed;
    if (failed_now && now.leads && !now.corrupt) CheckCommit(scene);
    return;
  }
  // Before its batches: they come from the leader of their epoch.
  if (now.leads) CheckLeads(scene);
  CheckBatches(scene);
  // A cut under way is told to the core first and done to the log later.
  if (now.cutting) return;
  CheckOffsets(scene);
  if (now.hosted) {
    NoteReach(scene);
    CheckAccepted(scene);
  }
  if (now.leads) {
    CheckCommit(scene);
  } else {
    CheckFollowerHighWatermark(scene);
  }
  if (MustHold(*state).contains(node.id)) {
    CheckMember(change.tp, *state, record, node.id, Rule::kRP2);
  }
  NoteJoined(scene);
}

void ReplicationInvariants::CheckFailed(const Scene& scene) {
  const ReplicaView& now = scene.now;
  findings_.Check(Rule::kST2, !now.corrupt || cluster_.Lies(scene.node.id, scene.tp), [&] {
    return StrCat(Where(scene), " was quarantined though its disk is honest");
  });
  findings_.Check(Rule::kRP13,
                  now.state != replica::State::kFailed || MayGiveUp(scene) ||
                      (now.corrupt && cluster_.Lies(scene.node.id, scene.tp)),
                  [&] {
                    return StrCat(Where(scene),
                                  " FAILED: its leader's history contradicts "
                                  "what it knows to be committed");
                  });
}

void ReplicationInvariants::CheckOffsets(const Scene& scene) {
  const ReplicaView& now = scene.now;
  findings_.Check(Rule::kRP6,
                  now.log_start <= now.high_watermark &&
                      now.high_watermark <= now.leo &&
                      now.durable_leo <= now.leo,
                  [&] { return Where(scene); });
  findings_.Check(
      Rule::kRP23, now.log_start <= scene.record.ledger.end(), [&] {
        return StrCat(Where(scene), " deleted what was not committed: only ",
                      scene.record.ledger.end(), " is");
      });
  findings_.Check(Rule::kRP5,
                  !now.hw_is_truth ||
                      (now.state == replica::State::kLeading &&
                       now.high_watermark >= now.epoch_start),
                  [&] {
                    return StrCat(Where(scene), " uses its HW as truth before ",
                                  now.epoch_start);
                  });
  CheckLogStart(scene);
  // What was corrupt has been set aside: this one begins anew.
  if (scene.before == nullptr || (scene.before->corrupt && !now.corrupt)) {
    return;
  }
  CheckMonotonous(scene);
}

void ReplicationInvariants::CheckMonotonous(const Scene& scene) {
  const ReplicaView& now = scene.now;
  findings_.Check(Rule::kMD2,
                  std::pair(now.leader_epoch, now.partition_epoch) >=
                      std::pair(scene.before->leader_epoch,
                                scene.before->partition_epoch),
                  [&] {
                    return StrCat(Where(scene), " went back from ",
                                  scene.before->leader_epoch, "/",
                                  scene.before->partition_epoch);
                  });
  if (MayGiveUp(scene)) return;
  findings_.Check(
      Rule::kRP5, now.high_watermark >= scene.before->high_watermark, [&] {
        return StrCat(Where(scene), " took its HW back from ",
                      scene.before->high_watermark);
      });
  findings_.Check(Rule::kRP13, now.leo >= scene.before->high_watermark, [&] {
    return StrCat(Where(scene), " cut its log below its HW of ",
                  scene.before->high_watermark);
  });
}

// ---- Followers ----

void ReplicationInvariants::NoteReach(const Scene& scene) {
  const ReplicaView& now = scene.now;
  const BrokerImage* broker = cluster_.RegistrationOf(scene.node);
  if (broker == nullptr || (now.state != replica::State::kAsking &&
                            now.state != replica::State::kFollowing)) {
    return;
  }
  Reach& reach = scene.own.reach[{broker->epoch, now.leader_epoch}];
  reach.leo = std::max(reach.leo, now.leo);
  reach.durable = std::max(reach.durable, now.durable_leo);
}

// RP12: once a leader has accepted it, a follower's log is the beginning of
// its leader's, however often it had to ask.
void ReplicationInvariants::CheckAccepted(const Scene& scene) {
  const ReplicaView& now = scene.now;
  const bool was = scene.before != nullptr &&
                   scene.before->state == replica::State::kFollowing &&
                   scene.before->leader_epoch == now.leader_epoch;
  if (now.state != replica::State::kFollowing || was) return;
  const ReplicaView* leader = cluster_.FindReplica(now.leader, scene.tp);
  if (leader == nullptr || !leader->leads || leader->failed ||
      leader->leader_epoch != now.leader_epoch) {
    return;
  }
  bool agrees = now.leo <= leader->leo;
  if (agrees && !now.batches.empty() && now.leo > leader->log_start) {
    const StoredBatch& last = now.batches.back();
    const auto theirs = FindBatch(leader->batches, last.last);
    agrees = theirs != leader->batches.end() && theirs->SameRecords(last);
  }
  findings_.Check(Rule::kRP12, agrees, [&] {
    return StrCat(Where(scene), " was accepted though its log is not the "
                  "beginning of its leader's, which ends at ", leader->leo);
  });
}

// RP7: a follower's HW is no more than somebody committed, and what lies below
// is that.
void ReplicationInvariants::CheckFollowerHighWatermark(const Scene& scene) {
  const ReplicaView& now = scene.now;
  const Ledger& ledger = scene.record.ledger;
  if (now.high_watermark <= scene.own.verified_to ||
      IsOfOlderHistory(scene.record, now)) {
    return;
  }
  const auto missing = ledger.Missing(
      now.batches, now.log_start, scene.own.verified_to, now.high_watermark);
  findings_.Check(
      Rule::kRP7,
      now.high_watermark <= ledger.end() && !missing.has_value(), [&] {
        return StrCat(Where(scene), " shows what was never committed: ",
                      missing.value_or(StrCat("that ends at ", ledger.end())));
      });
  scene.own.verified_to = now.high_watermark;
}

// ---- Leaders ----

// RP16, RP1: nobody leads an epoch but one process once, and it has all that
// was committed before.
void ReplicationInvariants::CheckLeads(const Scene& scene) {
  const ReplicaView& now = scene.now;
  if (scene.before != nullptr && scene.before->leads &&
      scene.before->leader_epoch == now.leader_epoch) {
    return;
  }
  const Leader leader{scene.node.id, scene.node.life};
  const auto [it, fresh] =
      scene.record.leaders.try_emplace(now.leader_epoch, leader);
  findings_.Check(Rule::kRP16, it->second == leader, [&] {
    return StrCat(Where(scene), " leads an epoch that ", it->second.node,
                  it->second.node == scene.node.id ? " (before it restarted)"
                                                   : "",
                  " has led");
  });
  if (now.leader_epoch < scene.record.unclean_epoch) return;  // a zombie
  if (!scene.record.adopted) {
    Adopt(scene.tp, scene.state, now, scene.record);
  }
  // Who comes late need not have what the next leaders committed meanwhile.
  const Offset upto = scene.record.ledger.EndAsOf(now.leader_epoch);
  const auto missing = scene.record.ledger.Missing(
      now.batches, LogStartOf(now, scene.state), Offset(0), upto);
  findings_.Check(Rule::kRP1, !missing.has_value(), [&] {
    return StrCat(Where(scene), " leads: ", *missing);
  });
}

void ReplicationInvariants::CheckCommit(const Scene& scene) {
  const ReplicaView& now = scene.now;
  Ledger& ledger = scene.record.ledger;
  CheckHighWatermarkMove(scene);
  if (now.leader_epoch < scene.record.unclean_epoch) {
    ledger.NoteZombie(now.high_watermark);
    return;
  }
  const Offset from = std::max(
      now.log_start, std::min(scene.own.verified_to, ledger.end()));
  if (now.high_watermark <= from) return;
  const Offset end_before = ledger.end();
  const auto wrong = ledger.Commit(now.leader_epoch, now.batches, from,
                                   now.high_watermark);
  findings_.Check(Rule::kRP8, !wrong.has_value(), [&] {
    return StrCat(Where(scene), " calls committed what was not: ", *wrong);
  });
  scene.own.verified_to = now.high_watermark;
  if (ledger.end() == end_before) return;
  // A zombie may commit only what every possible successor has (MD6).
  CheckMembers(scene.tp, scene.state, scene.record,
               now.leader_epoch < scene.state.leader_epoch ? Rule::kMD6
                                                           : Rule::kRP2);
}

// RP4: enough members, and every one of the maximal ISR is there, by what it
// told in this epoch, as this incarnation.
void ReplicationInvariants::CheckHighWatermarkMove(const Scene& scene) {
  const ReplicaView& now = scene.now;
  if (scene.before == nullptr || !scene.before->leads ||
      scene.before->leader_epoch != now.leader_epoch ||
      now.high_watermark <=
          std::max(scene.before->high_watermark, now.log_start)) {
    return;
  }
  findings_.Check(
      Rule::kRP4, static_cast<int>(now.isr.size()) >= now.min_isr, [&] {
        return StrCat(Where(scene), " moved its HW from ",
                      scene.before->high_watermark, " with ", now.isr.size(),
                      " in the ISR, min ISR is ", now.min_isr);
      });
  findings_.Check(Rule::kRP4, now.position >= now.high_watermark, [&] {
    return StrCat(Where(scene), " is itself at ", now.position);
  });
  for (const NodeId member : now.maximal_isr) {
    if (member == scene.node.id) continue;
    const auto found = now.followers.find(member);
    const Offset told = found == now.followers.end()
                            ? kNoOffset
                            : found->second.Position(now.durable_counts);
    if (!findings_.Check(Rule::kRP4, told >= now.high_watermark, [&] {
          return StrCat(Where(scene), " moved its HW past ", member,
                        ", which told ", told);
        })) {
      continue;
    }
    const Reach reach = ReachOf(scene.tp, member, found->second.broker_epoch,
                                now.leader_epoch);
    const Offset there = now.durable_counts ? reach.durable : reach.leo;
    findings_.Check(Rule::kRP4, there >= told, [&] {
      return StrCat(Where(scene), " counts ", member, " of broker epoch ",
                    found->second.broker_epoch, " at ", told,
                    ", in this leader epoch it has been at ", there);
    });
  }
}

// ---- Members of the ISR and the ELR ----

void ReplicationInvariants::CheckMember(const TopicPartition& tp,
                                        const PartitionImage& state,
                                        Record& record, NodeId member,
                                        Rule rule) {
  const NodeView* node = cluster_.Running(member);
  if (node == nullptr || !node->logs_recovered || !record.adopted) return;
  const ReplicaView* replica = cluster_.FindReplica(member, tp);
  const Offset end = record.ledger.end();
  if (replica == nullptr) {
    findings_.Check(rule, end == Offset(0), [&] {
      return StrCat("broker ", member, " has no log of ", tp.ToString(),
                    ", committed is ", end);
    });
    return;
  }
  if (replica->failed || replica->cutting) return;
  Replica& own = record.replicas[member];
  if (own.life != node->life) {
    own = {node->life, Offset(0), kNoLeaderEpoch, own.reach};
  }
  const Offset start = LogStartOf(*replica, state);
  const Offset position =
      std::max(start, PositionOf(*replica, cluster_.PromisesDisk(tp)));
  const bool holds = position >= end;
  const auto missing =
      holds ? record.ledger.Missing(replica->batches, start, own.verified_to,
                                    end)
            : std::optional<std::string>();
  findings_.Check(rule, holds && !missing.has_value(), [&] {
    return StrCat("broker ", member, " is in ISR or ELR of ", tp.ToString(),
                  " (epoch ", state.leader_epoch, "/", state.partition_epoch,
                  ", leader ", state.leader, ") at ", position,
                  " (LEO ", replica->leo, "), committed is ", end, " ",
                  missing.value_or(""));
  });
  own.verified_to = std::max(own.verified_to, end);
}

void ReplicationInvariants::CheckMembers(const TopicPartition& tp,
                                         const PartitionImage& state,
                                         Record& record, Rule rule) {
  for (const NodeId member : MustHold(state)) {
    CheckMember(tp, state, record, member, rule);
  }
}

void ReplicationInvariants::OnCommitted(const MetadataImage& before,
                                        const MetadataChanges& changes) {
  for (const TopicPartition& tp : changes.partitions_removed) {
    records_.erase(tp);
  }
  for (const TopicPartition& tp : changes.partitions_changed) {
    const auto found = records_.find(tp);
    if (found == records_.end()) continue;
    const PartitionImage& state = *cluster_.committed->FindPartition(tp);
    if (state.last_unclean_leader_epoch !=
        before.FindPartition(tp)->last_unclean_leader_epoch) {
      OnUncleanElection(tp, state, found->second);
    }
    CheckMembers(tp, state, found->second, Rule::kRP2);
  }
}

// ---- Edges ----

// Behind an unclean election what a leader of the new history tells is held
// against that history; older leaders may have told of what it lost.
void ReplicationInvariants::OnAcknowledged(const TopicPartition& tp,
                                           Offset next, LeaderEpoch by) {
  if (cluster_.committed->FindPartition(tp) == nullptr) return;  // deleted
  const auto found = records_.find(tp);
  Offset end(0);
  if (found != records_.end()) {
    const Record& record = found->second;
    const bool of_this_history =
        by != kNoLeaderEpoch && record.adopted && by >= record.unclean_epoch;
    end = of_this_history ? record.ledger.end() : record.ledger.furthest();
  }
  findings_.Check(Rule::kRP21, end >= next, [&] {
    return StrCat("a producer of ", tp.ToString(), " was told in epoch ", by,
                  " that all below ", next, " is committed, that ends at ",
                  end);
  });
}

void ReplicationInvariants::FullScan() {
  for (auto& [tp, record] : records_) {
    const PartitionImage* state = cluster_.committed->FindPartition(tp);
    if (state == nullptr) continue;
    for (auto& [node, replica] : record.replicas) {
      replica.verified_to = Offset(0);
    }
    CheckMembers(tp, *state, record, Rule::kRP2);
  }
}

void ReplicationInvariants::CheckConverged(const TopicPartition& tp) const {
  const PartitionImage& state = *cluster_.committed->FindPartition(tp);
  const auto text = [&] {
    return StrCat("partition ", tp.ToString(), " (leader ", state.leader,
                  ", epoch ", state.leader_epoch, "/", state.partition_epoch,
                  ")");
  };
  findings_.Check(Rule::kRP24,
                  state.leader != kNoNode &&
                      state.isr.size() == state.replicas.size(),
                  [&] {
                    return StrCat(text(), " has ", state.isr.size(), " of ",
                                  state.replicas.size(),
                                  " replicas in sync after all was healed");
                  });
  const ReplicaView* leader = cluster_.FindReplica(state.leader, tp);
  if (leader == nullptr) return;
  for (const NodeId node : state.replicas) {
    const ReplicaView* replica = cluster_.FindReplica(node, tp);
    const bool equal =
        replica != nullptr && !replica->failed && replica->leo == leader->leo &&
        replica->high_watermark == leader->leo &&
        replica->log_start == state.log_start &&
        // Epochs without a record are their leaders' own; of the others RP10
        // says that they agree where the records do.
        std::equal(FindBatch(replica->batches, state.log_start),
                   replica->batches.end(),
                   FindBatch(leader->batches, state.log_start),
                   leader->batches.end(),
                   [](const StoredBatch& a, const StoredBatch& b) {
                     return a.SameRecords(b);
                   });
    findings_.Check(Rule::kRP24, equal, [&] {
      return StrCat(text(), ": replica ", node,
                    replica == nullptr
                        ? std::string(" is missing")
                        : StrCat(" is [", replica->log_start, ", ",
                                 replica->leo, "), HW ",
                                 replica->high_watermark, ", its leader's [",
                                 leader->log_start, ", ", leader->leo,
                                 "), registered from ", state.log_start,
                                 " on, or their records differ"));
    });
    // A member that lacks nothing any more has that on disk, too.
    findings_.Check(Rule::kST8, replica == nullptr || !replica->lossy, [&] {
      return StrCat(text(), ": replica ", node,
                    " is in sync, and would still pass for lossy after a kill");
    });
  }
}

Offset ReplicationInvariants::committed(const TopicPartition& tp) const {
  const auto found = records_.find(tp);
  return found == records_.end() ? Offset(0) : found->second.ledger.end();
}

const StoredBatch* ReplicationInvariants::FindCommitted(
    const TopicPartition& tp, Offset offset) const {
  const auto found = records_.find(tp);
  return found == records_.end() ? nullptr : found->second.ledger.Find(offset);
}

ReplicationInvariants::Reach ReplicationInvariants::ReachOf(
    const TopicPartition& tp, NodeId node, BrokerEpoch broker_epoch,
    LeaderEpoch leader_epoch) const {
  const auto record = records_.find(tp);
  if (record == records_.end()) return {};
  const auto replica = record->second.replicas.find(node);
  if (replica == record->second.replicas.end()) return {};
  const auto found = replica->second.reach.find({broker_epoch, leader_epoch});
  return found == replica->second.reach.end() ? Reach() : found->second;
}

}  // namespace sluice::check
