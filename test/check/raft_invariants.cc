#include "test/check/raft_invariants.h"

#include <algorithm>

#include "common/base/str_cat.h"

namespace sluice::check {
namespace {

using raft::MessageType;

std::string Where(const RaftView& view) {
  return StrCat("controller ", view.self, " (", raft::NameOf(view.role),
                ", term ", view.hard_state.term, ", commit ", view.commit,
                ", durable ", view.durable, ", last ", view.last, ")");
}

size_t SizeOf(LogIndex index) { return static_cast<size_t>(index.value()); }

// A hard state that a disk may hold after it has held `was`.
bool Follows(const raft::HardState& now, const raft::HardState& was) {
  return now.term > was.term ||
         (now.term == was.term && (!was.vote.is_set() || now.vote == was.vote));
}

}  // namespace

bool RaftInvariants::IsVoter(const RaftView& view,
                             const raft::VoterId& who) const {
  return std::find(view.voters.begin(), view.voters.end(), who) !=
         view.voters.end();
}

const RaftView* RaftInvariants::DiskOf(const NodeView& node) const {
  if (node.raft.has_value()) return &*node.raft;
  const auto found = ended_.find(node.id);
  return found == ended_.end() ? nullptr : &found->second;
}

void RaftInvariants::OnEnd(const NodeView& node) {
  sent_.erase(node.id);
  if (node.raft.has_value()) ended_[node.id] = *node.raft;
}

void RaftInvariants::OnSent(NodeId from, const raft::Message& message) {
  switch (message.type) {
    case MessageType::kVote:
    case MessageType::kVoteResponse:
    case MessageType::kPreVoteResponse:
    case MessageType::kAppendResponse: {
      raft::Message told = message;
      told.entries.clear();
      sent_[from].push_back(std::move(told));
      return;
    }
    default:
      return;
  }
}

void RaftInvariants::OnChange(const NodeView& node,
                              const std::optional<RaftFacts>& before) {
  const RaftView& view = *node.raft;
  if (before.has_value()) {
    CheckMonotone(view, *before);
  } else {
    CheckRestart(node);
  }
  CheckNewEntries(node);
  CheckSent(node);
  CheckLeader(node, before);
  CheckCommitted(node, before);
}

// What was durable, and what others were told of, is there again.
void RaftInvariants::CheckRestart(const NodeView& node) {
  const RaftView& view = *node.raft;
  const auto found = ended_.find(node.id);
  if (found == ended_.end()) return;
  const RaftView& old = found->second;
  if (old.self != view.self) {
    gone_.push_back(old);  // another disk: somebody else (RA12)
    return;
  }
  findings_.Check(
      Rule::kRA2, Follows(view.hard_state, old.durable_hard_state), [&] {
        return StrCat(Where(view), " restarts with vote ",
                      view.hard_state.vote, ", but term ",
                      old.durable_hard_state.term, " and vote ",
                      old.durable_hard_state.vote, " were durable");
      });
  const auto told = votes_.lower_bound({view.self, view.hard_state.term});
  const bool keeps_votes =
      told == votes_.end() || told->first.first != view.self ||
      (told->first.second == view.hard_state.term &&
       told->second == view.hard_state.vote &&
       (std::next(told) == votes_.end() ||
        std::next(told)->first.first != view.self));
  findings_.Check(Rule::kRA2, keeps_votes, [&] {
    return StrCat(Where(view), " restarts with vote ", view.hard_state.vote,
                  ", but has told of its vote in term ", told->first.second,
                  " for ", told->second);
  });
  const size_t durable = SizeOf(old.durable);
  const bool keeps_log =
      view.log.size() >= durable &&
      std::equal(old.log.begin(),
                 old.log.begin() + static_cast<int64_t>(durable),
                 view.log.begin());
  findings_.Check(Rule::kRA9, keeps_log, [&] {
    return StrCat(Where(view), " restarts without some of the ", old.durable,
                  " entries that were durable");
  });
}

void RaftInvariants::CheckMonotone(const RaftView& view,
                                   const RaftFacts& before) {
  findings_.Check(
      Rule::kRA8,
      view.hard_state.term >= before.hard_state.term &&
          view.commit >= before.commit && view.applied >= before.applied &&
          view.applied <= view.commit && view.commit <= view.last &&
          view.log_kept >= SizeOf(before.commit),
      [&] {
        return StrCat(Where(view), " applied ", view.applied,
                      ", before: term ", before.hard_state.term, ", commit ",
                      before.commit, ", applied ", before.applied,
                      ", entries left alone ", view.log_kept);
      });
  findings_.Check(Rule::kRA2, Follows(view.hard_state, before.hard_state), [&] {
    return StrCat(Where(view), " changes its vote from ",
                  before.hard_state.vote, " to ", view.hard_state.vote);
  });
}

// RA4: an index and a term name one entry and the term of the one before it,
// from which equal prefixes follow.
void RaftInvariants::CheckNewEntries(const NodeView& node) {
  const RaftView& view = *node.raft;
  for (size_t i = view.log_kept; i < view.log.size(); ++i) {
    const EntryView& entry = view.log[i];
    const LogIndex index(static_cast<int64_t>(i) + 1);
    const Link link{entry.digest, i == 0 ? Term(-1) : view.log[i - 1].term};
    const auto [it, fresh] = links_.try_emplace({index, entry.term}, link);
    findings_.Check(Rule::kRA4, it->second == link, [&] {
      return StrCat(Where(view), " holds another entry ", index, " of term ",
                    entry.term, " than somebody else");
    });
  }
}

// ---- What others are told ----

void RaftInvariants::CheckVote(const RaftView& view, Term term,
                               const raft::VoterId& candidate) {
  findings_.Check(Rule::kRA12, IsVoter(view, view.self), [&] {
    return StrCat(Where(view), " votes in term ", term, " and is no voter");
  });
  const raft::HardState& disk = view.durable_hard_state;
  findings_.Check(Rule::kRA2,
                  disk.term > term ||
                      (disk.term == term && disk.vote == candidate),
                  [&] {
                    return StrCat(Where(view), " tells of its vote in term ",
                                  term, " for ", candidate,
                                  ", durable is term ", disk.term, " vote ",
                                  disk.vote);
                  });
  const auto [it, fresh] = votes_.try_emplace({view.self, term}, candidate);
  findings_.Check(Rule::kRA2, it->second == candidate, [&] {
    return StrCat(Where(view), " votes in term ", term, " for ", candidate,
                  " after ", it->second);
  });
}

void RaftInvariants::CheckSent(const NodeView& node) {
  const auto found = sent_.find(node.id);
  if (found == sent_.end()) return;
  const RaftView& view = *node.raft;
  for (const raft::Message& m : found->second) {
    if (m.type == MessageType::kVote) CheckVote(view, m.term, view.self);
    if (m.reject) continue;
    if (m.type == MessageType::kVoteResponse) CheckVote(view, m.term, m.to);
    if (m.type == MessageType::kPreVoteResponse) {
      findings_.Check(Rule::kRA12, IsVoter(view, view.self), [&] {
        return StrCat(Where(view), " grants a pre-vote and is no voter");
      });
    }
    // An answer of an older term may leave when the log has moved on to the
    // next leader's: as if the network had kept it.
    if (m.type == MessageType::kAppendResponse &&
        m.term == view.hard_state.term) {
      findings_.Check(Rule::kRA9, m.log_index <= view.durable, [&] {
        return StrCat(Where(view), " acknowledges ", m.log_index);
      });
    }
  }
  sent_.erase(found);
}

// ---- Leaders ----

void RaftInvariants::CheckLeader(const NodeView& node,
                                 const std::optional<RaftFacts>& before) {
  const RaftView& view = *node.raft;
  if (view.role != raft::Role::kLeader) return;
  const bool led = before.has_value() &&
                   before->role == raft::Role::kLeader &&
                   before->hard_state.term == view.hard_state.term;
  if (!led) return CheckBecameLeader(node);
  findings_.Check(Rule::kRA3,
                  view.truncations == before->truncations &&
                      view.log_kept == view.log_before,
                  [&] {
                    return StrCat(Where(view), " changed its own log from ",
                                  view.log_kept + 1, " on");
                  });
  if (view.commit == before->commit) return;
  const EntryView* last = SizeOf(view.commit) <= view.log.size()
                              ? &view.log[SizeOf(view.commit) - 1]
                              : nullptr;
  findings_.Check(Rule::kRA7,
                  last != nullptr && last->term == view.hard_state.term, [&] {
                    return StrCat(Where(view), " commits up to an entry of ",
                                  last == nullptr ? Term(-1) : last->term);
                  });
}

void RaftInvariants::CheckBecameLeader(const NodeView& node) {
  const RaftView& view = *node.raft;
  const Term term = view.hard_state.term;
  const Leadership now{view.self, node.life};
  const auto [it, fresh] = leaders_.try_emplace(term, now);
  findings_.Check(Rule::kRA1, it->second.who == view.self, [&] {
    return StrCat(Where(view), " leads as ", it->second.who, " did");
  });
  findings_.Check(Rule::kRA10, fresh || it->second.who != view.self, [&] {
    return StrCat(Where(view), " leads its term a second time");
  });
  const auto votes = std::count_if(
      view.voters.begin(), view.voters.end(), [&](const raft::VoterId& voter) {
        if (voter == view.self) {
          return view.durable_hard_state == raft::HardState{term, view.self};
        }
        const auto vote = votes_.find({voter, term});
        return vote != votes_.end() && vote->second == view.self;
      });
  findings_.Check(
      Rule::kRA12, static_cast<size_t>(votes) > view.voters.size() / 2, [&] {
        return StrCat(Where(view), " leads by ", votes, " durable votes of ",
                      view.voters.size(), " voters");
      });
  // Who stood still when it was elected may hear of that when a later leader
  // has committed more: it owes what older terms did.
  size_t owed = committed_.size();
  while (owed > 0 && committed_in_[owed - 1] >= term) --owed;
  const auto end = committed_.begin() + static_cast<std::ptrdiff_t>(owed);
  const bool complete =
      view.log.size() >= owed &&
      std::equal(committed_.begin(), end, view.log.begin());
  findings_.Check(Rule::kRA5, complete, [&] {
    return StrCat(Where(view), " leads without some of the ", owed,
                  " entries that older terms committed");
  });
}

// ---- Commitment ----

void RaftInvariants::CheckCommitted(const NodeView& node,
                                    const std::optional<RaftFacts>& before) {
  const RaftView& view = *node.raft;
  const size_t from = before.has_value() ? SizeOf(before->commit) : 0;
  const size_t upto = std::min(SizeOf(view.commit), view.log.size());
  for (size_t i = from; i < upto; ++i) {
    const EntryView& entry = view.log[i];
    if (i < committed_.size()) {
      findings_.Check(Rule::kRA6, entry == committed_[i], [&] {
        return StrCat(Where(view), " commits another entry at ", i + 1,
                      " than somebody before");
      });
      continue;
    }
    const auto holds = [&](const RaftView* disk) {
      return disk != nullptr && IsVoter(view, disk->self) &&
             SizeOf(disk->durable) > i && disk->log.size() > i &&
             disk->log[i] == entry;
    };
    // Of a disk that was replaced since its word may still be under way.
    const auto holders =
        std::count_if(nodes_.begin(), nodes_.end(),
                      [&](const auto& other) {
                        return holds(DiskOf(other.second));
                      }) +
        std::count_if(gone_.begin(), gone_.end(),
                      [&](const RaftView& disk) { return holds(&disk); });
    // The first entry is the bootstrap record: committed by being there.
    findings_.Check(
        Rule::kRA9,
        i == 0 || static_cast<size_t>(holders) > view.voters.size() / 2, [&] {
          return StrCat(Where(view), " commits ", i + 1, ", durable at ",
                        holders, " of ", view.voters.size(), " voters");
        });
    committed_.push_back(entry);
    committed_in_.push_back(view.hard_state.term);
  }
}

void RaftInvariants::AtEnd() {
  for (const auto& [id, node] : nodes_) {
    if (!node.raft.has_value()) continue;
    findings_.Check(Rule::kRA16, node.raft->pending_proposals == 0, [&] {
      return StrCat(Where(*node.raft), " still has ",
                    node.raft->pending_proposals, " proposals under way");
    });
  }
}

}  // namespace sluice::check
