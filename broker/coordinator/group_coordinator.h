// The coordinator of the groups of one partition of __consumer_offsets, on the
// shard of that partition. It is made with the replica; while the replica leads
// and its view has all that was committed before (GR6) it answers, else it says
// where to go.
//
//   replica --progress--> view --moved--> commits are acknowledged
//                          ^                     |
//   members --> cores ---> log (acks=all) <------+-- group records
//
// A group's core (broker/group) is loaded from the view when it is asked for,
// and let go when it is empty; groups with members are loaded when this broker
// takes over, so that their time runs.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/coordinator/coordinator_config.h"
#include "broker/coordinator/group_errors.h"
#include "broker/coordinator/group_log.h"
#include "broker/coordinator/lag_windows.h"
#include "broker/coordinator/offsets_view.h"
#include "broker/group/commit_rules.h"
#include "broker/group/group_core.h"
#include "broker/replica_observer.h"
#include "client/peers/controller_peer.h"
#include "common/api/log_api.h"
#include "common/base/random.h"
#include "sluice/v1/group.pb.h"

namespace sluice::coordinator {

// Counted by the shard's thread; they only rise.
struct CoordinatorCounters {
  int64_t commits = 0;            // acknowledged
  int64_t offsets_committed = 0;  // partitions of those
  int64_t rebalances = 0;
  int64_t members_removed = 0;
  int64_t offsets_expired = 0;
  int64_t appended_bytes = 0;
};

// What groups have committed, and how that fares; without high watermarks.
struct CommittedGroups {
  std::vector<v1::GroupDescription> groups;
  bool left_out = false;  // there are more
};

class GroupCoordinator final : public ReplicaObserver {
 public:
  struct Deps {
    Executor* executor = nullptr;  // the shard's
    const Clock* clock = nullptr;
    ViewStore* store = nullptr;
    NodeId self;
    TopicPartition tp;
    std::string name;  // of the partition
    CoordinatorConfig config;
    uint64_t random_seed = 0;
    CoordinatorCounters* counters = nullptr;
    std::function<void()> on_destroyed;
    // A first commit, or offsets taken over; may be null.
    std::function<void()> on_watch;
    // Of the log as it was recovered.
    const EpochHistory* epochs = nullptr;
    Offset leo;
  };

  explicit GroupCoordinator(Deps deps);
  ~GroupCoordinator() override;

  // ---- ReplicaObserver ----
  Offset RestartHighWatermark(Offset recovered) override;
  void Attach(ObservedReplica* replica) override { replica_ = replica; }
  void OnProgress() override;
  void OnTopicsRemoved() override;
  void OnCut(Offset target) override { view_.OnCut(target); }
  void OnClosed() override;

  // Why nothing is answered here now; nullopt: it is.
  std::optional<Refusal> CheckServes() const;

  // ---- Members: group_calls.cc. Replies run on the shard ----
  void JoinGroup(const api::CallContext& context, v1::JoinGroupRequest request,
                 PeerReply<v1::JoinGroupResponse> reply);
  void SyncGroup(const api::CallContext& context, v1::SyncGroupRequest request,
                 PeerReply<v1::SyncGroupResponse> reply);
  void Heartbeat(const api::CallContext& context, v1::HeartbeatRequest request,
                 PeerReply<v1::HeartbeatResponse> reply);
  void LeaveGroup(const api::CallContext& context,
                  v1::LeaveGroupRequest request,
                  PeerReply<v1::LeaveGroupResponse> reply);

  // ---- Offsets: offset_calls.cc ----
  void CommitOffsets(const api::CallContext& context,
                     v1::CommitOffsetsRequest request,
                     PeerReply<v1::CommitOffsetsResponse> reply);
  v1::GroupOffsets FetchOffsets(const v1::GroupOffsetsQuery& query);
  // What the view of this replica says, whoever leads; with where it is.
  v1::GroupOffsets FetchOwnView(const v1::GroupOffsetsQuery& query);
  void DeleteOffsets(const api::CallContext& context,
                     v1::DeleteOffsetsRequest request,
                     PeerReply<v1::DeleteOffsetsResponse> reply);

