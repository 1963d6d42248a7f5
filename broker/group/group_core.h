// A consumer group as its coordinator sees it, Kafka's classic protocol as a
// state machine: members, generations, who leads, who was given what. No I/O,
// no clock, no lock: Step(event) -> actions. README.md has the pictures.
//
//           first Join               all joined, or time is up
//   Empty ------------> Preparing ------------------------> Completing
//     ^                  |  ^  ^                                |
//     |   nobody left    |  |  |   a Join that changes, a Leave,|
//     +------------------+  |  +-- an expiry, no Sync in time --+
//                           |                                   | the leader's
//                           +-------------- Stable <------------+ Sync
//                             likewise, or the leader joins anew
//
// Nothing of a generation is told before it is in the group's log: what a write
// decides takes effect here at once, and the answers that tell of it wait for
// Written. So a new coordinator never gives out a generation again (GR4), nor a
// second assignment of one (GR3), and what it restores lets every member go on
// (no rebalance). The group's time stands still while a write is under way: who
// waits for the log is not late.
//
// Driving it: one thread; carry out the actions of a Step in order before the
// next Step; write WriteGroup at once, in order, into the same log as the
// commits. Remote input that makes no sense is answered with an error; a fault
// of the driver is an INVARIANT.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/group/actions.h"
#include "broker/group/events.h"
#include "broker/group/group_types.h"
#include "common/base/random.h"

namespace sluice::group {

inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

class GroupCore {
 public:
  struct Deps {
    std::string group_id;  // for messages
    GroupConfig config;
    Random* random;  // for member ids
  };

  // A new group: empty, generation 0.
  explicit GroupCore(Deps deps);
  // As the log has it. Every member has a whole session to be heard again.
  GroupCore(Deps deps, const GroupImage& image, int64_t now_us);
  GroupCore(const GroupCore&) = delete;
  GroupCore& operator=(const GroupCore&) = delete;

  std::vector<Action> Step(const Event& event);

  // When a Tick is due, in the time of the events; kNever: none.
  int64_t NextDeadlineUs() const;

  // ---- Queries ----

  GroupState state() const { return state_; }
  Generation generation() const { return generation_; }
  const std::string& protocol_type() const { return protocol_type_; }
  const std::string& protocol_name() const { return protocol_name_; }
  const MemberId& leader() const { return leader_; }
  // All that is known of it, as it would be written now; for Preparing and
  // Dead too.
  GroupImage Image() const;
  size_t member_count() const { return members_.size(); }
  size_t pending_member_count() const { return pending_members_.size(); }
  size_t writes_under_way() const { return writes_.size(); }
  bool HasMember(const MemberId& member) const;
  // kNone, ErrorCode::kUnknownMemberId or ErrorCode::kFencedInstanceId (GR5).
  ErrorCode CheckMember(const MemberId& member,
                        const InstanceId& instance) const;
  // Also ErrorCode::kTakenOver: another stream acts for the member.
  ErrorCode CheckMember(const MemberId& member, const InstanceId& instance,
                        const StreamSecret& stream) const;
  // What its members subscribe to by the protocol chosen; nullopt: not known
  // (no consumers, nothing chosen yet, or bytes that cannot be read).
  std::optional<std::set<std::string>> SubscribedTopics() const;

 private:
  struct Member {
    MemberImage image;
    std::optional<RequestId> joining;  // parked until the join phase ends
    std::optional<RequestId> syncing;  // parked until the leader has synced
    bool is_new = false;               // never got an answer to its join
    int64_t expires_us = kNever;       // in the group's time
  };
  // Told once `write` is in the log.
  struct HeldAnswer {
    WriteId write;
    MemberId member;
    Action answer;
  };

  void On(const Join& e);
  void On(const Sync& e);
  void On(const Heartbeat& e);
  void On(const Leave& e);
  void On(const CommitAccepted& e);
  void On(const Delete& e);
  void On(const Written& e);
  void On(const Resign& e);
  void On(const Tick& e);

