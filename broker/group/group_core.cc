#include "broker/group/group_core.h"

#include <algorithm>
#include <utility>

#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/consumer/consumer_protocol.h"

namespace sluice::group {

std::string_view NameOf(GroupState state) {
  switch (state) {
    case GroupState::kEmpty: return "Empty";
    case GroupState::kPreparing: return "PreparingRebalance";
    case GroupState::kCompleting: return "CompletingRebalance";
    case GroupState::kStable: return "Stable";
    case GroupState::kDead: return "Dead";
  }
  return "?";
}

GroupCore::GroupCore(Deps deps) : deps_(std::move(deps)) {}

GroupCore::GroupCore(Deps deps, const GroupImage& image, int64_t now_us)
    : deps_(std::move(deps)),
      state_(image.state),
      generation_(MUTANT(kGenerationForgotten) ? Generation(0)
                                               : image.generation),
      protocol_type_(image.protocol_type),
      protocol_name_(image.protocol_name),
      leader_(image.leader),
      rebalance_reason_(image.rebalance_reason),
      now_us_(now_us) {
  for (const MemberImage& m : image.members) {
    Member& member = members_[m.id];
    member.image = m;
    RefreshSession(member);
    if (!m.instance.empty() && !MUTANT(kInstancesForgotten)) {
      instances_[m.instance] = m.id;
    }
    if (state_ == GroupState::kCompleting) pending_syncs_.insert(m.id);
  }
  if (state_ == GroupState::kCompleting) {
    sync_deadline_us_ = GroupNow() + RebalanceTimeoutUs();
  }
  if (members_.size() > deps_.config.members_max) {
    PrepareRebalance(StrCat("restored with ", members_.size(),
                            " members, the limit is ",
                            deps_.config.members_max));
  }
  if (MUTANT(kFailOverRebalances) && state_ == GroupState::kStable) {
    PrepareRebalance("its coordinator is another");
  }
  CheckInvariants(generation_);
}

std::vector<Action> GroupCore::Step(const Event& event) {
  const Generation before = generation_;
  std::visit([this](const auto& e) { On(e); }, event);
  CheckInvariants(before);
  return std::exchange(actions_, {});
}

// ---- Time ----

void GroupCore::SeeTime(int64_t now_us) { now_us_ = std::max(now_us_, now_us); }

int64_t GroupCore::GroupNow() const {
  return (writes_.empty() ? now_us_ : stall_began_us_) - stalled_us_;
}

int64_t GroupCore::NextDeadlineUs() const {
  if (!writes_.empty()) return kNever;
  int64_t deadline = std::min(join_deadline_us_, sync_deadline_us_);
  for (const auto& [id, member] : members_) {
    deadline = std::min(deadline, member.expires_us);
  }
  for (const auto& [id, expires_us] : pending_members_) {
    deadline = std::min(deadline, expires_us);
  }
  return deadline == kNever ? kNever : deadline + stalled_us_;
}

void GroupCore::On(const Tick& e) {
  SeeTime(e.now_us);
  if (!writes_.empty() || state_ == GroupState::kDead) return;
  const int64_t now = GroupNow();
  std::vector<MemberId> late;
  for (const auto& [id, member] : members_) {
    if (member.expires_us <= now) late.push_back(id);
  }
  for (const MemberId& id : late) ExpireMember(id);
  late.clear();
  for (const auto& [id, expires_us] : pending_members_) {
    if (expires_us <= now) late.push_back(id);
  }
  for (const MemberId& id : late) ExpirePendingMember(id);
  if (sync_deadline_us_ <= now) ExpirePendingSyncs();
  if (join_deadline_us_ <= now) {
    initial_rebalance_ ? ContinueInitialRebalance() : CompleteJoin();
  }
}

void GroupCore::RefreshSession(Member& member) {
  member.expires_us = GroupNow() + member.image.session_timeout_us;
}

// ---- Members ----

bool GroupCore::HasMember(const MemberId& member) const {
  return members_.count(member) > 0;
}

GroupCore::Member* GroupCore::Find(const MemberId& id) {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

const GroupCore::Member* GroupCore::Find(const MemberId& id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

ErrorCode GroupCore::CheckMember(const MemberId& member,
                                 const InstanceId& instance) const {
  if (!instance.empty()) {
    const auto known = instances_.find(instance);
    if (known == instances_.end()) return ErrorCode::kUnknownMemberId;
    if (known->second != member && !MUTANT(kOlderInstanceServed)) {
      return ErrorCode::kFencedInstanceId;
    }
  }
  return HasMember(member) ? ErrorCode::kNone : ErrorCode::kUnknownMemberId;
}

ErrorCode GroupCore::CheckMember(const MemberId& member,
                                 const InstanceId& instance,
                                 const StreamSecret& stream) const {
  const ErrorCode known = CheckMember(member, instance);
  if (known != ErrorCode::kNone || MUTANT(kOlderStreamServed)) return known;
  return Find(member)->image.stream == stream ? ErrorCode::kNone
                                              : ErrorCode::kTakenOver;
}

void GroupCore::AnswerParked(Member& member, ErrorCode code) {
  if (member.joining.has_value()) {
    const bool unknown = code == ErrorCode::kUnknownMemberId;
    Do(AnswerJoin{.request = *std::exchange(member.joining, std::nullopt),
                  .code = code,
                  .member = unknown ? MemberId() : member.image.id});
  }
  if (member.syncing.has_value()) {
    Do(AnswerSync{.request = *std::exchange(member.syncing, std::nullopt),
                  .code = code});
  }
}

void GroupCore::RemoveMember(const MemberId& id, ErrorCode code,
                             const std::string& why) {
  pending_members_.erase(id);
  const auto found = members_.find(id);
  if (found == members_.end()) return;
  AnswerParked(found->second, code);
  FailHeldOf(id, code);
  instances_.erase(found->second.image.instance);
  members_.erase(found);
  pending_syncs_.erase(id);
  if (leader_ == id) {
    leader_ = members_.empty() ? MemberId() : members_.begin()->first;
  }
  Do(MemberRemoved{id, why});
}

MemberId GroupCore::NewMemberId(const Join& e) {
  const std::string& prefix =
      e.instance.empty() ? e.client_id : e.instance.ToString();
  return MemberId(StrCat(prefix, "-", deps_.random->NextUuid()));
}

GroupImage GroupCore::Image() const {
  GroupImage image = {.state = state_,
                      .generation = generation_,
                      .protocol_type = protocol_type_,
                      .protocol_name = protocol_name_,
                      .leader = leader_,
                      .rebalance_reason = rebalance_reason_};
  image.members.reserve(members_.size());
  for (const auto& [id, member] : members_) {
    image.members.push_back(member.image);
  }
  return image;
}

std::optional<std::set<std::string>> GroupCore::SubscribedTopics() const {
  if (protocol_type_ != consumer::kProtocolType) return std::nullopt;
  std::set<std::string> topics;
  if (members_.empty()) return topics;
  if (protocol_name_.empty()) return std::nullopt;
  for (const auto& [id, member] : members_) {
    const auto chosen = std::find_if(
        member.image.protocols.begin(), member.image.protocols.end(),
        [this](const Protocol& p) { return p.name == protocol_name_; });
    if (chosen == member.image.protocols.end()) return std::nullopt;
    auto subscribed = consumer::DecodeSubscribedTopics(chosen->metadata);
    if (!subscribed.ok()) return std::nullopt;
    topics.insert(subscribed->begin(), subscribed->end());
  }
  return topics;
}

// ---- The end ----

void GroupCore::On(const Delete& e) {
  SeeTime(e.now_us);
  if (state_ == GroupState::kDead) {
    return Do(AnswerDelete{e.request, ErrorCode::kGroupIdNotFound});
  }
  if (state_ != GroupState::kEmpty) {
    return Do(AnswerDelete{e.request, ErrorCode::kNonEmptyGroup});
  }
  state_ = GroupState::kDead;
  pending_members_.clear();
  Write(std::nullopt);
  TellOnceWritten(MemberId(), AnswerDelete{e.request});
}

void GroupCore::On(const Resign&) {
  for (auto& [id, member] : members_) AnswerParked(member, ErrorCode::kNotCoordinator);
  FailHeld(next_write_, ErrorCode::kNotCoordinator);
  writes_.clear();
  members_.clear();
  instances_.clear();
  pending_members_.clear();
  pending_syncs_.clear();
  leader_ = MemberId();
  join_deadline_us_ = kNever;
  sync_deadline_us_ = kNever;
  initial_rebalance_ = false;
  state_ = GroupState::kDead;
}

}  // namespace sluice::group
