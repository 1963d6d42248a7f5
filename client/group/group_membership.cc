#include "client/group/group_membership.h"

#include <algorithm>
#include <utility>

#include "client/status_kinds.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {

using namespace membership;  // NOLINT: the words of this machine

namespace {

bool AllCooperative(const std::vector<consumer::Assignor>& assignors) {
  return std::all_of(assignors.begin(), assignors.end(), [](auto assignor) {
    return assignor == consumer::Assignor::kCooperativeSticky;
  });
}

}  // namespace

GroupMembership::GroupMembership(Deps deps)
    : deps_(std::move(deps)),
      cooperative_(AllCooperative(deps_.options.assignors)),
      member_id_(deps_.options.resumes_member_id),
      resuming_(!deps_.options.resumes_member_id.empty()),
      backoff_(deps_.options.retry_backoff_min_ms * 1000,
               deps_.options.retry_backoff_max_ms * 1000) {
  INVARIANT(!deps_.options.assignors.empty(), "a member needs an assignor");
}

std::vector<Action> GroupMembership::Step(const Event& event, int64_t now_us) {
  INVARIANT(now_us >= now_us_, "time went back to ", now_us);
  now_us_ = now_us;
  actions_.clear();
  std::visit([this](const auto& e) { On(e); }, event);
  Advance();
  return std::exchange(actions_, {});
}

int64_t GroupMembership::NextWakeUs() const {
  if (phase_ == Phase::kOver) return kNever;
  int64_t wake_us = kNever;
  const auto at = [&](int64_t when_us) { wake_us = std::min(wake_us, when_us); };
  const bool wanted = !topics_.empty() && !poll_expired_;
  if (wanted && coordinator_ == Coordinator::kUnknown) at(find_not_before_us_);
  if (wanted && rejoin_ && HasCoordinator() && releasing_.empty() &&
      (phase_ == Phase::kOut || phase_ == Phase::kStable)) {
    at(join_not_before_us_);
  }
  if (MayBeat()) {
    at(heard_us_ + int64_t{deps_.options.session_timeout_ms} * 1000);
    if (HasCoordinator() && !beat_under_way_) at(next_beat_us_);
  }
  if (wanted && !in_poll_) {
    at(last_poll_us_ + int64_t{deps_.options.max_poll_interval_ms} * 1000);
  }
  return wake_us;
}

GroupMembership::Verdict GroupMembership::VerdictOf(
    const absl::Status& status) {
  switch (CodeOf(status)) {
    case ErrorCode::kNotCoordinator:
    case ErrorCode::kCoordinatorNotAvailable:
    case ErrorCode::kShuttingDown:
    case ErrorCode::kBrokerNotAvailable:
      return Verdict::kFindAgain;
    case ErrorCode::kCoordinatorLoadInProgress:
      return Verdict::kRetry;
    case ErrorCode::kRebalanceInProgress:
      return Verdict::kRejoin;
    case ErrorCode::kIllegalGeneration:
      return Verdict::kGenerationGone;
    case ErrorCode::kUnknownMemberId:
      return Verdict::kMemberGone;
    case ErrorCode::kFencedInstanceId:
      if (MUTANT(kFencedIsRetried)) return Verdict::kRetry;
      return Verdict::kOver;
    case ErrorCode::kTakenOver:
      return Verdict::kOver;
    default:
      break;
  }
  if (IsTransportError(status)) return Verdict::kFindAgain;
  return IsRetriableStatus(status) ? Verdict::kRetry : Verdict::kOver;
}

// ---- From the application ----

void GroupMembership::On(const membership::Subscribe& e) {
  INVARIANT(!e.topics.empty(), "a subscription to nothing");
  if (topics_.empty()) last_poll_us_ = now_us_;
  if (e.topics == topics_) return;
  rejoin_reason_ = topics_.empty() ? "subscribes" : "subscribes to others";
  topics_ = e.topics;
  rejoin_ = true;
}

void GroupMembership::On(const PollBegan&) {
  in_poll_ = true;
  poll_expired_ = false;
  last_poll_us_ = now_us_;
}

