// RaftCore leading.
#include <algorithm>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "controller/raft/raft_core.h"

namespace sluice::raft {
namespace {

// An observer that said nothing for so many election timeouts is forgotten.
constexpr int kObserverPatience = 10;

}  // namespace

void RaftCore::BecomeLeader() {
  INVARIANT(role_ == Role::kCandidate && HardStateDurable() &&
                hard_state_.vote == config_.self,
            "RA2 RA10 leads term ", hard_state_.term, " with vote ",
            hard_state_.vote);
  role_ = Role::kLeader;
  leader_ = config_.self;
  votes_.clear();
  timer_ticks_ = 0;
  quick_attempts_ = 0;
  peers_.clear();
  for (const VoterId& voter : config_.voters) {
    if (voter == config_.self) continue;
    peers_.emplace(voter, Progress(voter, /*is_voter=*/true,
                                   log_.last_index().Next(), now_ticks_));
  }
  confirmed_round_ = round_;
  term_start_index_ = AppendOwn(EntryType::kNoOp, Buffer()).index;
  SendAppendToAll();
}

EntryId RaftCore::AppendOwn(EntryType type, Buffer payload) {
  Entry entry{hard_state_.term, log_.last_index().Next(), type,
              std::move(payload)};
  const EntryId id{entry.index, entry.term};
  uncommitted_.emplace_back(entry.index, entry.Bytes());
  uncommitted_bytes_ += entry.Bytes();
  AppendToLog({std::move(entry)});
  return id;
}

absl::StatusOr<EntryId> RaftCore::Propose(Buffer payload) {
  if (role_ != Role::kLeader) return NotLeader();
  if (payload.size() > config_.entry_bytes_max) {
    return MakeError(ErrorCode::kMessageTooLarge, "a metadata batch of ",
                     payload.size(), " bytes; the limit is ",
                     config_.entry_bytes_max, ", ask for less at once");
  }
  if (transfer_to_.has_value()) {
    return MakeError(ErrorCode::kBusy, "controller ", config_.self.node,
                     " is handing over to ", transfer_to_->node,
                     "; try again");
  }
  // An empty pipeline takes any entry, so a limit never blocks for ever.
  if (!uncommitted_.empty() &&
      (uncommitted_bytes_ + payload.size() > config_.uncommitted_bytes_max ||
       uncommitted_.size() >=
           static_cast<size_t>(config_.uncommitted_entries_max))) {
    return MakeError(ErrorCode::kBusy, uncommitted_.size(), " entries of ",
                     uncommitted_bytes_,
                     " bytes wait for a quorum of controllers; try again");
  }
  const EntryId id = AppendOwn(EntryType::kRecords, std::move(payload));
  for (auto& [peer_id, peer] : peers_) SendAppend(peer, false);
  return id;
}

absl::Status RaftCore::ReadIndex(uint64_t id) {
  if (role_ != Role::kLeader) return NotLeader();
  if (pending_reads_.size() >=
      static_cast<size_t>(config_.pending_reads_max)) {
    return MakeError(ErrorCode::kBusy, pending_reads_.size(),
                     " reads wait for a quorum of controllers; try again");
  }
  const LogIndex index = std::max(commit_index_, term_start_index_);
  // A sole voter confirms its rounds itself; nobody's answer ever would.
  ConfirmReads();
  if (confirmed_round_ < round_) {
    // A round is under way, but it began before this read came (RA14).
    pending_reads_.Add(id, index, round_ + 1);
    return absl::OkStatus();
  }
  SendHeartbeats();
  pending_reads_.Add(id, index, round_);
  ConfirmReads();
  return absl::OkStatus();
}

absl::Status RaftCore::TransferLeadership(std::optional<VoterId> to) {
  if (role_ != Role::kLeader) return NotLeader();
  if (!to.has_value()) {
    const Progress* best = nullptr;
    for (const auto& [id, peer] : peers_) {
      // A dead one would only cost the time until it is given up.
      if (!peer.is_voter || now_ticks_ - peer.heard_at >
                                config_.election_timeout_min_ticks) {
        continue;
      }
      if (best == nullptr || peer.match > best->match) best = &peer;
    }
    if (best != nullptr) to = best->id;
  }
  const auto peer = to.has_value() ? peers_.find(*to) : peers_.end();
  if (peer == peers_.end() || !peer->second.is_voter) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "there is no such voter to hand leadership to");
  }
  transfer_to_ = to;
  transfer_started_at_ = now_ticks_;
  SendAppend(peer->second, false);
  MaybeFinishTransfer(peer->second);
  return absl::OkStatus();
}

