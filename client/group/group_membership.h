// A consumer's membership of a group, as a state machine: Kafka's classic
// protocol from the member's side. No call, no clock, no lock:
// Step(event, now) -> actions.
//
//                 coordinator known, nothing left to release
//   kOut ------------------------------------------------------> kJoining
//    ^  an error, a session or poll interval that is over         |      |
//    +------------------------------------------------------------+      |
//    |                                           elected leader   v      |
//    |                                             kAssigning <---+      |
//    |                        topics looked up, assignor run |           |
//    |                                                       v           |
//    +----------------------------------------------------- kSyncing <---+
//    |                                                       |
//    |     REBALANCE_IN_PROGRESS, new topics or partitions,  v
//    +-- (kJoining, once released) ----------------------- kStable
//
// Eager assignors: everything is released before a join. Cooperative ones: a
// member keeps what it has, releases what it was not given again, and then
// joins once more so that others may have it.
//
// Heartbeats go from kAssigning to kStable, also while the application takes
// its time to release. What it has is lost (another may have it already) when
// the coordinator does not know the member or its generation any more.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/backoff.h"
#include "client/group/membership_types.h"
#include "common/base/random.h"

namespace sluice {

class GroupMembership {
 public:
  struct Deps {
    membership::Options options;
    Random* random = nullptr;
  };
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  explicit GroupMembership(Deps deps);
  GroupMembership(const GroupMembership&) = delete;
  GroupMembership& operator=(const GroupMembership&) = delete;

  // `now_us` never goes back. Actions are carried out in order before the next
  // Step.
  std::vector<membership::Action> Step(const membership::Event& event,
                                       int64_t now_us);
  // When a Tick is due; kNever: none.
  int64_t NextWakeUs() const;

  // ---- Queries ----
  enum class Phase { kOut, kJoining, kAssigning, kSyncing, kStable, kOver };
  Phase phase() const { return phase_; }
  const std::string& member_id() const { return member_id_; }
  int32_t generation() const { return generation_; }
  bool is_leader() const { return phase_ == Phase::kStable && is_leader_; }
  bool has_coordinator() const { return HasCoordinator(); }
  bool is_cooperative() const { return cooperative_; }
  const membership::Partitions& owned() const { return owned_; }
  // Of the newest generation: what is owned, less what is being released.
  const membership::Partitions& assignment() const { return last_assignment_; }

 private:
  // What an error of the coordinator asks for.
  enum class Verdict {
    kRetry,          // the same again, a little later
    kFindAgain,      // the coordinator is another
    kRejoin,         // a new generation is made
    kGenerationGone, // what is owned is lost
    kMemberGone,     // and the id too
    kOver,
  };
  static Verdict VerdictOf(const absl::Status& status);

  void On(const membership::Subscribe& e);
  void On(const membership::PollBegan& e);
  void On(const membership::PollEnded& e);
  void On(const membership::Released& e);
  void On(const membership::Leave& e);
  void On(const membership::CountsChanged& e);
  void On(const membership::TopicsFound& e);
  void On(const membership::CoordinatorFound& e);
  void On(const membership::Joined& e);
  void On(const membership::Synced& e);
  void On(const membership::HeartbeatAnswered& e);
  void On(const membership::LeaveAnswered& e);
  void On(const membership::OffsetsAnswered& e);
  void On(const membership::Tick&) {}

  // group_membership.cc
  void Advance();
  void CheckPollInterval();
  void CheckSession();
  void FindCoordinatorIfDue();
  void JoinIfWanted();
  void HeartbeatIfDue();
  void ForgetGeneration(bool member_too);
  void OnLost(Verdict verdict, const absl::Status& status);
  void Fail(const absl::Status& status);
  void ForgetCoordinator();
  bool MayBeat() const;
  bool IsStatic() const { return !deps_.options.instance_id.empty(); }
  bool HasCoordinator() const { return coordinator_ == Coordinator::kKnown; }
  membership::CallId NextCall() { return ++last_call_; }
  int64_t NextRetryUs();
  void Do(membership::Action action) { actions_.push_back(std::move(action)); }

  // membership_rounds.cc
  membership::Partitions ToReleaseFirst() const;
  v1::JoinGroupRequest JoinRequest() const;
  int32_t RebalanceTimeoutMs() const;
  membership::Partitions SeenOwned(const v1::JoinGroupResponse& response) const;
  void OnJoinFailed(const absl::Status& status,
                    const v1::JoinGroupResponse& response);
  void BeginAssigning(const v1::JoinGroupResponse& response);
  void Sync(const consumer::Assignments& assignments);
  void OnSyncFailed(const absl::Status& status);
  void Take(membership::Partitions assigned);
  void RejoinIfCountsChanged();

  const Deps deps_;
  const bool cooperative_;

  enum class Coordinator { kUnknown, kAsked, kKnown };
  Coordinator coordinator_ = Coordinator::kUnknown;
  int64_t find_not_before_us_ = 0;

  Phase phase_ = Phase::kOut;
  std::string member_id_;
  int32_t generation_ = membership::kNoGeneration;
  bool is_leader_ = false;
  std::set<std::string> topics_;
  // A new generation is wanted.
  bool rejoin_ = false;
  std::string rejoin_reason_;
  bool resuming_ = false;  // not answered yet
  int64_t join_not_before_us_ = 0;
  // What is owned may be another's: to be released as such.
  bool lost_ = false;
  membership::Partitions owned_;
  membership::Partitions releasing_;  // of owned_: until Released
  // Of the generation that is being made, as the leader saw it: what this
  // member owned, or the process or stream that it goes on for.
  membership::Partitions seen_owned_;
  // As the assignors want it in the next subscription.
  membership::Partitions last_assignment_;
  int32_t last_generation_ = consumer::kNoOwnedGeneration;

  // Of the generation that is being made or stands.
  std::string protocol_name_;
  consumer::GroupMembers members_;             // the leader's
  std::set<std::string> group_topics_;         // the leader's
  bool skip_assignment_ = false;               // the leader's
  consumer::PartitionCounts assigned_counts_;  // the leader's
  consumer::PartitionCounts counts_;           // as they are now

  bool in_poll_ = false;
  bool poll_expired_ = false;  // left for want of a poll
  int64_t last_poll_us_ = 0;

  membership::CallId last_call_ = 0;
  membership::CallId find_call_ = 0;
  membership::CallId round_call_ = 0;  // join, look-up or sync
  membership::CallId beat_call_ = 0;
  bool beat_under_way_ = false;
  int64_t beat_sent_us_ = 0;
  int64_t next_beat_us_ = 0;
  int64_t heard_us_ = 0;  // when the coordinator last knew this member
  membership::CallId leave_call_ = 0;
  bool leaving_ = false;

  Backoff backoff_;
  int64_t now_us_ = 0;
  std::vector<membership::Action> actions_;
};

}  // namespace sluice
