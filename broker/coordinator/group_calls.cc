// What members ask: join, sync, heartbeat, leave.
#include <utility>

#include "broker/coordinator/group_coordinator.h"
#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice::coordinator {
namespace {

constexpr int64_t kMicrosPerMilli = 1000;

absl::Status CheckText(std::string_view what, std::string_view text) {
  if (text.size() <= kMemberTextBytesMax) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest, std::string(what), " has ",
                   text.size(), " bytes, the most is ", kMemberTextBytesMax);
}

absl::Status CheckJoin(const v1::JoinGroupRequest& request) {
  if (request.protocols_size() > kProtocolsPerJoinMax) {
    return MakeError(ErrorCode::kInvalidRequest, request.protocols_size(),
                     " protocols in one join, the most is ",
                     kProtocolsPerJoinMax);
  }
  if (static_cast<int64_t>(request.ByteSizeLong()) > kJoinBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest, "a join of ",
                     request.ByteSizeLong(), " bytes, the most is ",
                     kJoinBytesMax);
  }
  if (request.reason().size() > kReasonBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest, "a reason of ",
                     request.reason().size(), " bytes, the most is ",
                     kReasonBytesMax);
  }
  for (const auto& protocol : request.protocols()) {
    const absl::Status name = CheckText("a protocol's name", protocol.name());
    if (!name.ok()) return name;
  }
  const std::pair<const char*, std::string_view> texts[] = {
      {"the member id", request.member_id()},
      {"the instance id", request.group_instance_id()},
      {"the stream's secret", request.stream()},
      {"the protocol type", request.protocol_type()}};
  for (const auto& [what, text] : texts) {
    // A member id is ours: a client or instance id, and a uuid.
    if (what == texts[0].first) continue;
    const absl::Status checked = CheckText(what, text);
    if (!checked.ok()) return checked;
  }
  return absl::OkStatus();
}

group::Join JoinFrom(const api::CallContext& context,
                     v1::JoinGroupRequest& request) {
  group::Join join;
  join.member = group::MemberId(std::move(*request.mutable_member_id()));
  join.instance =
      group::InstanceId(std::move(*request.mutable_group_instance_id()));
  // A broker that hands the call on has filled in who its client is.
  const bool handed_on = context.listener == kInternalListener;
  join.client_id = (request.client_id().empty() && !handed_on
                        ? context.client_id
                        : request.client_id())
                       .substr(0, kMemberTextBytesMax);
  join.client_host = request.client_host().empty() ? context.peer_address
                                                   : request.client_host();
  join.session_timeout_us = request.session_timeout_ms() * kMicrosPerMilli;
  join.rebalance_timeout_us = request.rebalance_timeout_ms() * kMicrosPerMilli;
  if (join.rebalance_timeout_us <= 0) {
    join.rebalance_timeout_us = join.session_timeout_us;
  }
  join.protocol_type = std::move(*request.mutable_protocol_type());
  for (auto& protocol : *request.mutable_protocols()) {
    join.protocols.push_back({std::move(*protocol.mutable_name()),
                              std::move(*protocol.mutable_metadata())});
  }
  join.reason = std::move(*request.mutable_reason());
  join.stream = group::StreamSecret(std::move(*request.mutable_stream()));
  join.resumes =
      group::StreamSecret(std::move(*request.mutable_resumes_stream()));
  join.member_id_required =
      !request.has_member_id_required() || request.member_id_required();
  join.can_skip_assignment =
      !request.has_can_skip_assignment() || request.can_skip_assignment();
  return join;
}

}  // namespace

// ---- Requests that wait ----

// A number for a request, and room for it; nullopt: refused, and answered.
template <class Response>
std::optional<group::RequestId> GroupCoordinator::Admit(
    const std::string& group, int64_t bytes, PeerReply<Response>& reply) {
  std::optional<Refusal> refused = CheckServes();
  if (!refused.has_value() &&
      (pending_.size() + parts_waiting_ >= deps_.config.requests_max ||
       pending_bytes_ + bytes > deps_.config.request_bytes_max)) {
    refused = RefuseHere(ErrorCode::kBusy,
                         StrCat(pending_.size() + parts_waiting_,
                                " requests wait with ", pending_bytes_,
                                " bytes; try again"));
  }
  if (!refused.has_value()) {
    const auto loaded = Load(group);
    if (!loaded.ok()) refused = Refusal{loaded.status(), {}};
  }
  if (refused.has_value()) {
    Response response;
    PutRefusal(*refused, response);
    reply(std::move(response));
    return std::nullopt;
  }
  const group::RequestId id = next_request_;
  next_request_ = next_request_.Next();
  pending_[id] = {std::move(reply), group, bytes};
  pending_bytes_ += bytes;
  return id;
}