void RaftCore::MaybeFinishTransfer(const Progress& peer) {
  if (transfer_to_ != peer.id || peer.match != log_.last_index()) return;
  Send(Make(MessageType::kTimeoutNow, peer.id));
}

void RaftCore::TickLeader() {
  if (timer_ticks_ >= config_.heartbeat_ticks) {
    timer_ticks_ = 0;
    SendHeartbeats();
  }
  if (transfer_to_.has_value() && now_ticks_ - transfer_started_at_ >=
                                      config_.election_timeout_max_ticks) {
    transfer_to_.reset();
  }
  CheckQuorumAlive();
}

void RaftCore::CheckQuorumAlive() {
  size_t alive = 1;
  for (auto it = peers_.begin(); it != peers_.end();) {
    const Progress& peer = it->second;
    const int64_t silent = now_ticks_ - peer.heard_at;
    if (!peer.is_voter &&
        silent > kObserverPatience * config_.election_timeout_max_ticks) {
      it = peers_.erase(it);
      continue;
    }
    if (peer.is_voter && silent <= config_.election_timeout_max_ticks) ++alive;
    ++it;
  }
  // Others may have elected somebody; what waits here has to be told.
  if (alive < Quorum() && !MUTANT(kNoCheckQuorum)) {
    BecomeFollower(hard_state_.term, VoterId());
  }
}

void RaftCore::StepLeader(const Message& m) {
  if (m.type == MessageType::kObserve) return StepObserve(m);
  const auto found = peers_.find(m.from);
  if (found == peers_.end()) return;  // RA12: another disk than the voter's
  Progress& peer = found->second;
  peer.heard_at = now_ticks_;
  peer.ever_heard = true;
  if (m.type == MessageType::kAppendResponse) {
    StepAppendResponse(m, peer);
  } else if (m.type == MessageType::kHeartbeatResponse) {
    StepHeartbeatResponse(m, peer);
  }
}

void RaftCore::StepAppendResponse(const Message& m, Progress& peer) {
  if (m.reject) {
    const LogIndex meet =
        log_.LastAtOrBelow(std::min(m.reject_hint, m.log_index),
                           m.reject_hint_term);
    if (peer.Rejected(m.log_index, meet.Next())) SendAppend(peer, true);
    return;
  }
  // Nobody can hold what this leader never had: a broken peer.
  if (m.log_index > log_.last_index()) return;
  if (peer.Acked(m.log_index)) MaybeCommit();
  SendAppend(peer, false);
  MaybeFinishTransfer(peer);
}

void RaftCore::StepHeartbeatResponse(const Message& m, Progress& peer) {
  if (m.context > round_) return;
  peer.acked_round = std::max(peer.acked_round, m.context);
  if (peer.match < log_.last_index() ||
      peer.state == Progress::State::kProbe) {
    peer.Unblock();
    SendAppend(peer, /*even_if_empty=*/true);
  }
  ConfirmReads();
}

void RaftCore::StepObserve(const Message& m) {
  if (IsVoter(m.from)) return;
  auto found = peers_.find(m.from);
  if (found == peers_.end()) {
    const auto observers = std::count_if(
        peers_.begin(), peers_.end(),
        [](const auto& peer) { return !peer.second.is_voter; });
    if (observers >= config_.observers_max) return;
    const LogIndex next = std::min(m.log_index, log_.last_index()).Next();
    found = peers_
                .emplace(m.from, Progress(m.from, /*is_voter=*/false, next,
                                          now_ticks_))
                .first;
  }
  found->second.heard_at = now_ticks_;
  found->second.ever_heard = true;
  if (found->second.match > LogIndex(0)) found->second.ToProbe();
  found->second.probe_sent = false;
  SendAppend(found->second, /*even_if_empty=*/true);
}

