#include "controller/raft/raft_core.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice::raft {
namespace {

// Nobody counts so far between two messages: a term or index that is counted
// on from a peer's number must not overflow, and one message of a broken peer
// must not use the terms up.
constexpr int64_t kTermLeapMax = int64_t{1} << 32;
constexpr LogIndex kLogIndexMax{int64_t{1} << 62};

}  // namespace

RaftCore::RaftCore(const RaftConfig& config, const StableState& state,
                   const LogReader& stable, Random& random)
    : config_(config),
      random_(random),
      hard_state_(state.hard_state),
      log_(stable, state),
      commit_index_(state.first_index - 1),
      delivered_index_(state.first_index - 1),
      durable_index_(state.last_index),
      durable_hard_state_(state.hard_state) {
  INVARIANT(config.Validate().ok(), config.Validate().ToString());
  INVARIANT(log_.last_term() <= hard_state_.term, "RA8 last entry of term ",
            log_.last_term(), " but hard state of ", hard_state_.term);
  reported_.term = hard_state_.term;
  if (MUTANT(kVoteForgotten)) {
    hard_state_.vote = durable_hard_state_.vote = VoterId();
  }
  ResetTimers();
}

bool RaftCore::IsVoter(const VoterId& who) const {
  return std::find(config_.voters.begin(), config_.voters.end(), who) !=
         config_.voters.end();
}

bool RaftCore::IsUpToDate(const Message& candidate) const {
  if (MUTANT(kShortLogElected)) return true;
  return std::pair(candidate.log_term, candidate.log_index) >=
         std::pair(log_.last_term(), log_.last_index());
}

bool RaftCore::HasLease() const {
  if (role_ == Role::kLeader) return true;
  return leader_.is_set() && leader_heard_at_ >= 0 &&
         now_ticks_ - leader_heard_at_ < config_.election_timeout_min_ticks;
}

void RaftCore::SetHardState(Term term, const VoterId& vote) {
  INVARIANT(term > hard_state_.term ||
                (term == hard_state_.term && !hard_state_.vote.is_set()),
            "RA8 RA2 term ", hard_state_.term, " -> ", term, ", vote ",
            hard_state_.vote, " -> ", vote);
  hard_state_ = {term, vote};
  hard_state_changed_ = true;
}

void RaftCore::ResetTimers() {
  timer_ticks_ = 0;
  if (quick_attempts_ > 0) {
    --quick_attempts_;
    timeout_ticks_ = random_.Between(config_.broken_link_min_ticks,
                                     config_.broken_link_max_ticks);
  } else {
    timeout_ticks_ = random_.Between(config_.election_timeout_min_ticks,
                                     config_.election_timeout_max_ticks);
  }
}

void RaftCore::LeaveLeadership() {
  for (ReadState& read : pending_reads_.FailAll()) reads_.push_back(read);
  peers_.clear();
  uncommitted_.clear();
  uncommitted_bytes_ = 0;
  transfer_to_.reset();
}

void RaftCore::BecomeFollower(Term term, const VoterId& leader) {
  if (term != hard_state_.term) SetHardState(term, VoterId());
  if (role_ == Role::kLeader) LeaveLeadership();
  role_ = Role::kFollower;
  leader_ = leader;
  leader_heard_at_ = leader.is_set() ? now_ticks_ : -1;
  if (leader.is_set()) quick_attempts_ = 0;
  votes_.clear();
  ResetTimers();
}

Message RaftCore::Make(MessageType type, const VoterId& to) const {
  Message message;
  message.type = type;
  message.cluster_id = config_.cluster_id;
  message.from = config_.self;
  message.to = to;
  message.term = hard_state_.term;
  return message;
}

bool RaftCore::HardStateDurable() const {
  return hard_state_ == durable_hard_state_;
}

void RaftCore::Send(Message message) {
  // A message tells of this term: nobody may know of it before the disk does.
  if (!HardStateDurable()) return SendAfterWrite(std::move(message));
  messages_.push_back(std::move(message));
}

void RaftCore::SendAfterWrite(Message message) {
  const bool all_durable = writes_.empty() && !hard_state_changed_ &&
                           !log_.HasUnwritten() &&
                           messages_after_write_.empty();
  (all_durable ? messages_ : messages_after_write_)
      .push_back(std::move(message));
}

void RaftCore::AppendToLog(std::vector<Entry> entries) {
  if (entries.empty()) return;
  const LogIndex first = entries.front().index;
  if (first <= log_.last_index()) {
    INVARIANT(role_ != Role::kLeader, "RA3 a leader truncates at ", first);
    INVARIANT(first > commit_index_, "RA8 truncation at ", first,
              " of what is committed to ", commit_index_);
    log_.TruncateFrom(first);
    durable_index_ = std::min(durable_index_, first - 1);
    for (Write& write : writes_) {
      write.last_index = std::min(write.last_index, first - 1);
    }
  }
  for (const Entry& entry : entries) log_.Append(entry);
}

