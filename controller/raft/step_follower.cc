// RaftCore as a follower, and what every role does with requests of others.
#include <algorithm>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "controller/raft/raft_core.h"

namespace sluice::raft {

void RaftCore::TickFollower() {
  if (is_voter() && config_.voters.size() == 1) {
    return StartCampaign(/*forced=*/false);  // there is nobody to wait for
  }
  if (timer_ticks_ < timeout_ticks_) return;
  if (is_voter() && MUTANT(kNoPreVote)) return StartCampaign(/*forced=*/false);
  if (is_voter()) return StartPreVote();
  leader_ = VoterId();
  ResetTimers();
  for (const VoterId& voter : config_.voters) {
    if (voter.node == config_.self.node) continue;
    Message ask = Make(MessageType::kObserve, voter);
    ask.log_index = durable_index_;
    Send(std::move(ask));
  }
}

void RaftCore::StepVoteRequest(const Message& m) {
  // An observer has no say, whatever its node id was before (RA12, F36).
  if (!is_voter()) return;
  const bool pre = m.type == MessageType::kPreVote;
  bool grant = IsUpToDate(m);
  if (pre) {
    grant = grant && m.term > hard_state_.term && !HasLease();
  } else {
    // One vote per term, for ever (RA2, F35).
    grant = grant && (hard_state_.vote == m.from || MUTANT(kTwoVotesATerm) ||
                      (!hard_state_.vote.is_set() && !leader_.is_set()));
  }
  Message answer = Make(
      pre ? MessageType::kPreVoteResponse : MessageType::kVoteResponse, m.from);
  answer.reject = !grant;
  if (!grant) return Send(std::move(answer));
  if (pre) {
    answer.term = m.term;
    return Send(std::move(answer));
  }
  if (hard_state_.vote != m.from) SetHardState(hard_state_.term, m.from);
  ResetTimers();
  if (MUTANT(kVoteNotSynced)) return messages_.push_back(std::move(answer));
  SendAfterWrite(std::move(answer));
}

absl::Status RaftCore::StepFollower(const Message& m) {
  if (role_ == Role::kLeader ||
      (leader_.is_set() && leader_ != m.from)) {
    return MakeError(ErrorCode::kInvalidRequest, "RA1 controller ",
                     m.from.node, " claims to lead term ", m.term,
                     ", which controller ", leader_.node,
                     " leads; one of their disks lost what it had synced");
  }
  if (m.type == MessageType::kTimeoutNow) {
    StepTimeoutNow(m);
    return absl::OkStatus();
  }
  HeardLeader(m.from);
  if (m.type == MessageType::kAppend) {
    StepAppend(m);
    return absl::OkStatus();
  }
  if (m.commit_index > log_.last_index()) {
    return MakeError(ErrorCode::kInvalidRequest, "controller ", m.from.node,
                     " believes this one has entry ", m.commit_index,
                     ", but the log ends at ", log_.last_index(),
                     "; this disk lost what it had synced: give it a new "
                     "directory");
  }
  StepHeartbeat(m);
  return absl::OkStatus();
}

void RaftCore::HeardLeader(const VoterId& leader) {
  if (role_ != Role::kFollower) BecomeFollower(hard_state_.term, leader);
  leader_ = leader;
  leader_heard_at_ = now_ticks_;
  if (quick_attempts_ > 0) {
    quick_attempts_ = 0;
    ResetTimers();
  }
  timer_ticks_ = 0;
}

void RaftCore::StepAppend(const Message& m) {
  if (m.log_index < commit_index_) {
    // Old news. What is committed here is in every leader's log (RA5).
    Message answer = Make(MessageType::kAppendResponse, m.from);
    answer.log_index = commit_index_;
    return SendAfterWrite(std::move(answer));
  }
  if (log_.Matches(m.log_index, m.log_term)) return AcceptEntries(m);
  RejectAppend(m);
}

void RaftCore::AcceptEntries(const Message& m) {
  auto fresh = std::find_if(
      m.entries.begin(), m.entries.end(),
      [&](const Entry& e) { return !log_.Matches(e.index, e.term); });
  AppendToLog(std::vector<Entry>(fresh, m.entries.end()));
  const LogIndex last =
      m.log_index + static_cast<int64_t>(m.entries.size());
  // Beyond `last` this log may differ from the leader's.
  const LogIndex commit = std::min(
      m.commit_index,
      MUTANT(kAppendCommitsUnmatched) ? log_.last_index() : last);
  if (commit > commit_index_) AdvanceCommit(commit);
  Message answer = Make(MessageType::kAppendResponse, m.from);
  answer.log_index = last;
  if (MUTANT(kFollowerAcksUnsynced)) return Send(std::move(answer));
  SendAfterWrite(std::move(answer));  // RA9
}

void RaftCore::RejectAppend(const Message& m) {
  Message answer = Make(MessageType::kAppendResponse, m.from);
  answer.reject = true;
  answer.log_index = m.log_index;
  // Skips a whole diverging term at once.
  answer.reject_hint = log_.LastAtOrBelow(m.log_index, m.log_term);
  answer.reject_hint_term = *log_.TermAt(answer.reject_hint);
  Send(std::move(answer));
}

void RaftCore::StepHeartbeat(const Message& m) {
  if (m.commit_index > commit_index_) AdvanceCommit(m.commit_index);
  Message answer = Make(MessageType::kHeartbeatResponse, m.from);
  answer.context = m.context;
  Send(std::move(answer));
}

void RaftCore::StepTimeoutNow(const Message& m) {
  if (role_ != Role::kFollower || !is_voter() || leader_ != m.from) return;
  StartCampaign(/*forced=*/true);
}

}  // namespace sluice::raft