void RaftCore::SendAppend(Progress& peer, bool even_if_empty) {
  while (SendOneAppend(peer, even_if_empty)) even_if_empty = false;
}

bool RaftCore::SendOneAppend(Progress& peer, bool even_if_empty) {
  if (!peer.MaySend(config_.inflight_appends_max)) return false;
  const bool has_entries = peer.next <= log_.last_index();
  if (!has_entries && !even_if_empty && peer.commit_sent >= commit_index_) {
    return false;
  }
  const LogIndex before = peer.next - 1;
  const std::optional<Term> before_term = log_.TermAt(before);
  // Below first_index only a snapshot can help.
  if (!before_term.has_value()) return false;
  Message append = Make(MessageType::kAppend, peer.id);
  append.log_index = before;
  append.log_term = *before_term;
  append.commit_index = commit_index_;
  if (has_entries) {
    auto entries = log_.Read(peer.next, log_.last_index().Next(),
                             config_.append_entries_max,
                             config_.append_bytes_max);
    if (!entries.ok()) {
      fault_ = entries.status();
      return false;
    }
    append.entries = *std::move(entries);
  }
  peer.SentAppend(before + static_cast<int64_t>(append.entries.size()));
  peer.commit_sent = commit_index_;
  Send(std::move(append));
  return true;
}

void RaftCore::SendAppendToAll() {
  for (auto& [id, peer] : peers_) SendAppend(peer, /*even_if_empty=*/true);
}

void RaftCore::SendHeartbeats() {
  ++round_;
  for (auto& [id, peer] : peers_) {
    Message beat = Make(MessageType::kHeartbeat, id);
    beat.context = round_;
    // The peer's log agrees with this one only up to `match`.
    beat.commit_index = MUTANT(kHeartbeatCommitsUnmatched)
                            ? commit_index_
                            : std::min(commit_index_, peer.match);
    Send(std::move(beat));
  }
}

void RaftCore::MaybeCommit() {
  std::vector<LogIndex> held;
  for (const VoterId& voter : config_.voters) {
    const LogIndex own = MUTANT(kLeaderCountsUnsynced) ? log_.last_index()
                                                       : durable_index_;  // RA9
    held.push_back(voter == config_.self ? own : peers_.at(voter).match);
  }
  std::sort(held.rbegin(), held.rend());
  const LogIndex quorum_has = held[Quorum() - 1];
  if (quorum_has <= commit_index_) return;
  // RA7, F38: an older leader's entry on a quorum may still be replaced.
  if (log_.TermAt(quorum_has) != hard_state_.term &&
      !MUTANT(kOlderTermCommitted)) {
    return;
  }
  AdvanceCommit(quorum_has);
  for (auto& [id, peer] : peers_) SendAppend(peer, /*even_if_empty=*/false);
}

void RaftCore::ConfirmReads() {
  if (role_ != Role::kLeader) return;
  std::vector<int64_t> rounds;
  for (const VoterId& voter : config_.voters) {
    rounds.push_back(voter == config_.self ? round_
                                           : peers_.at(voter).acked_round);
  }
  std::sort(rounds.rbegin(), rounds.rend());
  confirmed_round_ =
      std::max(confirmed_round_, MUTANT(kReadIndexWithoutQuorum)
                                     ? round_
                                     : rounds[Quorum() - 1]);
  for (ReadState& read :
       pending_reads_.Confirmed(confirmed_round_, delivered_index_)) {
    reads_.push_back(read);
  }
  if (confirmed_round_ == round_ && pending_reads_.NeedsRound(round_ + 1)) {
    SendHeartbeats();
  }
}

}  // namespace sluice::raft