  // step_join.cc
  ErrorCode CheckJoin(const Join& e);
  bool HasRoomFor(const MemberId& member) const;
  bool SupportsProtocols(const Join& e) const;
  void JoinNew(const Join& e);
  void JoinKnown(const Join& e);
  void JoinKnownMember(const Join& e, Member& member);
  void AddMember(const Join& e, const MemberId& id);
  void TakeOverInstance(const Join& e, MemberId old_id);
  ErrorCode CheckJoinKnown(const Join& e) const;
  void RefuseJoin(const Join& e, ErrorCode code);
  void TakeOverStream(const Join& e, Member& member);
  Member& RenameMember(MemberId old_id, const MemberId& new_id);
  void UpdateMember(const Join& e, Member& member);
  void ParkJoin(const Join& e, Member& member);
  void AnswerWithCurrent(const Join& e, const Member& member);
  AnswerJoin CurrentAnswer(RequestId request, const Member& member) const;
  JoinedMember AsJoined(const Member& member) const;
  void AddOwnEntry(const Member& member, AnswerJoin& answer) const;

  // step_rebalance.cc
  void PrepareRebalance(const std::string& why);
  void RebalanceOrCompleteJoin(const std::string& why);
  void MaybeCompleteJoin();
  void CompleteJoin();
  void ContinueInitialRebalance();
  bool ElectJoinedLeader();
  void StartGeneration();
  std::string SelectProtocol() const;
  std::set<std::string> CommonProtocols() const;
  bool AllJoined() const;
  int64_t RebalanceTimeoutUs() const;
  void ExpireMember(const MemberId& id);
  void ExpirePendingMember(const MemberId& id);
  void ExpirePendingSyncs();

  // step_sync.cc
  ErrorCode CheckSync(const Sync& e) const;
  void TakeAssignments(const Sync& e);
  AnswerSync SyncAnswerOf(RequestId request, const Member& member) const;
  LeftMember RemoveLeaving(const LeavingMember& leaving);

  // group_size.cc
  int64_t MembersBytesWith(const Join& e) const;
  int64_t AssignedBytes(const Sync& e) const;
  std::string WhyTooLarge(const Join& e) const;
  std::string WhyTooLarge(const Sync& e) const;

  // group_writes.cc
  WriteId Write(std::optional<GroupImage> image);
  void TellOnceWritten(const MemberId& member, Action answer);
  std::vector<HeldAnswer> TakeHeld(
      const std::function<bool(const HeldAnswer&)>& chosen);
  void ReleaseHeld(WriteId write);
  void FailHeld(WriteId write, ErrorCode code);
  void FailHeldOf(const MemberId& member, ErrorCode code);
  void OnWriteFailed(WriteId write, Generation generation,
                     const absl::Status& status);

  // group_core.cc
  void Do(Action action) { actions_.push_back(std::move(action)); }
  void SeeTime(int64_t now_us);
  int64_t GroupNow() const;
  void RefreshSession(Member& member);
  Member* Find(const MemberId& id);
  const Member* Find(const MemberId& id) const;
  // With parked requests answered by `code`.
  void RemoveMember(const MemberId& id, ErrorCode code, const std::string& why);
  void AnswerParked(Member& member, ErrorCode code);
  MemberId NewMemberId(const Join& e);

  // invariants.cc
  void CheckInvariants(Generation generation_before) const;

  const Deps deps_;

  GroupState state_ = GroupState::kEmpty;
  Generation generation_{0};
  std::string protocol_type_;
  std::string protocol_name_;
  MemberId leader_;
  std::string rebalance_reason_;
  std::map<MemberId, Member> members_;
  std::map<InstanceId, MemberId> instances_;
  // Were given an id and have not come again with it: until when.
  std::map<MemberId, int64_t> pending_members_;
  // In Completing and Stable: have not asked for their assignment.
  std::set<MemberId> pending_syncs_;

  // Preparing.
  int64_t join_deadline_us_ = kNever;
  bool initial_rebalance_ = false;
  int64_t initial_delay_us_ = 0;      // of the wait that ends at the deadline
  int64_t initial_remaining_us_ = 0;  // by which it may be prolonged
  bool joined_meanwhile_ = false;
  // Completing and Stable.
  int64_t sync_deadline_us_ = kNever;

  struct PendingWrite {
    WriteId id;
    Generation generation;
    bool deletes = false;
  };
  std::deque<PendingWrite> writes_;
  std::vector<HeldAnswer> held_;
  WriteId next_write_{1};

  int64_t now_us_ = 0;
  int64_t stalled_us_ = 0;  // that the group's time lags behind
  int64_t stall_began_us_ = 0;  // while a write is under way

  std::vector<Action> actions_;
};

}  // namespace sluice::group
