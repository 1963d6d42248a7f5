// The sync phase, heartbeats, leaving.
#include <algorithm>
#include <utility>

#include "broker/group/group_core.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice::group {

// ---- Sync ----

ErrorCode GroupCore::CheckSync(const Sync& e) const {
  if (state_ == GroupState::kDead) return ErrorCode::kCoordinatorNotAvailable;
  const ErrorCode member = CheckMember(e.member, e.instance, e.stream);
  if (member != ErrorCode::kNone) return member;
  if (e.generation != generation_) return ErrorCode::kIllegalGeneration;
  if (!e.protocol_type.empty() && e.protocol_type != protocol_type_) {
    return ErrorCode::kInconsistentGroupProtocol;
  }
  if (!e.protocol_name.empty() && e.protocol_name != protocol_name_) {
    return ErrorCode::kInconsistentGroupProtocol;
  }
  if (state_ == GroupState::kPreparing) return ErrorCode::kRebalanceInProgress;
  if (writes_.size() >= kGroupWritesMax) return ErrorCode::kCoordinatorNotAvailable;
  const bool assigns =
      state_ == GroupState::kCompleting && e.member == leader_;
  return assigns && AssignedBytes(e) > deps_.config.assignments_bytes_max
             ? ErrorCode::kMessageTooLarge
             : ErrorCode::kNone;
}

void GroupCore::On(const Sync& e) {
  SeeTime(e.now_us);
  const ErrorCode refused = CheckSync(e);
  if (refused != ErrorCode::kNone) {
    const bool too_large = refused == ErrorCode::kMessageTooLarge;
    return Do(AnswerSync{.request = e.request,
                         .code = refused,
                         .why = too_large ? WhyTooLarge(e) : std::string()});
  }
  Member& member = *Find(e.member);
  RefreshSession(member);
  // What it asked before it has given up.
  if (member.syncing.has_value()) {
    Do(AnswerSync{.request = *std::exchange(member.syncing, std::nullopt),
                  .code = ErrorCode::kRebalanceInProgress});
  }
  FailHeldOf(e.member, ErrorCode::kRebalanceInProgress);
  pending_syncs_.erase(e.member);
  const bool assigns_again =
      MUTANT(kAssignedTwice) && e.member == leader_ && !e.assignments.empty();
  if (state_ == GroupState::kStable && !assigns_again) {
    return TellOnceWritten(e.member, SyncAnswerOf(e.request, member));
  }
  member.syncing = e.request;
  if (e.member == leader_) TakeAssignments(e);
}

// Whom the leader forgot gets nothing.
void GroupCore::TakeAssignments(const Sync& e) {
  for (const MemberAssignment& given : e.assignments) {
    if (Member* member = Find(given.member); member != nullptr) {
      member->image.assignment = given.assignment;
    }
  }
  state_ = GroupState::kStable;
  Write(Image());
  Do(GenerationStable{generation_, members_.size()});
  for (auto& [id, member] : members_) {
    if (!member.syncing.has_value()) continue;
    const RequestId request = *std::exchange(member.syncing, std::nullopt);
    RefreshSession(member);
    TellOnceWritten(id, SyncAnswerOf(request, member));
  }
}

AnswerSync GroupCore::SyncAnswerOf(RequestId request,
                                   const Member& member) const {
  return {.request = request,
          .generation = generation_,
          .protocol_type = protocol_type_,
          .protocol_name = protocol_name_,
          .assignment = member.image.assignment};
}

// ---- Signs of life ----

void GroupCore::On(const Heartbeat& e) {
  SeeTime(e.now_us);
  const auto answer = [this, &e](ErrorCode code) {
    Do(AnswerHeartbeat{e.request, code});
  };
  if (state_ == GroupState::kDead) return answer(ErrorCode::kCoordinatorNotAvailable);
  const ErrorCode member = CheckMember(e.member, e.instance, e.stream);
  if (member != ErrorCode::kNone) return answer(member);
  if (e.generation != generation_) return answer(ErrorCode::kIllegalGeneration);
  RefreshSession(*Find(e.member));
  answer(state_ == GroupState::kPreparing ? ErrorCode::kRebalanceInProgress
                                          : ErrorCode::kNone);
}

void GroupCore::On(const CommitAccepted& e) {
  SeeTime(e.now_us);
  if (state_ != GroupState::kStable && state_ != GroupState::kPreparing) return;
  if (Member* member = Find(e.member); member != nullptr) {
    RefreshSession(*member);
  }
}

// ---- Leave ----

void GroupCore::On(const Leave& e) {
  SeeTime(e.now_us);
  if (state_ == GroupState::kDead) {
    return Do(AnswerLeave{.request = e.request,
                          .code = ErrorCode::kCoordinatorNotAvailable});
  }
  AnswerLeave answer = {.request = e.request};
  std::string left;
  for (const LeavingMember& leaving : e.members) {
    const size_t before = members_.size();
    answer.members.push_back(RemoveLeaving(leaving));
    // A pending id that goes concerns nobody but who waits for it.
    if (members_.size() == before) continue;
    const std::string& name = leaving.member.empty()
                                  ? leaving.instance.ToString()
                                  : leaving.member.ToString();
    left += StrCat(left.empty() ? "" : ", ", name);
  }
  Do(std::move(answer));
  if (state_ == GroupState::kPreparing) {
    MaybeCompleteJoin();
  } else if (!left.empty()) {
    PrepareRebalance(StrCat("left: ", left));
  }
}

LeftMember GroupCore::RemoveLeaving(const LeavingMember& leaving) {
  LeftMember answer = {.member = leaving.member, .instance = leaving.instance};
  const std::string why =
      StrCat("it left", leaving.reason.empty() ? "" : ": ", leaving.reason);
  if (leaving.member.empty()) {
    const auto known = instances_.find(leaving.instance);
    if (leaving.instance.empty() || known == instances_.end()) {
      answer.code = ErrorCode::kUnknownMemberId;
    } else {
      RemoveMember(MemberId(known->second), ErrorCode::kUnknownMemberId, why);
    }
  } else if (pending_members_.erase(leaving.member) == 0) {
    answer.code = leaving.stream.empty()
                      ? CheckMember(leaving.member, leaving.instance)
                      : CheckMember(leaving.member, leaving.instance,
                                    leaving.stream);
    if (answer.code == ErrorCode::kNone) {
      RemoveMember(leaving.member, ErrorCode::kUnknownMemberId, why);
    }
  }
  return answer;
}

}  // namespace sluice::group