void GroupMembership::On(const PollEnded&) {
  in_poll_ = false;
  last_poll_us_ = now_us_;
}

void GroupMembership::On(const Released&) {
  for (const auto& tp : releasing_) owned_.erase(tp);
  releasing_.clear();
}

void GroupMembership::On(const membership::Leave& e) {
  if (leaving_) return;
  leaving_ = true;
  if (phase_ == Phase::kOver || member_id_.empty() || IsStatic() ||
      !HasCoordinator()) {
    phase_ = Phase::kOver;
    return Do(Left{});
  }
  phase_ = Phase::kOver;
  leave_call_ = NextCall();
  SendLeave leave{leave_call_, {}};
  leave.request.set_group_id(deps_.options.group_id);
  v1::LeavingMember* member = leave.request.add_members();
  member->set_member_id(member_id_);
  member->set_reason(e.reason);
  member->set_stream(deps_.options.stream);
  Do(std::move(leave));
}

void GroupMembership::On(const LeaveAnswered& e) {
  // Whatever it was: a coordinator that does not know forgets by itself.
  if (leaving_ && e.call == leave_call_) Do(Left{});
}

// ---- Time ----

void GroupMembership::Advance() {
  if (phase_ == Phase::kOver) return;
  CheckPollInterval();
  CheckSession();
  FindCoordinatorIfDue();
  JoinIfWanted();
  HeartbeatIfDue();
}

// As if it had died: the others need not wait for it. A static member keeps its
// place for the rest of its session.
void GroupMembership::CheckPollInterval() {
  if (in_poll_ || poll_expired_ || topics_.empty() ||
      now_us_ - last_poll_us_ <
          int64_t{deps_.options.max_poll_interval_ms} * 1000) {
    return;
  }
  if (MUTANT(kStuckMemberStays)) {
    last_poll_us_ = now_us_;
    return;
  }
  poll_expired_ = true;
  if (!IsStatic() && !member_id_.empty() && HasCoordinator()) {
    SendLeave leave{NextCall(), {}};
    leave.request.set_group_id(deps_.options.group_id);
    v1::LeavingMember* member = leave.request.add_members();
    member->set_member_id(member_id_);
    member->set_reason(
        StrCat("no poll for ", deps_.options.max_poll_interval_ms, " ms"));
    member->set_stream(deps_.options.stream);
    Do(std::move(leave));
  }
  ForgetGeneration(!IsStatic());
  rejoin_reason_ = "polls again";
}

// Whom nobody has answered for a session may be out of the group: another
// coordinator will say.
void GroupMembership::CheckSession() {
  if (!MayBeat() ||
      now_us_ - heard_us_ <
          int64_t{deps_.options.session_timeout_ms} * 1000) {
    return;
  }
  heard_us_ = now_us_;
  beat_under_way_ = false;
  ForgetCoordinator();
}

bool GroupMembership::MayBeat() const {
  return phase_ == Phase::kAssigning || phase_ == Phase::kSyncing ||
         phase_ == Phase::kStable;
}

void GroupMembership::HeartbeatIfDue() {
  if (!MayBeat() || !HasCoordinator() || beat_under_way_ ||
      now_us_ < next_beat_us_) {
    return;
  }
  beat_under_way_ = true;
  beat_sent_us_ = now_us_;
  beat_call_ = NextCall();
  SendHeartbeat beat{beat_call_, {}};
  beat.request.set_group_id(deps_.options.group_id);
  beat.request.set_member_id(member_id_);
  beat.request.set_group_instance_id(deps_.options.instance_id);
  beat.request.set_generation_id(generation_);
  beat.request.set_stream(deps_.options.stream);
  Do(std::move(beat));
}