  // ---- Operators: group_admin.cc ----
  // Groups above `after` in order of name; INVALID_REQUEST, STORAGE_ERROR.
  absl::StatusOr<std::vector<v1::ListedGroup>> ListGroups(
      const std::string& after, size_t max, const std::set<int>& states);
  v1::GroupDescription DescribeGroup(const std::string& group);
  void DeleteGroup(const std::string& group,
                   PeerReply<v1::DeleteGroupResult> reply);
  // At most `max` offsets; none while it does not serve.
  CommittedGroups CommittedOf(size_t max);

  // ---- For inspection and metrics ----
  const OffsetsView& view() const { return view_; }
  LagWindows& lag_windows() { return lag_windows_; }
  size_t groups_loaded() const { return groups_.size(); }
  size_t requests_waiting() const { return pending_.size(); }
  size_t appends_waiting() const { return parts_waiting_; }

 private:
  struct Loaded {
    std::unique_ptr<group::GroupCore> core;
    int64_t deadline_us = group::kNever;
    // Under way, in their order; with how it ended where an older one has not.
    std::map<group::WriteId, std::optional<absl::Status>> writes;
  };
  using Groups = std::map<std::string, Loaded>;

  // A request that its core answers.
  struct Pending {
    std::variant<PeerReply<v1::JoinGroupResponse>,
                 PeerReply<v1::SyncGroupResponse>,
                 PeerReply<v1::HeartbeatResponse>,
                 PeerReply<v1::LeaveGroupResponse>,
                 PeerReply<v1::DeleteGroupResult>>
        reply;
    std::string group;
    int64_t bytes = 0;
  };
  struct Due {
    std::string group;
    group::Event event;
  };
  // One call's changes, on their way into the log, or into the view.
  struct Part {
    std::vector<offsets::OffsetKey> keys;  // of offsets that it puts
    absl::AnyInvocable<void(absl::Status)> done;
    int64_t bytes = 0;  // about
  };
  // One batch.
  struct Append {
    std::vector<Part> parts;
    bool holds_back = false;  // a place of kCommitAppendsMax
  };
  // In their order, not appended yet.
  struct Gathered {
    std::vector<Change> changes;
    std::vector<Part> parts;
    int64_t bytes = 0;
    int64_t deadline_us = INT64_MAX;  // the earliest
  };

  // ---- group_coordinator.cc: loading, steps, time ----
  Refusal RefuseHere(ErrorCode code, const std::string& why) const;
  void OnViewMoved();
  void TakeOver();
  void Resign();
  absl::StatusOr<group::GroupCore*> Load(const std::string& group);
  // Null: it is neither loaded nor in the log.
  absl::StatusOr<group::GroupCore*> FindKnown(const std::string& group);
  void StepGroup(const std::string& group, group::Event event);
  void RunSteps();
  void Carry(const std::string& group, group::Action& action);
  void AfterStep(const std::string& group);
  void LetGo(const std::string& group);
  void SetTimer();
  void OnTimer();
  void WriteGroup(const std::string& group, group::WriteGroup write);
  void OnWritten(const std::string& group, group::WriteId write,
                 absl::Status status);
  absl::StatusOr<std::vector<Change>> RemovalOf(const std::string& group);

  // ---- group_appends.cc ----
  // `deadline_us`: INT64_MAX waits for no other.
  void AppendChanges(std::vector<Change> changes, int64_t deadline_us,
                     absl::AnyInvocable<void(absl::Status)> done);
  void AppendGathered();
  void AppendNow(Gathered what);
  void OnAppended(uint64_t id, const AppendOutcome& outcome);
  void FinishAppend(uint64_t id, const absl::Status& status);
  void FinishParts(std::vector<Part> parts, const absl::Status& status);
  void LetNextAppend(Append& append);
  void FinishVisible();
  bool InFlight(const offsets::OffsetKey& key) const {
    return in_flight_.contains(key);
  }
  bool HasInFlight(const std::string& group) const {
    const auto first = in_flight_.lower_bound({group, TopicPartition()});
    return first != in_flight_.end() && first->first.group == group;
  }

