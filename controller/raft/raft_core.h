// One member of a Raft group as a state machine: no I/O, no clock, no locks.
// The same (config, stable state, random, inputs) give the same outputs.
//
//              timeout            quorum would         quorum did
//   Follower ---------> PreCandidate ------> Candidate -------> Leader
//      ^                     |                   |                 |
//      +---- leader heard, higher term, quorum lost (leader) ------+
//
// A node that no voter entry names with its own directory observes: it is a
// Follower for ever, asks to be sent the log (kObserve), never votes (RA12).
//
// Driving it: after every input, while HasReady():
//   1. Ready r = TakeReady()
//   2. send r.messages
//   3. when r.write_id != 0: hand {hard_state, truncate_from, entries} to the
//      writer as ONE synced batch, in the order of write ids. When it is
//      durable: send r.messages_after_write, then Persisted(r.write_id).
//      Several writes may be under way. A failed write ends the node.
//   4. apply r.committed, then answer r.reads.
//
// Promises (production asserts): RA3 a leader never changes its own entries,
// RA7 only an entry of the own term is committed by counting, RA8 term, commit
// and delivered never fall and nothing committed is truncated, RA9 nothing is
// acknowledged (also by a leader to itself) before it is durable.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "controller/raft/log_reader.h"
#include "controller/raft/log_view.h"
#include "controller/raft/progress.h"
#include "controller/raft/raft_config.h"
#include "controller/raft/read_index.h"
#include "controller/raft/types.h"

namespace sluice::raft {

struct Ready {
  std::vector<Message> messages;

  // Not 0: there is something to write, or to send once earlier writes are
  // durable.
  uint64_t write_id = 0;
  std::optional<HardState> hard_state;    // set when changed
  std::optional<LogIndex> truncate_from;  // first: delete this and all after
  std::vector<Entry> entries;             // then: append these
  std::vector<Message> messages_after_write;

  std::vector<Entry> committed;         // contiguous over all Readys
  std::optional<SoftState> soft_state;  // set when changed
  std::vector<ReadState> reads;
  // The log could not be read: stop this node.
  absl::Status fault;
};

struct PeerStatus {
  VoterId id;
  bool is_voter = false;
  LogIndex match;
  int64_t last_contact_ticks_ago = -1;  // -1: never in this leadership
};

struct RaftStatus {
  SoftState soft;
  bool is_voter = false;
  LogIndex first_index;
  LogIndex last_index;
  LogIndex durable_index;
  LogIndex commit_index;
  std::vector<PeerStatus> peers;  // a leader's view, itself included; else
                                  // empty
};

class RaftCore {
 public:
  // `stable` and `random` outlive the core. A restarted leader starts as a
  // follower whose vote in its old term is its own: it is resigned there
  // (RA10). A sole voter campaigns at its first tick.
  RaftCore(const RaftConfig& config, const StableState& state,
           const LogReader& stable, Random& random);
  RaftCore(const RaftCore&) = delete;
  RaftCore& operator=(const RaftCore&) = delete;

  // kTickMs have passed.
  void Tick();

  // From a peer. Stale or misaddressed messages are dropped with OK.
  // INCONSISTENT_CLUSTER_ID: a foreign cluster's; close its stream.
  // INVALID_REQUEST: no peer of ours sends that; close its stream.
  absl::Status Step(const Message& message);

  // Appends at this leader; committed later or, if leadership is lost, maybe
  // never. NOT_CONTROLLER: not the leader; the message has a hint. BUSY: too
  // much is uncommitted or leadership is being handed over; later.
  // MESSAGE_TOO_LARGE: over entry_bytes_max.
  absl::StatusOr<EntryId> Propose(Buffer payload);

  // Asks for a point that a linearizable read has to see; `id` comes back in
  // Ready::reads exactly once (ok or not). NOT_CONTROLLER, BUSY as above: it
  // does not come back.
  absl::Status ReadIndex(uint64_t id);

  // Hands leadership to `to`, by default to the voter that was heard lately
  // and holds most of the log. Proposals are BUSY until it is over; given up
  // after an election timeout. NOT_CONTROLLER: not the leader;
  // INVALID_REQUEST: no such voter, or no other one that is alive.
  absl::Status TransferLeadership(std::optional<VoterId> to = std::nullopt);

  // The write with this id is durable, and all before it.
  void Persisted(uint64_t write_id);

  // The stream between `peer` and this node broke: what was in flight is lost.
  // From this node's leader: its process may be dead, so the lease is void and
  // this node asks for votes within broken_link_*_ticks.
  void LinkBroken(NodeId peer);
  void LinkUp(NodeId peer);

  bool HasReady() const;
  Ready TakeReady();

