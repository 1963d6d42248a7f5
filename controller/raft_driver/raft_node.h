// Drives a RaftCore and the bootstrap protocol: persists, sends, applies.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/raft/bootstrap_core.h"
#include "controller/raft/raft_core.h"
#include "controller/raft_driver/raft_log_store.h"
#include "controller/raft_driver/raft_transport.h"

namespace sluice {

struct RaftNodeOptions {
  NodeId node_id;
  DirectoryId directory_id;
  // --controllers: ids and endpoints, directories unset.
  std::vector<raft::BootstrapVoter> initial_controllers;
  // self, cluster_id and voters are filled in from the bootstrap record.
  raft::RaftConfig raft;
};

// All run on the executor; none may destroy the node.
struct RaftNodeEvents {
  // This node belongs to a cluster, durably: on first start and on every
  // restart, before any other event.
  std::function<void(const raft::BootstrapRecord&)> on_cluster;
  // Every committed entry from index 1, once per life of the process, in
  // order, of every type. The controller replays kRecords.
  std::function<void(const raft::Entry&)> apply;
  // Role, term or leader changed. A new leader may act once it has applied an
  // entry of its own term (its kNoOp).
  std::function<void(const raft::SoftState&)> on_soft_state;
  // This node's own term is durable up to here: a power cut does not take it
  // back. On first start and on every restart, and whenever it rises.
  std::function<void(Term)> on_durable_term;
  // The log's disk failed or lied. Nothing more is sent or applied; the
  // caller ends the process (ST4).
  std::function<void(const absl::Status&)> on_fatal;
};

struct RaftPeer {
  raft::VoterId id;
  bool is_voter = false;
  bool is_leader = false;
  std::string endpoint;  // empty: not in the bootstrap record
  LogIndex match;
  int64_t last_contact_ms = -1;  // ago; -1: never in this leadership
};

struct RaftNodeStatus {
  bool has_cluster = false;
  raft::SoftState soft;
  bool is_voter = false;
  LogIndex commit_index;
  LogIndex applied_index;
  LogIndex last_index;
  std::vector<RaftPeer> peers;  // full on the leader; elsewhere the voters,
                                // their match unknown (0)
};

// Lives on `executor`; every method is called there. Destroyed there too.
// `writer` may still hold a task then: it touches only the store and posts to
// `executor`, so both outlive the writer's thread.
class RaftNode {
 public:
  struct Deps {
    Executor* executor;  // the controller's
    Executor* writer;    // of the log; its tasks block on the disk
    const Clock* clock;
    RaftLogStore* store;
    RaftTransport* transport;
  };
  // OK: committed and applied. NOT_CONTROLLER: never will be. OUTCOME_UNKNOWN:
  // leadership was lost first; the next leader may have it or not.
  // SHUTTING_DOWN: as unknown.
  using CommitDone = absl::AnyInvocable<void(absl::Status)>;
  // OK with an index this node has applied: state as of now includes every
  // change that was acknowledged before the call. Else NOT_CONTROLLER.
  using ReadDone = absl::AnyInvocable<void(absl::StatusOr<LogIndex>)>;

  RaftNode(Deps deps, RaftNodeOptions options, RaftNodeEvents events,
           uint64_t seed);
  ~RaftNode();
  RaftNode(const RaftNode&) = delete;
  RaftNode& operator=(const RaftNode&) = delete;

  // Starts the transport and the ticks. INVALID_CONFIG: nothing started.
  absl::Status Start();
  // Hands leadership over when it has it (at most an election timeout), then
  // ends: no event and no callback but `stopped` comes after.
  void Stop(Task stopped);

  // Appends and answers where; `done` runs once, after apply() of the entry.
  // NOT_CONTROLLER (with a hint), BUSY, MESSAGE_TOO_LARGE: `done` is dropped
  // and never runs.
  absl::StatusOr<raft::EntryId> Propose(Buffer payload, CommitDone done);
  // `done` runs once, later, never inside the call.
  void ReadIndex(ReadDone done);
  // The active controller gives its role away, e.g. before a restart.
  absl::Status TransferLeadership();

  RaftNodeStatus Status() const;
  bool IsLeader() const;
  // kNoNode: none known.
  NodeId leader_id() const;
  const std::optional<raft::BootstrapRecord>& cluster() const;

  // ---- For inspection: what a debugger would show. Read by checks, on the
  // ---- executor; nothing in the product needs it ----
  // Null before this node has a cluster.
  const raft::RaftCore* core() const { return core_.get(); }
  LogIndex applied_index() const { return applied_index_; }
  size_t pending_proposals() const { return proposals_.size(); }

 private:
  struct Pending {
    Term term;
    CommitDone done;
  };

  absl::Status OnMessage(raft::Message message);
  void OnTick();
  void ScheduleTick();
  void RunBootstrap(raft::BootstrapActions actions);
  void StartRaft(const raft::BootstrapRecord& record);
  void Pump();
  void SchedulePump();
  void StartWrite(raft::Ready& ready);
  void OnWritten(uint64_t write_id, std::vector<raft::Message> messages,
                 const absl::Status& status);
  void ApplyCommitted(const std::vector<raft::Entry>& entries);
  void FinishReads(const std::vector<raft::ReadState>& reads);
  void OnSoftState(const raft::SoftState& soft);
  void TellDurableTerm();
  void EndProposals(const absl::Status& status,
                    std::optional<Term> but = std::nullopt);
  void SendAll(std::vector<raft::Message> messages);
  void Fatal(const absl::Status& status);
  void Halt();
  void MaybeFinishStop();
  // Runs on the executor unless the node is gone by then.
  void PostBack(absl::AnyInvocable<void()> task);

  const Deps deps_;
  const RaftNodeOptions options_;
  RaftNodeEvents events_;
  Random random_;
  raft::BootstrapCore bootstrap_;
  std::unique_ptr<raft::RaftCore> core_;  // once in a cluster

  std::map<LogIndex, Pending> proposals_;
  std::map<uint64_t, ReadDone> reads_;
  uint64_t next_read_ = 1;
  LogIndex applied_index_{0};
  Term durable_term_told_{-1};
  TimerId tick_timer_ = 0;
  int64_t next_tick_us_ = 0;
  int writes_under_way_ = 0;
  bool pumping_ = false;
  bool pump_posted_ = false;
  bool started_ = false;
  bool halted_ = false;
  Task stopped_;
  int64_t stop_deadline_us_ = 0;
  // Tasks on other executors hold it weakly.
  std::shared_ptr<RaftNode*> alive_;
};

}  // namespace sluice