void GroupMembership::On(const HeartbeatAnswered& e) {
  if (e.call != beat_call_ || !beat_under_way_ || !MayBeat()) return;
  beat_under_way_ = false;
  if (e.status.ok()) {
    heard_us_ = now_us_;
    next_beat_us_ =
        beat_sent_us_ + int64_t{deps_.options.heartbeat_interval_ms} * 1000;
    return;
  }
  const Verdict verdict = VerdictOf(e.status);
  switch (verdict) {
    case Verdict::kRetry:
      next_beat_us_ = NextRetryUs();
      return;
    case Verdict::kFindAgain:
      next_beat_us_ = now_us_;
      ForgetCoordinator();
      return;
    case Verdict::kRejoin:
      heard_us_ = now_us_;
      next_beat_us_ =
          beat_sent_us_ + int64_t{deps_.options.heartbeat_interval_ms} * 1000;
      // While it syncs, the answer to that will say so too.
      if (phase_ != Phase::kStable || rejoin_) return;
      rejoin_ = true;
      rejoin_reason_ = "the group rebalances";
      return;
    default:
      OnLost(verdict, e.status);
  }
}

void GroupMembership::On(const OffsetsAnswered& e) {
  if (e.status.ok() || phase_ == Phase::kOver) return;
  const Verdict verdict = VerdictOf(e.status);
  if (verdict == Verdict::kFindAgain) return ForgetCoordinator();
  // Of an older membership: that one is gone already.
  if (e.member_id != member_id_ || e.generation != generation_) return;
  // The generation that is joined may have begun, and its log is not written
  // yet: the answer to the join says what becomes of what is owned.
  if (phase_ == Phase::kJoining && verdict == Verdict::kGenerationGone) return;
  switch (verdict) {
    case Verdict::kRejoin:
      if (phase_ != Phase::kStable || rejoin_) return;
      rejoin_ = true;
      rejoin_reason_ = "the group rebalances";
      return;
    case Verdict::kGenerationGone:
    case Verdict::kMemberGone:
      return OnLost(verdict, e.status);
    case Verdict::kOver:
      // Other errors are of the offsets, and their owner's to judge.
      if (CodeOf(e.status) == ErrorCode::kFencedInstanceId ||
          CodeOf(e.status) == ErrorCode::kTakenOver) {
        Fail(e.status);
      }
      return;
    default:
      return;
  }
}

// ---- The coordinator ----

int64_t GroupMembership::NextRetryUs() {
  return now_us_ + backoff_.NextDelayUs(*deps_.random);
}

void GroupMembership::ForgetCoordinator() {
  if (!HasCoordinator()) return;
  coordinator_ = Coordinator::kUnknown;
  find_not_before_us_ = NextRetryUs();
}

void GroupMembership::FindCoordinatorIfDue() {
  if (coordinator_ != Coordinator::kUnknown || topics_.empty() ||
      poll_expired_ || now_us_ < find_not_before_us_) {
    return;
  }
  coordinator_ = Coordinator::kAsked;
  find_call_ = NextCall();
  Do(membership::FindCoordinator{find_call_});
}

void GroupMembership::On(const CoordinatorFound& e) {
  if (e.call != find_call_ || coordinator_ != Coordinator::kAsked) return;
  if (e.status.ok()) {
    coordinator_ = Coordinator::kKnown;
    return;
  }
  if (VerdictOf(e.status) == Verdict::kOver) return Fail(e.status);
  coordinator_ = Coordinator::kUnknown;
  find_not_before_us_ = NextRetryUs();
}

// ---- The end of a membership ----

void GroupMembership::ForgetGeneration(bool member_too) {
  if (member_too) {
    member_id_.clear();
    resuming_ = false;
  }
  generation_ = kNoGeneration;
  is_leader_ = false;
  beat_under_way_ = false;
  phase_ = Phase::kOut;
  rejoin_ = true;
  lost_ = owned_ != releasing_;
  round_call_ = 0;
}

void GroupMembership::OnLost(Verdict verdict, const absl::Status& status) {
  switch (verdict) {
    case Verdict::kGenerationGone:
    case Verdict::kMemberGone:
      rejoin_reason_ = std::string(StdView(status.message()));
      return ForgetGeneration(verdict == Verdict::kMemberGone);
    default:
      Fail(status);
  }
}

void GroupMembership::Fail(const absl::Status& status) {
  phase_ = Phase::kOver;
  Do(Failed{status});
}

}  // namespace sluice
