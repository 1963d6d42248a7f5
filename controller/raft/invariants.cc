#include "controller/raft/invariants.h"

#include <algorithm>

#include "common/base/crc32c.h"
#include "common/base/str_cat.h"

namespace sluice::raft {

InvariantChecker::InvariantChecker(std::vector<VoterId> voters,
                                   std::vector<Entry> first)
    : voters_(std::move(voters)), first_(std::move(first)) {
  // A bootstrap record is committed by being there.
  for (const Entry& entry : first_) committed_.push_back(Digest(entry));
}

bool InvariantChecker::Check(bool holds, std::string_view number,
                             const VoterId& node, const std::string& facts) {
  ++checks_;
  if (!holds && !violation_.has_value()) {
    violation_ = StrCat(number, " broken by ", node, ": ", facts);
  }
  return holds;
}

InvariantChecker::Stored InvariantChecker::Digest(const Entry& entry) {
  const uint64_t crc = Crc32c(entry.payload.view());
  return {entry.term,
          crc << 8 | static_cast<uint64_t>(static_cast<int>(entry.type))};
}

bool InvariantChecker::IsVoter(const VoterId& who) const {
  return std::find(voters_.begin(), voters_.end(), who) != voters_.end();
}

InvariantChecker::Node& InvariantChecker::At(const VoterId& node) {
  auto [it, fresh] = nodes_.try_emplace(node);
  if (fresh) Change(it->second.disk, std::nullopt, first_);
  return it->second;
}

void InvariantChecker::Change(std::vector<Stored>& log,
                              std::optional<LogIndex> truncate_from,
                              const std::vector<Entry>& entries) {
  if (truncate_from.has_value() &&
      static_cast<size_t>(truncate_from->value()) <= log.size()) {
    log.resize(truncate_from->value() - 1);
  }
  for (const Entry& entry : entries) log.push_back(Digest(entry));
}

void InvariantChecker::Started(const VoterId& node) {
  Node& state = At(node);
  state.log = state.disk;
  state.term = state.hard_state.term;
  state.commit = LogIndex(0);
  state.delivered = LogIndex(0);
}

void InvariantChecker::CheckLink(const VoterId& node, const Node& state,
                                 const Entry& entry) {
  const size_t before = entry.index.value() - 1;
  const Term before_term = before == 0 ? Term(0) : state.log[before - 1].term;
  const std::pair link(Digest(entry).digest, before_term);
  const auto [it, fresh] = links_.try_emplace({entry.index, entry.term}, link);
  Check(it->second == link, "RA4", node,
        StrCat("entry ", entry.index, "/", entry.term,
               " differs from what another node has there"));
}

void InvariantChecker::LogChanged(const VoterId& node, bool is_leader,
                                  Term node_term,
                                  std::optional<LogIndex> truncate_from,
                                  const std::vector<Entry>& entries) {
  Node& state = At(node);
  if (is_leader) {
    Check(!truncate_from.has_value(), "RA3", node, "a leader truncates");
  }
  if (truncate_from.has_value()) {
    Check(*truncate_from > state.commit, "RA8", node,
          StrCat("truncates ", *truncate_from, ", committed to ",
                 state.commit));
  }
  Change(state.log, truncate_from, {});
  for (const Entry& entry : entries) {
    const LogIndex expected(static_cast<int64_t>(state.log.size()) + 1);
    if (!Check(entry.index == expected, "RA4", node,
               StrCat("a gap before entry ", entry.index))) {
      return;
    }
    if (is_leader) {
      // One Ready may hold entries from before the election too.
      Check(entry.term <= node_term, "RA3", node,
            StrCat("leader of ", node_term, " appends ", entry.term));
    }
    CheckLink(node, state, entry);
    state.log.push_back(Digest(entry));
  }
}

void InvariantChecker::DiskWrote(const VoterId& node,
                                 const std::optional<HardState>& hard_state,
                                 std::optional<LogIndex> truncate_from,
                                 const std::vector<Entry>& entries) {
  Node& state = At(node);
  Change(state.disk, truncate_from, entries);
  if (!hard_state.has_value()) return;
  Check(hard_state->term > state.hard_state.term ||
            (hard_state->term == state.hard_state.term &&
             (!state.hard_state.vote.is_set() ||
              state.hard_state.vote == hard_state->vote)),
        "RA2", node,
        StrCat("hard state ", state.hard_state.term, "/",
               state.hard_state.vote, " becomes ", hard_state->term, "/",
               hard_state->vote));
  state.hard_state = *hard_state;
}

void InvariantChecker::NoteVote(const VoterId& voter, Term term,
                                const VoterId& candidate) {
  Check(IsVoter(voter), "RA12", voter, "votes and is no voter");
  const HardState& durable = At(voter).hard_state;
  Check(durable.term > term ||
            (durable.term == term && durable.vote == candidate),
        "RA2", voter,
        StrCat("tells of its vote in term ", term, " for ", candidate,
               ", but its disk says ", durable.term, "/", durable.vote));
  const auto [it, fresh] = votes_.try_emplace({voter, term}, candidate);
  Check(it->second == candidate, "RA2", voter,
        StrCat("votes for ", candidate, " after ", it->second, " in term ",
               term));
}

void InvariantChecker::BecameLeader(const VoterId& node, Term term) {
  const auto [it, fresh] = leaders_.try_emplace(term, node);
  Check(it->second == node, "RA1", node,
        StrCat("leads term ", term, " as ", it->second, " did"));
  Check(fresh, "RA10", node, StrCat("leads term ", term, " again"));
  const auto votes =
      std::count_if(voters_.begin(), voters_.end(), [&](const VoterId& voter) {
        if (voter == node) {
          return At(node).hard_state == HardState{term, node};
        }
        const auto vote = votes_.find({voter, term});
        return vote != votes_.end() && vote->second == node;
      });
  Check(static_cast<size_t>(votes) > voters_.size() / 2, "RA12", node,
        StrCat("leads term ", term, " by ", votes, " durable votes of ",
               voters_.size(), " voters"));
  const std::vector<Stored>& log = At(node).log;
  bool complete = log.size() >= committed_.size() &&
                  std::equal(committed_.begin(), committed_.end(),
                             log.begin());
  Check(complete, "RA5", node,
        StrCat("leads term ", term, " without some of the ",
               committed_.size(), " committed entries"));
}

void InvariantChecker::Sent(const VoterId& node, const Message& m) {
  if (m.type == MessageType::kVote) NoteVote(node, m.term, node);
  if (m.type == MessageType::kVoteResponse && !m.reject) {
    NoteVote(node, m.term, m.to);
  }
  if (m.type == MessageType::kPreVoteResponse && !m.reject) {
    Check(IsVoter(node), "RA12", node, "grants a pre-vote and is no voter");
  }
  if (m.type == MessageType::kAppendResponse && !m.reject) {
    const Node& state = At(node);
    const size_t held = m.log_index.value();
    // An answer of an older term may leave when the log in memory has moved
    // on to the next leader's: as if the network had delayed it.
    const bool durable =
        held <= state.disk.size() &&
        (held == 0 || m.term < state.term ||
         (held <= state.log.size() &&
          state.disk[held - 1] == state.log[held - 1]));
    Check(durable, "RA9", node,
          StrCat("acknowledges ", m.log_index, ", its disk ends at ",
                 state.disk.size()));
    Check(state.hard_state.term >= m.term, "RA2", node,
          StrCat("tells of term ", m.term, ", its disk of ",
                 state.hard_state.term));
  }
}

void InvariantChecker::StateIs(const VoterId& node, Term term,
                               LogIndex commit) {
  Node& state = At(node);
  Check(term >= state.term, "RA8", node,
        StrCat("term ", state.term, " -> ", term));
  Check(commit >= state.commit, "RA8", node,
        StrCat("commit ", state.commit, " -> ", commit));
  Check(static_cast<size_t>(commit.value()) <= state.log.size(), "RA8", node,
        StrCat("commit ", commit, " past the end ", state.log.size()));
  state.term = term;
  state.commit = commit;
}

void InvariantChecker::Delivered(const VoterId& node, const Entry& entry) {
  Node& state = At(node);
  Check(entry.index == state.delivered.Next(), "RA8", node,
        StrCat("delivers ", entry.index, " after ", state.delivered));
  state.delivered = entry.index;
  const Stored stored = Digest(entry);
  const size_t index = entry.index.value();
  if (index <= committed_.size()) {
    Check(committed_[index - 1] == stored, "RA6", node,
          StrCat("delivers another entry at ", entry.index));
    return;
  }
  if (!Check(index == committed_.size() + 1, "RA6", node,
             StrCat("delivers ", entry.index, ", nobody has committed ",
                    committed_.size() + 1))) {
    return;
  }
  const auto holders =
      std::count_if(voters_.begin(), voters_.end(), [&](const VoterId& voter) {
        const std::vector<Stored>& disk = At(voter).disk;
        return disk.size() >= index && disk[index - 1] == stored;
      });
  Check(static_cast<size_t>(holders) > voters_.size() / 2, "RA9", node,
        StrCat("commits ", entry.index, "/", entry.term, " held by ", holders,
               " disks of ", voters_.size(), " voters"));
  committed_.push_back(stored);
}

void InvariantChecker::ReadBegan(uint64_t id) { reads_[id] = max_committed(); }

void InvariantChecker::ReadEnded(uint64_t id, LogIndex index) {
  const auto read = reads_.find(id);
  if (read == reads_.end()) return;
  Check(index >= read->second, "RA14", VoterId(),
        StrCat("a read is answered as of ", index, ", ", read->second,
               " was committed before it began"));
  reads_.erase(read);
}

}  // namespace sluice::raft