  RaftStatus Status() const;
  Role role() const { return role_; }
  Term term() const { return hard_state_.term; }
  const VoterId& leader() const { return leader_; }
  LogIndex commit_index() const { return commit_index_; }
  LogIndex durable_index() const { return durable_index_; }
  bool is_voter() const { return IsVoter(config_.self); }
  const LogView& log() const { return log_; }

  // ---- For inspection: what a debugger would show. Read by checks, on the
  // ---- owner's thread; nothing in the product needs it ----
  const VoterId& self() const { return config_.self; }
  const std::vector<VoterId>& voters() const { return config_.voters; }
  const HardState& hard_state() const { return hard_state_; }
  const HardState& durable_hard_state() const { return durable_hard_state_; }

 private:
  struct Write {
    uint64_t id;
    LogIndex last_index;  // lowered when a truncation passes it
    std::optional<HardState> hard_state;
  };

  // raft_core.cc: terms, roles, outbox, durability, commit.
  bool IsVoter(const VoterId& who) const;
  size_t Quorum() const { return config_.voters.size() / 2 + 1; }
  bool IsUpToDate(const Message& candidate) const;
  bool HasLease() const;
  void SetHardState(Term term, const VoterId& vote);
  void ResetTimers();
  void BecomeFollower(Term term, const VoterId& leader);
  Message Make(MessageType type, const VoterId& to) const;
  void Send(Message message);
  void SendAfterWrite(Message message);
  bool HardStateDurable() const;
  void AppendToLog(std::vector<Entry> entries);
  void AdvanceCommit(LogIndex to);
  void LeaveLeadership();
  absl::Status NotLeader() const;
  absl::Status CheckMessage(const Message& message) const;
  bool StepTerm(const Message& message);  // false: done with it
  void StepLowerTerm(const Message& message);

  // step_follower.cc
  void TickFollower();
  absl::Status StepFollower(const Message& message);
  void StepVoteRequest(const Message& message);
  void HeardLeader(const VoterId& leader);
  void StepAppend(const Message& message);
  void AcceptEntries(const Message& message);
  void RejectAppend(const Message& message);
  void StepHeartbeat(const Message& message);
  void StepTimeoutNow(const Message& message);

  // step_candidate.cc
  void TickCandidate();
  void StartPreVote();
  void StartCampaign(bool forced);
  void StepVoteResponse(const Message& message);
  void CountOwnVote();
  void TallyVotes();

  // step_leader.cc
  void TickLeader();
  void BecomeLeader();
  void StepLeader(const Message& message);
  void StepAppendResponse(const Message& message, Progress& peer);
  void StepHeartbeatResponse(const Message& message, Progress& peer);
  void StepObserve(const Message& message);
  void SendAppend(Progress& peer, bool even_if_empty);
  bool SendOneAppend(Progress& peer, bool even_if_empty);
  void SendAppendToAll();
  void SendHeartbeats();
  void MaybeCommit();
  void CheckQuorumAlive();
  void ConfirmReads();
  void MaybeFinishTransfer(const Progress& peer);
  EntryId AppendOwn(EntryType type, Buffer payload);

  const RaftConfig config_;
  Random& random_;

  HardState hard_state_;
  Role role_ = Role::kFollower;
  VoterId leader_;
  LogView log_;
  LogIndex commit_index_;
  LogIndex delivered_index_;  // handed out as committed
  LogIndex durable_index_;

  // Durability.
  std::deque<Write> writes_;  // under way, ascending
  uint64_t last_write_id_ = 0;
  bool hard_state_changed_ = false;  // since the last Ready
  HardState durable_hard_state_;

  // Outbox.
  std::vector<Message> messages_;
  std::vector<Message> messages_after_write_;
  std::vector<ReadState> reads_;
  SoftState reported_;
  absl::Status fault_;

  // Time.
  int64_t now_ticks_ = 0;
  int64_t timer_ticks_ = 0;    // since the last contact, or heartbeats sent
  int64_t timeout_ticks_ = 0;  // randomized
  int64_t leader_heard_at_ = -1;  // -1: lease void
  int quick_attempts_ = 0;     // campaigns with the short timeout that are left

  // Candidates.
  std::map<VoterId, bool> votes_;
  bool own_vote_counted_ = false;

  // Leader.
  std::map<VoterId, Progress> peers_;  // voters but self, and observers
  LogIndex term_start_index_;          // of this leader's no-op
  std::deque<std::pair<LogIndex, size_t>> uncommitted_;  // own proposals
  size_t uncommitted_bytes_ = 0;
  std::optional<VoterId> transfer_to_;
  int64_t transfer_started_at_ = 0;
  int64_t round_ = 0;  // of heartbeats
  int64_t confirmed_round_ = 0;  // a quorum answered it
  PendingReads pending_reads_;
};

}  // namespace sluice::raft