  // ---- group_calls.cc ----
  template <class Response>
  std::optional<group::RequestId> Admit(const std::string& group,
                                        int64_t bytes,
                                        PeerReply<Response>& reply);
  Pending TakePending(group::RequestId id);
  void Answer(group::AnswerJoin& answer);
  void Answer(group::AnswerSync& answer);
  void Answer(group::AnswerHeartbeat& answer);
  void Answer(group::AnswerLeave& answer);
  void Answer(group::AnswerDelete& answer);

  // ---- group_admin.cc ----
  void PutFaring(const offsets::OffsetKey& key, v1::GroupPartition& out) const;

  // ---- offset_calls.cc ----
  struct CommitPlan;
  ErrorCode CheckCommitter(const v1::CommitOffsetsRequest& request,
                           const group::GroupCore* core) const;
  absl::Status PlanCommit(const v1::CommitOffsetsRequest& request,
                          CommitPlan& plan);
  absl::StatusOr<bool> HasOffset(const offsets::OffsetKey& key);
  void FinishCommit(const absl::Status& status, CommitPlan& plan);
  void WatchLag(const std::vector<Change>& committed);
  ErrorCode CheckReader(const v1::GroupOffsetsQuery& query,
                        const group::GroupCore* core) const;
  absl::Status PlanRemoval(const std::string& group,
                           const group::GroupCore* core,
                           const v1::TopicPartitions& asked,
                           v1::DeleteOffsetsResponse& response,
                           std::vector<Change>& changes);
  void PutOffsets(const v1::GroupOffsetsQuery& query, v1::GroupOffsets& out);
  absl::Status FetchAll(const v1::GroupOffsetsQuery& query,
                        v1::GroupOffsets& out);
  absl::Status FetchSome(const v1::GroupOffsetsQuery& query,
                         v1::GroupOffsets& out);

  // ---- group_sweep.cc ----
  void ScheduleSweep(int64_t delay_us);
  void BeginSweep();
  void SweepOn();
  absl::Status SweepGroup(const std::string& group, std::string_view record,
                          int64_t now_ms);
  void ExpireGroup(const std::string& group, int64_t offsets);

  int64_t now_us() const { return deps_.clock->MonoMicros(); }

  const Deps deps_;
  Random random_;
  OffsetsView view_;
  ObservedReplica* replica_ = nullptr;
  bool closed_ = false;
  // The leader epoch in which this broker answers; kNoLeaderEpoch: it does not.
  LeaderEpoch serving_ = kNoLeaderEpoch;
  Offset shown_;  // in that epoch, readers saw all below

  Groups groups_;
  std::deque<Due> due_;
  bool stepping_ = false;
  std::set<std::pair<int64_t, std::string>> deadlines_;
  TimerId timer_ = 0;
  int64_t timer_at_us_ = group::kNever;

  std::map<group::RequestId, Pending> pending_;
  group::RequestId next_request_{1};
  int64_t pending_bytes_ = 0;

  Gathered gathered_;
  size_t parts_waiting_ = 0;      // gathered, in the log, not in the view
  int commit_appends_ = 0;        // that hold others back
  std::map<uint64_t, Append> appends_;
  uint64_t next_append_ = 1;
  std::set<std::pair<Offset, uint64_t>> committed_;  // not yet in the view
  std::map<offsets::OffsetKey, int> in_flight_;
  LagWindows lag_windows_;

  // ---- The sweep under way ----
  bool sweeping_ = false;
  bool sweep_again_ = false;
  bool loads_ = false;  // the first of an epoch: groups with members, too
  std::string sweep_after_;
  TimerId sweep_timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::coordinator