GroupCoordinator::Pending GroupCoordinator::TakePending(group::RequestId id) {
  const auto found = pending_.find(id);
  INVARIANT(found != pending_.end(), deps_.name, ": request ", id,
            " is answered twice");
  Pending pending = std::move(found->second);
  pending_.erase(found);
  pending_bytes_ -= pending.bytes;
  return pending;
}

void GroupCoordinator::JoinGroup(const api::CallContext& context,
                                 v1::JoinGroupRequest request,
                                 PeerReply<v1::JoinGroupResponse> reply) {
  if (const absl::Status checked = CheckJoin(request); !checked.ok()) {
    v1::JoinGroupResponse response;
    PutError(checked, response.mutable_error());
    return reply(std::move(response));
  }
  const std::string group = request.group_id();
  const auto id = Admit(group, static_cast<int64_t>(request.ByteSizeLong()),
                        reply);
  if (!id.has_value()) return;
  group::Join join = JoinFrom(context, request);
  join.request = *id;
  join.now_us = now_us();
  StepGroup(group, std::move(join));
}

void GroupCoordinator::SyncGroup(const api::CallContext&,
                                 v1::SyncGroupRequest request,
                                 PeerReply<v1::SyncGroupResponse> reply) {
  const std::string group = request.group_id();
  const auto id = Admit(group, static_cast<int64_t>(request.ByteSizeLong()),
                        reply);
  if (!id.has_value()) return;
  group::Sync sync;
  sync.request = *id;
  sync.member = group::MemberId(request.member_id());
  sync.instance = group::InstanceId(request.group_instance_id());
  sync.generation = group::Generation(request.generation_id());
  sync.stream = group::StreamSecret(request.stream());
  sync.protocol_type = request.protocol_type();
  sync.protocol_name = request.protocol_name();
  for (auto& given : *request.mutable_assignments()) {
    sync.assignments.push_back({group::MemberId(given.member_id()),
                                std::move(*given.mutable_assignment())});
  }
  sync.now_us = now_us();
  StepGroup(group, std::move(sync));
}

void GroupCoordinator::Heartbeat(const api::CallContext&,
                                 v1::HeartbeatRequest request,
                                 PeerReply<v1::HeartbeatResponse> reply) {
  const auto id = Admit(request.group_id(), 0, reply);
  if (!id.has_value()) return;
  group::Heartbeat heartbeat;
  heartbeat.request = *id;
  heartbeat.member = group::MemberId(request.member_id());
  heartbeat.instance = group::InstanceId(request.group_instance_id());
  heartbeat.generation = group::Generation(request.generation_id());
  heartbeat.stream = group::StreamSecret(request.stream());
  heartbeat.now_us = now_us();
  StepGroup(request.group_id(), std::move(heartbeat));
}

void GroupCoordinator::LeaveGroup(const api::CallContext&,
                                  v1::LeaveGroupRequest request,
                                  PeerReply<v1::LeaveGroupResponse> reply) {
  if (request.members_size() < 1 ||
      request.members_size() > kMembersPerLeaveMax) {
    v1::LeaveGroupResponse response;
    PutError(MakeError(ErrorCode::kInvalidRequest, request.members_size(),
                       " members leave in one call; at least 1, at most ",
                       kMembersPerLeaveMax),
             response.mutable_error());
    return reply(std::move(response));
  }
  const auto id =
      Admit(request.group_id(), static_cast<int64_t>(request.ByteSizeLong()),
            reply);
  if (!id.has_value()) return;
  group::Leave leave;
  leave.request = *id;
  for (const auto& member : request.members()) {
    leave.members.push_back(
        {group::MemberId(member.member_id()),
         group::InstanceId(member.group_instance_id()),
         member.reason().substr(0, kReasonBytesMax),
         group::StreamSecret(member.stream())});
  }
  leave.now_us = now_us();
  StepGroup(request.group_id(), std::move(leave));
}

// ---- Answers ----

