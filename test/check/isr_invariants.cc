#include "test/check/isr_invariants.h"

#include <algorithm>
#include <set>

#include "common/base/str_cat.h"
#include "controller/metadata/record_codec.h"

namespace sluice::check {
namespace {

bool Includes(const std::set<NodeId>& all, const std::vector<NodeId>& some) {
  return std::all_of(some.begin(), some.end(),
                     [&](NodeId node) { return all.contains(node); });
}

std::string Where(const NodeView& node, const TopicPartition& tp,
                  const ReplicaView& now) {
  return StrCat("leader ", node.id, " of ", tp.ToString(), " in epoch ",
                now.leader_epoch, "/", now.partition_epoch, " (HW ",
                now.high_watermark, ", LESO ", now.epoch_start, ")");
}

// Every broker that the change names by the same incarnation.
bool Matches(const replica::Proposal& proposal,
             const std::vector<NodeId>& isr) {
  return std::all_of(isr.begin(), isr.end(), [&](NodeId node) {
    return proposal.isr.contains(node);
  });
}

}  // namespace

std::string IsrInvariants::Text(const TopicPartition& tp,
                                const PartitionImage& p) {
  return StrCat("partition ", tp.ToString(), " (epoch ", p.leader_epoch, "/",
                p.partition_epoch, ", leader ", p.leader, ", ISR ",
                NodesText(p.isr), ", ELR ", NodesText(p.elr), ", unverified ",
                NodesText(p.unverified_elr), ", replicas ",
                NodesText(p.replicas), ")");
}

// ---- What leaders ask ----

void IsrInvariants::OnChange(const NodeView& node,
                             const ReplicaChange& change) {
  if (change.now == nullptr || change.now->failed || !change.now->leads ||
      cluster_.committed->FindPartition(change.tp) == nullptr) {
    current_.erase({change.tp, node.id});
    accepted_.erase({change.tp, node.id});
    return;
  }
  CheckQuestion(node, change.tp, *change.now);
  CheckMaximalIsr(node, change.tp, *change.now);
  NoteAccepted(node, change.tp, *change.now);
}

void IsrInvariants::NoteAccepted(const NodeView& node, const TopicPartition& tp,
                                 const ReplicaView& now) {
  Accepted& known = accepted_[{tp, node.id}];
  known.life = node.life;
  known.epoch = now.leader_epoch;
  known.followers.clear();
  for (const auto& [id, follower] : now.followers) {
    if (follower.accepted) {
      known.followers.emplace_back(id, follower.broker_epoch);
    }
  }
}

// Before the event under way, in which it may have left behind the question:
// one whose disk is full acknowledges and takes itself away in one frame.
bool IsrInvariants::WasAccepted(const NodeView& node, const TopicPartition& tp,
                                const ReplicaView& now,
                                NodeId follower) const {
  const auto known = accepted_.find({tp, node.id});
  const auto asked = now.followers.find(follower);
  return known != accepted_.end() && asked != now.followers.end() &&
         known->second.life == node.life &&
         known->second.epoch == now.leader_epoch &&
         std::count(known->second.followers.begin(),
                    known->second.followers.end(),
                    std::pair(follower, asked->second.broker_epoch)) > 0;
}

void IsrInvariants::CheckQuestion(const NodeView& node,
                                  const TopicPartition& tp,
                                  const ReplicaView& now) {
  const auto last = current_.find({tp, node.id});
  if (!now.proposal.has_value()) {
    if (last != current_.end()) current_.erase(last);
    return;
  }
  const replica::Proposal& asks = *now.proposal;
  const bool open = last != current_.end() && last->second.life == node.life;
  const bool same_moment =
      open &&
      last->second.proposal.partition_epoch == asks.partition_epoch;
  if (same_moment) {
    // RP15: one question at a time, in the same words until it is settled.
    findings_.Check(Rule::kRP15, last->second.proposal.isr == asks.isr, [&] {
      return StrCat(Where(node, tp, now), " puts another question while the "
                    "first is open");
    });
    if (last->second.proposal.isr == asks.isr) return;
  }
  Question question{node.id, node.life, asks};
  current_.insert_or_assign({tp, node.id}, question);
  asked_[{tp, now.leader_epoch, asks.partition_epoch}].push_back(
      std::move(question));
  for (const auto& [broker, epoch] : asks.isr) {
    if (broker == node.id || Contains(now.isr, broker)) continue;
    CheckMayJoin(node, tp, now, broker, epoch);
  }
}

// RP14, at the leader: by what it was told in this epoch, and what was told is
// true.
void IsrInvariants::CheckMayJoin(const NodeView& node, const TopicPartition& tp,
                                 const ReplicaView& now, NodeId joining,
                                 BrokerEpoch epoch) {
  const auto found = now.followers.find(joining);
  const bool known = found != now.followers.end();
  const bool accepted = known && (found->second.accepted ||
                                  WasAccepted(node, tp, now, joining));
  const Offset told =
      known ? found->second.Position(now.durable_counts) : kNoOffset;
  findings_.Check(
      Rule::kRP14,
      accepted && found->second.broker_epoch == epoch &&
          told >= now.high_watermark && told >= now.epoch_start,
      [&] {
        return StrCat(Where(node, tp, now), " wants ", joining,
                      " of broker epoch ", epoch, " in the ISR at ", told,
                      accepted ? "" : ", not accepted");
      });
  const auto reach =
      replication_.ReachOf(tp, joining, epoch, now.leader_epoch);
  findings_.Check(
      Rule::kRP14,
      (now.durable_counts ? reach.durable : reach.leo) >= now.epoch_start, [&] {
        return StrCat(Where(node, tp, now), " wants ", joining,
                      " in the ISR, which in this epoch has been at ",
                      reach.leo, ", durable ", reach.durable);
      });
}

// RP3, for a leader that is not deposed: whoever the metadata may elect counts.
void IsrInvariants::CheckMaximalIsr(const NodeView& node,
                                    const TopicPartition& tp,
                                    const ReplicaView& now) {
  const PartitionImage& state = *cluster_.committed->FindPartition(tp);
  if (state.leader != node.id || state.leader_epoch != now.leader_epoch ||
      cluster_.RegistrationOf(node) == nullptr) {
    return;
  }
  if (static_cast<int>(state.isr.size()) >= cluster_.MinIsrOf(tp)) {
    findings_.Check(
        Rule::kRP3,
        Includes(now.maximal_isr, state.isr) &&
            Includes(now.maximal_isr, state.elr),
        [&] {
          return StrCat(Where(node, tp, now), " does not count all of ",
                        Text(tp, state));
        });
  }
  if (now.proposal.has_value() ||
      now.partition_epoch != state.partition_epoch) {
    return;
  }
  const std::set<NodeId> isr(state.isr.begin(), state.isr.end());
  findings_.Check(Rule::kRP3, now.maximal_isr == isr, [&] {
    return StrCat(Where(node, tp, now), " asks for nothing and counts ",
                  now.maximal_isr.size(), " members of ", Text(tp, state));
  });
}

// ---- What was committed ----

void IsrInvariants::OnCommitted(const MetadataImage& before,
                                const MetadataChanges& changes) {
  const MetadataImage& now = *cluster_.committed;
  for (const TopicPartition& tp : changes.partitions_created) {
    full_at_[tp] = cluster_.MinIsrOf(tp);
    CheckForm(tp, *now.FindPartition(tp), cluster_.MinIsrOf(tp));
  }
  for (const TopicPartition& tp : changes.partitions_changed) {
    const Transition t{tp, *before.FindPartition(tp), *now.FindPartition(tp),
                       cluster_.MinIsrOf(tp)};
    if (t.now.last_full_isr != t.before.last_full_isr) {
      full_at_[tp] = t.min_isr;
    }
    CheckForm(tp, t.now, t.min_isr);
    CheckEpochs(t);
    CheckElection(t);
    CheckAdditions(t);
    // Nothing that was asked at the moment before can be applied any more.
    asked_.erase({tp, t.before.leader_epoch, t.before.partition_epoch});
    const NodeView* leader = cluster_.Running(t.now.leader);
    const ReplicaView* replica = cluster_.FindReplica(t.now.leader, tp);
    if (leader != nullptr && replica != nullptr && replica->leads) {
      CheckMaximalIsr(*leader, tp, *replica);
    }
  }
}

void IsrInvariants::CheckForm(const TopicPartition& tp,
                              const PartitionImage& now, int min_isr) {
  const std::set<NodeId> replicas(now.replicas.begin(), now.replicas.end());
  std::set<NodeId> members(now.isr.begin(), now.isr.end());
  members.insert(now.elr.begin(), now.elr.end());
  members.insert(now.unverified_elr.begin(), now.unverified_elr.end());
  const bool disjoint = members.size() == now.isr.size() + now.elr.size() +
                                              now.unverified_elr.size();
  const bool leads_in_sync =
      now.leader == kNoNode || Contains(now.isr, now.leader);
  const bool elr_is_needed =
      static_cast<int>(now.isr.size()) < min_isr ||
      (now.elr.empty() && now.unverified_elr.empty());
  const bool remembers =
      !members.empty() ||
      static_cast<int>(now.last_full_isr.size()) >=
          full_at_.try_emplace(tp, min_isr).first->second;
  const bool settled = now.leader == kNoNode ||
                       (now.candidates.empty() && !now.unclean_ordered);
  findings_.Check(
      Rule::kRP17,
      disjoint && leads_in_sync && elr_is_needed && remembers && settled &&
          std::includes(replicas.begin(), replicas.end(), members.begin(),
                        members.end()),
      [&] { return StrCat(Text(tp, now), ", min ISR ", min_isr); });
}

void IsrInvariants::CheckEpochs(const Transition& t) {
  findings_.Check(Rule::kRP16,
                  t.now.partition_epoch == t.before.partition_epoch + 1, [&] {
                    return StrCat(Text(t.tp, t.before), " becomes ",
                                  Text(t.tp, t.now));
                  });
  const bool removes = !std::all_of(
      t.before.replicas.begin(), t.before.replicas.end(),
      [&](NodeId node) { return Contains(t.now.replicas, node); });
  const bool rises = t.now.leader != t.before.leader || removes;
  findings_.Check(Rule::kRP16,
                  t.now.leader_epoch ==
                      (rises ? t.before.leader_epoch + 1 : t.before.leader_epoch),
                  [&] {
                    return StrCat(Text(t.tp, t.before), " becomes ",
                                  Text(t.tp, t.now));
                  });
}

// RP20, an unclean one: by order, or when nobody is left who might hold more;
// of those who told of their logs the best, alive; marked.
void IsrInvariants::CheckUncleanElection(const Transition& t) {
  const auto text = [&] {
    return StrCat(Text(t.tp, t.before), " becomes ", Text(t.tp, t.now));
  };
  const TopicImage& topic = *cluster_.committed->FindTopic(t.tp.topic_id);
  const bool allowed = t.before.unclean_ordered ||
                       cluster_.ordered.contains(t.tp) ||
                       cluster_.configs->ElectionRulesOf(topic).unclean;
  const NodeId leader = t.now.leader;
  findings_.Check(Rule::kRP20,
                  t.before.leader == kNoNode &&
                      t.now.last_unclean_leader_epoch == t.now.leader_epoch &&
                      t.now.isr == std::vector<NodeId>{leader} &&
                      cluster_.committed->IsActive(leader),
                  [&] { return StrCat(text(), ", unclean"); });
  // Whoever told last did so in the same batch.
  const auto silent = std::count_if(
      t.before.last_full_isr.begin(), t.before.last_full_isr.end(),
      [&](NodeId node) {
        const CandidateLog* log = t.before.CandidateOf(node);
        return log == nullptr || log->failed;
      });
  const bool nobody_left = t.before.isr.empty() && t.before.elr.empty() &&
                           t.before.unverified_elr.empty() && silent <= 1;
  findings_.Check(Rule::kRP20, allowed || nobody_left, [&] {
    return StrCat(text(), ": an unclean election that nobody ordered, ", silent,
                  " of the last full ISR ", NodesText(t.before.last_full_isr),
                  " have not told");
  });
  const ReplicaView* elected = cluster_.FindReplica(leader, t.tp);
  if (elected == nullptr) return;
  const std::pair<LeaderEpoch, Offset> held(
      elected->epochs.empty() ? kNoLeaderEpoch : elected->epochs.back().epoch,
      elected->leo);
  for (const CandidateLog& log : t.before.candidates) {
    const bool counts =
        !log.failed && (!allowed || cluster_.committed->IsActive(log.node));
    findings_.Check(
        Rule::kRP20, !counts || std::pair(log.last_epoch, log.end) <= held,
        [&] {
          return StrCat(text(), ", whose log ends at ", held.second,
                        " of epoch ", held.first, "; broker ", log.node,
                        " told of ", log.end, " of epoch ", log.last_epoch);
        });
  }
}

// RP20: from the ISR, or when that is empty from the ELR, alive; a doubted
// replica only once its verdict says that it lost nothing.
void IsrInvariants::CheckElection(const Transition& t) {
  if (t.now.last_unclean_leader_epoch != t.before.last_unclean_leader_epoch) {
    return CheckUncleanElection(t);
  }
  if (t.now.leader == t.before.leader || t.now.leader == kNoNode) return;
  const NodeId leader = t.now.leader;
  const bool from_isr = Contains(t.before.isr, leader);
  const bool from_elr = (Contains(t.before.elr, leader) ||
                         Contains(t.before.unverified_elr, leader)) &&
                        t.now.isr == std::vector<NodeId>{leader};
  findings_.Check(
      Rule::kRP20,
      (from_isr || from_elr) && cluster_.committed->IsActive(leader), [&] {
        return StrCat(Text(t.tp, t.before), " becomes ", Text(t.tp, t.now),
                      cluster_.committed->IsActive(leader)
                          ? ""
                          : ", whose leader is not active");
      });
}

void IsrInvariants::CheckAdditions(const Transition& t) {
  std::vector<NodeId> added;
  for (const NodeId node : t.now.isr) {
    if (!Contains(t.before.isr, node)) added.push_back(node);
  }
  if (added.empty()) return;
  // An election out of the ELR (CheckElection).
  if (t.now.leader != t.before.leader &&
      added == std::vector<NodeId>{t.now.leader}) {
    return;
  }
  CheckAsked(t, added);
}

// RP14, at the controller: somebody joins only because the leader of this very
// moment asked, with the incarnation that is registered. RP15: it then still
// counts the one who joins.
void IsrInvariants::CheckAsked(const Transition& t,
                               const std::vector<NodeId>& added) {
  const auto found = asked_.find(
      {t.tp, t.before.leader_epoch, t.before.partition_epoch});
  const std::vector<Question> none;
  const std::vector<Question>& asked =
      found == asked_.end() ? none : found->second;
  const auto question = std::find_if(
      asked.rbegin(), asked.rend(), [&](const Question& q) {
        return Matches(q.proposal, t.now.isr) && q.leader == t.before.leader;
      });
  const auto text = [&] {
    return StrCat(Text(t.tp, t.before), " becomes ", Text(t.tp, t.now));
  };
  if (!findings_.Check(Rule::kRP14, question != asked.rend(), [&] {
        return StrCat(text(), ", which its leader never asked for");
      })) {
    return;
  }
  for (const NodeId node : added) {
    const BrokerImage* broker = cluster_.committed->FindBroker(node);
    findings_.Check(
        Rule::kRP14,
        broker != nullptr && broker->active() &&
            broker->epoch == question->proposal.isr.at(node),
        [&] {
          return StrCat(text(), ": ", node, " was asked for with broker epoch ",
                        question->proposal.isr.at(node), ", registered is ",
                        broker == nullptr ? kNoBrokerEpoch : broker->epoch,
                        broker != nullptr && broker->active()
                            ? ""
                            : ", not active");
        });
  }
  const NodeView* leader = cluster_.Find(t.before.leader);
  const ReplicaView* replica = cluster_.FindReplica(t.before.leader, t.tp);
  if (leader == nullptr || leader->life != question->life ||
      replica == nullptr || !replica->leads ||
      replica->leader_epoch != t.before.leader_epoch ||
      replica->partition_epoch != t.before.partition_epoch) {
    return;
  }
  findings_.Check(Rule::kRP15,
                  replica->proposal.has_value() &&
                      Matches(*replica->proposal, added),
                  [&] {
                    return StrCat(text(), ": its leader took the question back "
                                  "before it was applied");
                  });
}

}  // namespace sluice::check
