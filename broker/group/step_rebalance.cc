// A rebalance: its beginning, the join phase, the next generation; and the
// timers that begin or end one.
#include <algorithm>
#include <utility>

#include "broker/group/group_core.h"
#include "common/base/invariant.h"

namespace sluice::group {

void GroupCore::RebalanceOrCompleteJoin(const std::string& why) {
  if (state_ == GroupState::kPreparing) return MaybeCompleteJoin();
  PrepareRebalance(why);
}

void GroupCore::PrepareRebalance(const std::string& why) {
  for (auto& [id, member] : members_) {
    if (!member.syncing.has_value()) continue;
    Do(AnswerSync{.request = *std::exchange(member.syncing, std::nullopt),
                  .code = ErrorCode::kRebalanceInProgress});
    RefreshSession(member);
  }
  pending_syncs_.clear();
  sync_deadline_us_ = kNever;
  initial_rebalance_ = state_ == GroupState::kEmpty;
  state_ = GroupState::kPreparing;
  rebalance_reason_ = why.substr(0, kRebalanceReasonBytesMax);
  Do(RebalanceBegan{generation_, why});
  if (initial_rebalance_) {
    // More members are probably about to come.
    initial_delay_us_ = deps_.config.initial_rebalance_delay_us;
    initial_remaining_us_ =
        std::max<int64_t>(RebalanceTimeoutUs() - initial_delay_us_, 0);
    joined_meanwhile_ = false;
    join_deadline_us_ = GroupNow() + initial_delay_us_;
  } else if (AllJoined()) {
    CompleteJoin();
  } else {
    join_deadline_us_ = GroupNow() + RebalanceTimeoutUs();
  }
}

void GroupCore::MaybeCompleteJoin() {
  if (state_ != GroupState::kPreparing || initial_rebalance_) return;
  if (AllJoined()) CompleteJoin();
}

bool GroupCore::AllJoined() const {
  return pending_members_.empty() &&
         std::all_of(members_.begin(), members_.end(), [](const auto& m) {
           return m.second.joining.has_value();
         });
}

// At the end of a first rebalance's delay: once more if somebody came.
void GroupCore::ContinueInitialRebalance() {
  if (!joined_meanwhile_ || initial_remaining_us_ == 0) return CompleteJoin();
  joined_meanwhile_ = false;
  const int64_t delay = std::min(deps_.config.initial_rebalance_delay_us,
                                 initial_remaining_us_);
  initial_remaining_us_ =
      std::max<int64_t>(initial_remaining_us_ - initial_delay_us_, 0);
  initial_delay_us_ = delay;
  join_deadline_us_ = GroupNow() + delay;
}

void GroupCore::CompleteJoin() {
  join_deadline_us_ = kNever;
  std::vector<MemberId> absent;
  for (const auto& [id, member] : members_) {
    // A static member has until the end of its session.
    if (!member.joining.has_value() && member.image.instance.empty()) {
      absent.push_back(id);
    }
  }
  for (const MemberId& id : absent) {
    RemoveMember(id, ErrorCode::kUnknownMemberId, "it did not join in time");
  }
  if (!members_.empty() && !ElectJoinedLeader()) {
    // Only absent static members: until their sessions end.
    join_deadline_us_ = GroupNow() + RebalanceTimeoutUs();
    return;
  }
  initial_rebalance_ = false;
  StartGeneration();
}

// The leader has to be there. False: nobody is.
bool GroupCore::ElectJoinedLeader() {
  if (Find(leader_)->joining.has_value()) return true;
  for (const auto& [id, member] : members_) {
    if (!member.joining.has_value()) continue;
    leader_ = id;
    return true;
  }
  return false;
}

void GroupCore::StartGeneration() {
  generation_ = generation_.Next();
  for (auto& [id, member] : members_) member.image.assignment.clear();
  if (members_.empty()) {
    state_ = GroupState::kEmpty;
    protocol_name_.clear();
    Write(Image());
    return;
  }
  state_ = GroupState::kCompleting;
  protocol_name_ = SelectProtocol();
  Write(Image());
  for (auto& [id, member] : members_) {
    member.is_new = false;
    RefreshSession(member);
    pending_syncs_.insert(id);
    if (!member.joining.has_value()) continue;
    const RequestId request = *std::exchange(member.joining, std::nullopt);
    FailHeldOf(id, ErrorCode::kRebalanceInProgress);
    TellOnceWritten(id, CurrentAnswer(request, member));
  }
  sync_deadline_us_ = GroupNow() + RebalanceTimeoutUs();
}

std::set<std::string> GroupCore::CommonProtocols() const {
  std::map<std::string, size_t> supporters;
  for (const auto& [id, member] : members_) {
    for (const Protocol& p : member.image.protocols) ++supporters[p.name];
  }
  std::set<std::string> common;
  for (const auto& [name, count] : supporters) {
    if (count == members_.size()) common.insert(name);
  }
  return common;
}

// Each member votes for the first in its list that all support. Of several
// with most votes the first by name.
std::string GroupCore::SelectProtocol() const {
  const std::set<std::string> common = CommonProtocols();
  std::map<std::string, int> votes;
  for (const auto& [id, member] : members_) {
    for (const Protocol& p : member.image.protocols) {
      if (common.count(p.name) == 0) continue;
      ++votes[p.name];
      break;
    }
  }
  std::string chosen;
  int most = 0;
  for (const auto& [name, count] : votes) {
    if (count > most) {
      chosen = name;
      most = count;
    }
  }
  return chosen;
}

int64_t GroupCore::RebalanceTimeoutUs() const {
  int64_t timeout_us = 0;
  for (const auto& [id, member] : members_) {
    timeout_us = std::max(timeout_us, member.image.rebalance_timeout_us);
  }
  return timeout_us;
}

// ---- Who is not heard of ----

void GroupCore::ExpireMember(const MemberId& id) {
  Member* member = Find(id);
  // The end of another one's session may have begun a generation.
  if (member == nullptr || member->expires_us > GroupNow()) return;
  const bool waits = member->joining.has_value() || member->syncing.has_value();
  if (waits && !member->is_new) {
    // It waits for others; the answer gives it a new session.
    member->expires_us = kNever;
    return;
  }
  RemoveMember(id, ErrorCode::kUnknownMemberId, "its session timed out");
  if (state_ != GroupState::kPreparing) {
    PrepareRebalance(StrCat("the session of member ", id, " timed out"));
  } else if (AllJoined()) {
    CompleteJoin();
  }
}

void GroupCore::ExpirePendingMember(const MemberId& id) {
  if (pending_members_.erase(id) == 0) return;
  if (state_ == GroupState::kPreparing && AllJoined()) CompleteJoin();
}

void GroupCore::ExpirePendingSyncs() {
  sync_deadline_us_ = kNever;
  if (pending_syncs_.empty()) return;
  const std::set<MemberId> absent = pending_syncs_;
  for (const MemberId& id : absent) {
    RemoveMember(id, ErrorCode::kUnknownMemberId, "it did not ask for its assignment");
  }
  PrepareRebalance(StrCat(absent.size(), " members, as ", *absent.begin(),
                          ", did not ask for their assignment in time"));
}

}  // namespace sluice::group