void RaftCore::AdvanceCommit(LogIndex to) {
  INVARIANT(to >= commit_index_ && to <= log_.last_index(), "RA8 commit ",
            commit_index_, " -> ", to, " of ", log_.last_index());
  INVARIANT(role_ != Role::kLeader || log_.TermAt(to) == hard_state_.term,
            "RA7 leader of ", hard_state_.term, " commits ", to,
            " by counting");
  commit_index_ = to;
  while (!uncommitted_.empty() && uncommitted_.front().first <= to) {
    uncommitted_bytes_ -= uncommitted_.front().second;
    uncommitted_.pop_front();
  }
}

absl::Status RaftCore::NotLeader() const {
  return MakeError(ErrorCode::kNotController, "controller ", config_.self.node,
                   " is not the active one; ",
                   leader_.is_set()
                       ? StrCat("controller ", leader_.node, " is")
                       : std::string("none is known, try again"));
}

void RaftCore::Tick() {
  ++now_ticks_;
  ++timer_ticks_;
  switch (role_) {
    case Role::kFollower: return TickFollower();
    case Role::kPreCandidate:
    case Role::kCandidate: return TickCandidate();
    case Role::kLeader: return TickLeader();
  }
}

absl::Status RaftCore::CheckMessage(const Message& m) const {
  if (m.cluster_id != config_.cluster_id) {
    return MakeError(ErrorCode::kInconsistentClusterId, "controller ",
                     m.from.node, " is of cluster ", m.cluster_id,
                     ", this one is of ", config_.cluster_id,
                     "; check --controllers of both");
  }
  const auto invalid = [&](std::string_view what) {
    return MakeError(ErrorCode::kInvalidRequest, "raft message ",
                     NameOf(m.type), " of controller ", m.from.node, ": ",
                     what);
  };
  if (m.from.node.value() <= 0 || !m.from.directory.is_set()) {
    return invalid("no sender");
  }
  if (NameOf(m.type) == "UNKNOWN" || IsBootstrap(m.type)) {
    return invalid("unexpected type");
  }
  if (m.term.value() < 0 || m.log_index.value() < 0 ||
      m.log_term.value() < 0 || m.commit_index.value() < 0 ||
      m.reject_hint.value() < 0) {
    return invalid("negative number");
  }
  if (m.term - hard_state_.term > kTermLeapMax || m.log_index > kLogIndexMax) {
    return invalid("a term or index that nobody can have counted to");
  }
  LogIndex index = m.log_index;
  Term term = m.log_term;
  for (const Entry& entry : m.entries) {
    index = index.Next();
    if (entry.index != index || entry.term < term || entry.term > m.term) {
      return invalid("entries out of order");
    }
    if (entry.payload.size() > config_.entry_bytes_max) {
      return invalid("entry over entry_bytes_max");
    }
    term = entry.term;
  }
  return absl::OkStatus();
}

absl::Status RaftCore::Step(const Message& message) {
  if (absl::Status checked = CheckMessage(message); !checked.ok()) {
    return checked;
  }
  // Meant for, or sent by, a disk that this node no longer has (RA12).
  if (message.to != config_.self) return absl::OkStatus();
  if (message.from.node == config_.self.node) return absl::OkStatus();
  if (!StepTerm(message)) return absl::OkStatus();
  switch (message.type) {
    case MessageType::kPreVote:
    case MessageType::kVote:
      StepVoteRequest(message);
      return absl::OkStatus();
    case MessageType::kPreVoteResponse:
    case MessageType::kVoteResponse:
      StepVoteResponse(message);
      return absl::OkStatus();
    case MessageType::kAppend:
    case MessageType::kHeartbeat:
    case MessageType::kTimeoutNow:
      return StepFollower(message);
    default:
      if (role_ == Role::kLeader) StepLeader(message);
      return absl::OkStatus();
  }
}

bool RaftCore::StepTerm(const Message& m) {
  // An observer that missed elections still has to be found.
  if (m.type == MessageType::kObserve) return true;
  if (m.term < hard_state_.term) {
    StepLowerTerm(m);
    return false;
  }
  if (m.term == hard_state_.term) return true;
  // A pre-vote asks about a term that nobody is in.
  if (m.type == MessageType::kPreVote) return true;
  if (m.type == MessageType::kPreVoteResponse && !m.reject) return true;
  // A live leader is not deposed by one who cannot hear it (F40, F41).
  if (m.type == MessageType::kVote && !m.flag && HasLease()) return false;
  const bool of_leader =
      m.type == MessageType::kAppend || m.type == MessageType::kHeartbeat;
  BecomeFollower(m.term, of_leader ? m.from : VoterId());
  return true;
}

