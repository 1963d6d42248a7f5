// RaftCore asking for votes.
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "controller/raft/raft_core.h"

namespace sluice::raft {

void RaftCore::TickCandidate() {
  if (timer_ticks_ >= timeout_ticks_) StartPreVote();
}

void RaftCore::StartPreVote() {
  role_ = Role::kPreCandidate;
  leader_ = VoterId();
  leader_heard_at_ = -1;
  votes_.clear();
  votes_[config_.self] = true;
  ResetTimers();
  for (const VoterId& voter : config_.voters) {
    if (voter == config_.self) continue;
    Message ask = Make(MessageType::kPreVote, voter);
    ask.term = hard_state_.term.Next();
    ask.log_index = log_.last_index();
    ask.log_term = log_.last_term();
    Send(std::move(ask));
  }
  TallyVotes();
}

void RaftCore::StartCampaign(bool forced) {
  INVARIANT(is_voter(), "RA12 an observer campaigns");
  role_ = Role::kCandidate;
  leader_ = VoterId();
  leader_heard_at_ = -1;
  votes_.clear();
  own_vote_counted_ = false;
  // Always a new term: one that a former life led is never led again (RA10).
  if (!MUTANT(kRestartedLeaderResumes) || hard_state_.vote != config_.self) {
    SetHardState(hard_state_.term.Next(), config_.self);
  }
  ResetTimers();
  for (const VoterId& voter : config_.voters) {
    if (voter == config_.self) continue;
    Message ask = Make(MessageType::kVote, voter);
    ask.log_index = log_.last_index();
    ask.log_term = log_.last_term();
    ask.flag = forced;
    // Once the term is durable: else the votes of this campaign could elect a
    // restarted self with a shorter log in the same term.
    SendAfterWrite(std::move(ask));
  }
}

void RaftCore::CountOwnVote() {
  if (!HardStateDurable()) return;  // RA2, RA9
  own_vote_counted_ = true;
  votes_[config_.self] = true;
  TallyVotes();
}

void RaftCore::StepVoteResponse(const Message& m) {
  const bool pre = m.type == MessageType::kPreVoteResponse;
  if (pre != (role_ == Role::kPreCandidate)) return;
  if (!pre && role_ != Role::kCandidate) return;
  if (pre && !m.reject && m.term != hard_state_.term.Next()) return;
  if (!IsVoter(m.from)) return;  // RA12: counted by (id, disk)
  votes_.emplace(m.from, !m.reject);
  TallyVotes();
}

void RaftCore::TallyVotes() {
  size_t yes = 0;
  size_t no = 0;
  for (const auto& [voter, granted] : votes_) ++(granted ? yes : no);
  if (yes >= Quorum()) {
    if (role_ == Role::kPreCandidate) return StartCampaign(/*forced=*/false);
    if (own_vote_counted_) BecomeLeader();
    return;
  }
  if (no > config_.voters.size() - Quorum()) {
    BecomeFollower(hard_state_.term, VoterId());
  }
}

}  // namespace sluice::raft