namespace {

// Where to go instead, when the leadership moved while it waited.
template <class Response>
void PutOutcome(ErrorCode code, const std::string& group,
                const api::LeaderHint& leader, Response& response,
                const std::string& why = "") {
  if (why.empty()) {
    PutError(code, group, response.mutable_error());
  } else {
    PutError(MakeError(code, "group \"", group, "\": ", why),
             response.mutable_error());
  }
  if (code == ErrorCode::kNone) response.clear_error();
  if (code == ErrorCode::kNotCoordinator) {
    PutHint(leader, response.mutable_coordinator());
  }
}

}  // namespace

void GroupCoordinator::Answer(group::AnswerJoin& a) {
  Pending pending = TakePending(a.request);
  v1::JoinGroupResponse response;
  PutOutcome(a.code, pending.group, replica_->leader_hint(), response, a.why);
  response.set_member_id(a.member.ToString());
  response.set_generation_id(a.generation.value());
  response.set_protocol_type(a.protocol_type);
  response.set_protocol_name(a.protocol_name);
  response.set_leader_id(a.leader.ToString());
  response.set_skip_assignment(a.skip_assignment);
  for (group::JoinedMember& member : a.members) {
    v1::JoinedMember* out = response.add_members();
    out->set_member_id(member.id.ToString());
    out->set_group_instance_id(member.instance.ToString());
    out->set_metadata(std::move(member.metadata));
  }
  std::get<PeerReply<v1::JoinGroupResponse>>(pending.reply)(
      std::move(response));
}

void GroupCoordinator::Answer(group::AnswerSync& a) {
  Pending pending = TakePending(a.request);
  v1::SyncGroupResponse response;
  PutOutcome(a.code, pending.group, replica_->leader_hint(), response, a.why);
  response.set_generation_id(a.generation.value());
  response.set_protocol_type(a.protocol_type);
  response.set_protocol_name(a.protocol_name);
  response.set_assignment(std::move(a.assignment));
  std::get<PeerReply<v1::SyncGroupResponse>>(pending.reply)(
      std::move(response));
}

void GroupCoordinator::Answer(group::AnswerHeartbeat& a) {
  Pending pending = TakePending(a.request);
  v1::HeartbeatResponse response;
  PutOutcome(a.code, pending.group, replica_->leader_hint(), response);
  std::get<PeerReply<v1::HeartbeatResponse>>(pending.reply)(
      std::move(response));
}

void GroupCoordinator::Answer(group::AnswerLeave& a) {
  Pending pending = TakePending(a.request);
  v1::LeaveGroupResponse response;
  PutOutcome(a.code, pending.group, replica_->leader_hint(), response);
  for (const group::LeftMember& member : a.members) {
    v1::LeftMember* out = response.add_members();
    out->set_member_id(member.member.ToString());
    out->set_group_instance_id(member.instance.ToString());
    if (member.code != ErrorCode::kNone) {
      PutError(member.code, pending.group, out->mutable_error());
    }
  }
  std::get<PeerReply<v1::LeaveGroupResponse>>(pending.reply)(
      std::move(response));
}

void GroupCoordinator::Answer(group::AnswerDelete& a) {
  Pending pending = TakePending(a.request);
  v1::DeleteGroupResult result;
  PutOutcome(a.code, pending.group, replica_->leader_hint(), result);
  result.set_group_id(pending.group);
  std::get<PeerReply<v1::DeleteGroupResult>>(pending.reply)(std::move(result));
}

// ---- Deleting, with the same care for who waits ----

void GroupCoordinator::DeleteGroup(const std::string& group,
                                   PeerReply<v1::DeleteGroupResult> reply) {
  const auto refuse = [&](const Refusal& why) {
    v1::DeleteGroupResult result;
    result.set_group_id(group);
    PutRefusal(why, result);
    reply(std::move(result));
  };
  if (const auto refused = CheckServes(); refused.has_value()) {
    return refuse(*refused);
  }
  const auto known = FindKnown(group);
  if (!known.ok()) return refuse({known.status(), {}});
  if (*known == nullptr) {
    return refuse({MakeError(ErrorCode::kGroupIdNotFound, "group \"", group,
                             "\": there is no such group"),
                   {}});
  }
  const auto id = Admit(group, 0, reply);
  if (!id.has_value()) return LetGo(group);
  StepGroup(group, group::Delete{*id, now_us()});
}

}  // namespace sluice::coordinator
