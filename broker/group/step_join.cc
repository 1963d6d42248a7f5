// Joining: who is let in, under which id, and who is told at once.
#include <algorithm>
#include <utility>

#include "broker/group/group_core.h"
#include "common/base/invariant.h"

namespace sluice::group {
namespace {

// A name twice would count twice; the first one counts.
std::vector<Protocol> WithoutRepetition(const std::vector<Protocol>& protocols) {
  std::vector<Protocol> once;
  std::set<std::string_view> names;
  for (const Protocol& p : protocols) {
    if (names.insert(p.name).second) once.push_back(p);
  }
  return once;
}

}  // namespace

void GroupCore::On(const Join& e) {
  SeeTime(e.now_us);
  const ErrorCode refused = CheckJoin(e);
  if (refused == ErrorCode::kNone) {
    return e.member.empty() ? JoinNew(e) : JoinKnown(e);
  }
  RefuseJoin(e, refused);
}

// A member that finds no room any more goes: the limit was lowered, or it says
// more of itself than the group's record can hold.
void GroupCore::RefuseJoin(const Join& e, ErrorCode code) {
  const bool too_large = code == ErrorCode::kMessageTooLarge;
  const bool kicked = too_large || code == ErrorCode::kGroupMaxSizeReached;
  Do(AnswerJoin{.request = e.request,
                .code = code,
                .member = kicked ? MemberId() : e.member,
                .why = too_large ? WhyTooLarge(e) : std::string()});
  if (!kicked || e.member.empty()) return;
  const bool was_member = HasMember(e.member);
  RemoveMember(e.member, code, "the group is full");
  if (was_member) {
    RebalanceOrCompleteJoin(StrCat("member ", e.member, " found no room"));
  } else {
    MaybeCompleteJoin();
  }
}

// In Kafka's order.
ErrorCode GroupCore::CheckJoin(const Join& e) {
  const GroupConfig& config = deps_.config;
  if (e.session_timeout_us < config.session_timeout_min_us ||
      e.session_timeout_us > config.session_timeout_max_us) {
    return ErrorCode::kInvalidSessionTimeout;
  }
  if (!HasRoomFor(e.member)) return ErrorCode::kGroupMaxSizeReached;
  if (state_ == GroupState::kDead) return ErrorCode::kCoordinatorNotAvailable;
  if (writes_.size() >= kGroupWritesMax) return ErrorCode::kCoordinatorNotAvailable;
  if (!SupportsProtocols(e)) return ErrorCode::kInconsistentGroupProtocol;
  const bool pending =
      pending_members_.count(e.member) > 0 && e.instance.empty();
  if (!e.member.empty() && !pending) {
    const ErrorCode known = CheckJoinKnown(e);
    if (known != ErrorCode::kNone) return known;
  }
  return MembersBytesWith(e) > config.members_bytes_max
             ? ErrorCode::kMessageTooLarge
             : ErrorCode::kNone;
}

// Who was not answered takes over once more.
ErrorCode GroupCore::CheckJoinKnown(const Join& e) const {
  const ErrorCode member = CheckMember(e.member, e.instance);
  if (member != ErrorCode::kNone) return member;
  const StreamSecret& stream = Find(e.member)->image.stream;
  const bool may = stream == e.stream ||
                   (!e.resumes.empty() && stream == e.resumes);
  return may ? ErrorCode::kNone : ErrorCode::kTakenOver;
}

bool GroupCore::HasRoomFor(const MemberId& member) const {
  const size_t max = deps_.config.members_max;
  switch (state_) {
    case GroupState::kEmpty:
    case GroupState::kDead:
      break;
    case GroupState::kPreparing: {
      // Those that joined this time count: who comes late in a group above its
      // limit is the one to go.
      const Member* known = Find(member);
      if (known != nullptr && known->joining.has_value()) return true;
      const auto joined = static_cast<size_t>(std::count_if(
          members_.begin(), members_.end(),
          [](const auto& m) { return m.second.joining.has_value(); }));
      if (joined >= max) return false;
      break;
    }
    case GroupState::kCompleting:
    case GroupState::kStable:
      if (!HasMember(member) && members_.size() >= max) return false;
      break;
  }
  return !member.empty() || pending_members_.size() < max;
}

bool GroupCore::SupportsProtocols(const Join& e) const {
  if (e.protocol_type.empty() || e.protocols.empty()) return false;
  if (members_.empty()) return true;
  if (e.protocol_type != protocol_type_) return false;
  const std::set<std::string> common = CommonProtocols();
  return std::any_of(
      e.protocols.begin(), e.protocols.end(),
      [&common](const Protocol& p) { return common.count(p.name) > 0; });
}

void GroupCore::JoinNew(const Join& e) {
  if (!e.instance.empty()) {
    const auto known = instances_.find(e.instance);
    if (known == instances_.end()) return AddMember(e, NewMemberId(e));
    return TakeOverInstance(e, known->second);
  }
  const MemberId id = NewMemberId(e);
  if (!e.member_id_required) return AddMember(e, id);
  pending_members_[id] = GroupNow() + e.session_timeout_us;
  Do(AnswerJoin{.request = e.request, .code = ErrorCode::kMemberIdRequired, .member = id});
}

void GroupCore::JoinKnown(const Join& e) {
  if (pending_members_.count(e.member) > 0) return AddMember(e, e.member);
  Member& member = *Find(e.member);
  e.resumes.empty() ? JoinKnownMember(e, member) : TakeOverStream(e, member);
}

// The same member by another stream: it goes on where the group stands. What
// the older one waits for it does not get, and what it says from here on is not
// heard.
void GroupCore::TakeOverStream(const Join& e, Member& member) {
  const ErrorCode waiting = member.image.stream == e.stream
                                ? ErrorCode::kRebalanceInProgress
                                : ErrorCode::kTakenOver;
  AnswerParked(member, waiting);
  FailHeldOf(e.member, waiting);
  member.image.stream = e.stream;
  member.image.client_id = e.client_id;
  member.image.client_host = e.client_host;
  RefreshSession(member);
  if (state_ == GroupState::kPreparing) {
    ParkJoin(e, member);
    return MaybeCompleteJoin();
  }
  if (state_ == GroupState::kCompleting) pending_syncs_.insert(e.member);
  Write(Image());
  AnswerJoin answer = CurrentAnswer(e.request, member);
  AddOwnEntry(member, answer);
  answer.skip_assignment =
      state_ == GroupState::kStable && leader_ == e.member;
  TellOnceWritten(e.member, std::move(answer));
}

void GroupCore::JoinKnownMember(const Join& e, Member& member) {
  const bool same = member.image.protocols == WithoutRepetition(e.protocols);
  const std::string reason = e.reason.empty() ? "" : StrCat(": ", e.reason);
  switch (state_) {
    case GroupState::kPreparing:
      ParkJoin(e, member);
      return MaybeCompleteJoin();
    case GroupState::kCompleting:
      // It may have missed the answer.
      if (same) return AnswerWithCurrent(e, member);
      ParkJoin(e, member);
      return PrepareRebalance(
          StrCat("member ", e.member, " changed what it supports", reason));
    case GroupState::kStable:
      // The leader may know of a change that no member's metadata shows, as of
      // a topic's partitions.
      if (same && e.member != leader_) return AnswerWithCurrent(e, member);
      ParkJoin(e, member);
      return PrepareRebalance(
          StrCat(e.member == leader_ ? "the leader " : "member ", e.member,
                 " joined anew", reason));
    case GroupState::kEmpty:
    case GroupState::kDead:
      break;
  }
  INVARIANT(false, "group ", deps_.group_id, " is ", NameOf(state_),
            " and has member ", e.member);
}

void GroupCore::AddMember(const Join& e, const MemberId& id) {
  pending_members_.erase(id);
  if (members_.empty()) protocol_type_ = e.protocol_type;
  Member& member = members_[id];
  member.image.id = id;
  member.image.instance = e.instance;
  member.image.client_id = e.client_id;
  member.image.client_host = e.client_host;
  member.image.stream = e.stream;
  member.is_new = true;
  if (!e.instance.empty()) instances_[e.instance] = id;
  if (leader_.empty()) leader_ = id;
  ParkJoin(e, member);
  // It has no id yet to send heartbeats with; a client that gave up must not
  // stay for good.
  member.expires_us = GroupNow() + deps_.config.new_member_join_timeout_us;
  if (state_ == GroupState::kPreparing && initial_rebalance_) {
    joined_meanwhile_ = true;
  }
  RebalanceOrCompleteJoin(
      StrCat("member ", id, " joined",
             e.reason.empty() ? "" : StrCat(": ", e.reason)));
}

// GR5: the newer of two processes with one instance id goes on.
void GroupCore::TakeOverInstance(const Join& e, MemberId old_id) {
  const MemberId id = NewMemberId(e);
  const MemberId old_leader = leader_;
  Member& member = RenameMember(old_id, id);
  const std::string joined_with = AsJoined(member).metadata;
  UpdateMember(e, member);
  member.image.client_id = e.client_id;
  member.image.client_host = e.client_host;
  member.image.stream = e.stream;
  RefreshSession(member);
  if (state_ == GroupState::kPreparing) {
    member.joining = e.request;
    return MaybeCompleteJoin();
  }
  if (state_ == GroupState::kCompleting || SelectProtocol() != protocol_name_) {
    // The leader may be about to assign to the old id, or by a protocol that
    // this one does not speak any more.
    member.joining = e.request;
    return PrepareRebalance(StrCat("instance ", e.instance, " is member ", id,
                                   " instead of ", old_id));
  }
  // The generation stands as it was made: whoever goes on for this one too has
  // to know with what.
  for (Protocol& p : member.image.protocols) {
    if (p.name == protocol_name_) p.metadata = joined_with;
  }
  Write(Image());
  AnswerJoin answer = CurrentAnswer(e.request, member);
  if (e.can_skip_assignment) {
    answer.skip_assignment = leader_ == id;
  } else {
    // It would assign anew if it knew that it leads.
    answer.leader = old_leader;
    answer.members.clear();
  }
  AddOwnEntry(member, answer);
  TellOnceWritten(id, std::move(answer));
}

// `old_id` by value: what the caller has may be the entry that changes here.
GroupCore::Member& GroupCore::RenameMember(MemberId old_id,
                                           const MemberId& new_id) {
  auto node = members_.extract(old_id);
  AnswerParked(node.mapped(), ErrorCode::kFencedInstanceId);
  FailHeldOf(old_id, ErrorCode::kFencedInstanceId);
  node.key() = new_id;
  Member& member = members_.insert(std::move(node)).position->second;
  member.image.id = new_id;
  member.is_new = false;
  instances_[member.image.instance] = new_id;
  if (pending_syncs_.erase(old_id) > 0) pending_syncs_.insert(new_id);
  if (leader_ == old_id) leader_ = new_id;
  return member;
}

void GroupCore::UpdateMember(const Join& e, Member& member) {
  MemberImage& image = member.image;
  image.session_timeout_us = e.session_timeout_us;
  image.rebalance_timeout_us =
      e.rebalance_timeout_us > 0 ? e.rebalance_timeout_us : e.session_timeout_us;
  image.protocols = WithoutRepetition(e.protocols);
  image.join_reason = e.reason;
}

void GroupCore::ParkJoin(const Join& e, Member& member) {
  UpdateMember(e, member);
  if (member.joining.has_value()) {
    // The client sent it again, on another connection.
    Do(AnswerJoin{.request = *member.joining,
                  .code = ErrorCode::kRebalanceInProgress,
                  .member = member.image.id});
  }
  member.joining = e.request;
}

void GroupCore::AnswerWithCurrent(const Join& e, const Member& member) {
  FailHeldOf(member.image.id, ErrorCode::kRebalanceInProgress);
  TellOnceWritten(member.image.id, CurrentAnswer(e.request, member));
}

AnswerJoin GroupCore::CurrentAnswer(RequestId request,
                                    const Member& member) const {
  AnswerJoin answer = {.request = request,
                       .member = member.image.id,
                       .generation = generation_,
                       .protocol_type = protocol_type_,
                       .protocol_name = protocol_name_,
                       .leader = leader_};
  if (member.image.id != leader_) return answer;
  for (const auto& [id, m] : members_) answer.members.push_back(AsJoined(m));
  return answer;
}

// As this generation was made with it.
JoinedMember GroupCore::AsJoined(const Member& member) const {
  JoinedMember joined = {.id = member.image.id,
                         .instance = member.image.instance};
  for (const Protocol& p : member.image.protocols) {
    if (p.name == protocol_name_) joined.metadata = p.metadata;
  }
  return joined;
}

// For who goes on as a member that another process or stream was: what that one
// said it owned, a cooperative leader gave to nobody, so it has to be given back
// by a join.
void GroupCore::AddOwnEntry(const Member& member, AnswerJoin& answer) const {
  if (answer.members.empty()) answer.members.push_back(AsJoined(member));
}

}  // namespace sluice::group