void RaftCore::StepLowerTerm(const Message& m) {
  // Tell a deposed leader or a candidate that is behind of the term, else it
  // would never catch up; all else is an echo of the past.
  switch (m.type) {
    case MessageType::kAppend:
    case MessageType::kHeartbeat: {
      Message answer = Make(MessageType::kAppendResponse, m.from);
      answer.reject = true;
      answer.log_index = m.log_index;
      return Send(std::move(answer));
    }
    case MessageType::kPreVote:
    case MessageType::kVote: {
      Message answer = Make(m.type == MessageType::kVote
                                ? MessageType::kVoteResponse
                                : MessageType::kPreVoteResponse,
                            m.from);
      answer.reject = true;
      return Send(std::move(answer));
    }
    default: return;
  }
}

void RaftCore::Persisted(uint64_t write_id) {
  INVARIANT(!writes_.empty() && writes_.front().id <= write_id &&
                write_id <= last_write_id_,
            "write ", write_id, " was not under way");
  while (!writes_.empty() && writes_.front().id <= write_id) {
    const Write& write = writes_.front();
    durable_index_ = std::max(durable_index_, write.last_index);
    if (write.hard_state.has_value()) durable_hard_state_ = *write.hard_state;
    writes_.pop_front();
  }
  INVARIANT(durable_index_ <= log_.last_index(), "RA9 durable ",
            durable_index_, " of ", log_.last_index());
  log_.StableTo(durable_index_);
  if (role_ == Role::kCandidate) CountOwnVote();
  if (role_ == Role::kLeader) MaybeCommit();
}

void RaftCore::LinkBroken(NodeId peer) {
  if (role_ == Role::kLeader) {
    for (auto& [id, progress] : peers_) {
      if (id.node == peer) progress.ToProbe();
    }
    return;
  }
  if (!leader_.is_set() || leader_.node != peer) return;
  leader_heard_at_ = -1;
  // The other voters may see their streams break a little later than this one
  // does, and refuse until then.
  quick_attempts_ = 4;
  ResetTimers();
}

void RaftCore::LinkUp(NodeId peer) {
  if (role_ != Role::kLeader) return;
  for (auto& [id, progress] : peers_) {
    if (id.node != peer) continue;
    progress.ToProbe();
    SendAppend(progress, /*even_if_empty=*/true);
  }
}

bool RaftCore::HasReady() const {
  return !messages_.empty() || !messages_after_write_.empty() ||
         hard_state_changed_ || log_.HasUnwritten() ||
         delivered_index_ < commit_index_ || !reads_.empty() ||
         !fault_.ok() ||
         reported_ != SoftState{role_, hard_state_.term, leader_};
}

Ready RaftCore::TakeReady() {
  Ready ready;
  if (delivered_index_ < commit_index_) {
    auto committed =
        log_.Read(delivered_index_.Next(), commit_index_.Next(),
                  config_.append_entries_max, config_.apply_bytes_max);
    if (committed.ok()) {
      ready.committed = *std::move(committed);
      delivered_index_ = ready.committed.back().index;
    } else {
      fault_ = committed.status();
    }
  }
  ConfirmReads();
  ready.fault = fault_;
  ready.messages = std::exchange(messages_, {});
  ready.reads = std::exchange(reads_, {});
  const SoftState soft{role_, hard_state_.term, leader_};
  if (soft != reported_) ready.soft_state = reported_ = soft;
  if (!hard_state_changed_ && !log_.HasUnwritten() &&
      messages_after_write_.empty()) {
    return ready;
  }
  Write write{.id = ++last_write_id_, .last_index = LogIndex(0),
              .hard_state = std::nullopt};
  if (hard_state_changed_) write.hard_state = hard_state_;
  hard_state_changed_ = false;
  ready.write_id = write.id;
  ready.hard_state = write.hard_state;
  ready.truncate_from = log_.TakeTruncation();
  ready.entries = log_.TakeUnwritten();
  ready.messages_after_write = std::exchange(messages_after_write_, {});
  if (!ready.entries.empty()) write.last_index = ready.entries.back().index;
  writes_.push_back(write);
  return ready;
}

RaftStatus RaftCore::Status() const {
  RaftStatus status{.soft = {role_, hard_state_.term, leader_},
                    .is_voter = is_voter(),
                    .first_index = log_.first_index(),
                    .last_index = log_.last_index(),
                    .durable_index = durable_index_,
                    .commit_index = commit_index_,
                    .peers = {}};
  if (role_ != Role::kLeader) return status;
  status.peers.push_back({config_.self, true, durable_index_, 0});
  for (const auto& [id, peer] : peers_) {
    status.peers.push_back({id, peer.is_voter, peer.match,
                            peer.ever_heard ? now_ticks_ - peer.heard_at : -1});
  }
  return status;
}

}  // namespace sluice::raft
