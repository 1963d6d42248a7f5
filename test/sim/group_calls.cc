#include "test/sim/group_calls.h"

#include <algorithm>
#include <utility>

#include "sluice/v1/group.pb.h"
#include "test/sim/wire.h"

namespace sluice::sim {
namespace {

bool IsRequest(MessageKind kind) {
  switch (kind) {
    case MessageKind::kJoinGroup:
    case MessageKind::kSyncGroup:
    case MessageKind::kHeartbeat:
    case MessageKind::kCommitOffsets:
    case MessageKind::kFetchOffsets:
      return true;
    default:
      return false;
  }
}

bool IsReply(MessageKind kind) {
  return kind != MessageKind{0} &&
         IsRequest(static_cast<MessageKind>(static_cast<uint8_t>(kind) - 1));
}

std::vector<std::string> GroupsOf(MessageKind kind, std::string_view bytes) {
  switch (kind) {
    case MessageKind::kJoinGroup:
      return {Wire<v1::JoinGroupRequest>::Decode(bytes).group_id()};
    case MessageKind::kSyncGroup:
      return {Wire<v1::SyncGroupRequest>::Decode(bytes).group_id()};
    case MessageKind::kHeartbeat:
      return {Wire<v1::HeartbeatRequest>::Decode(bytes).group_id()};
    case MessageKind::kCommitOffsets:
      return {Wire<v1::CommitOffsetsRequest>::Decode(bytes).group_id()};
    default: {
      std::vector<std::string> groups;
      const auto request = Wire<v1::FetchOffsetsRequest>::Decode(bytes);
      for (const auto& query : request.groups()) {
        groups.push_back(query.group_id());
      }
      return groups;
    }
  }
}

}  // namespace

void GroupCalls::OnMessage(const Message& message, Fate fate) {
  if (fate == Fate::kSent) return OnSent(message);
  if (fate == Fate::kDelivered && IsRequest(message.kind)) OnArrived(message);
}

void GroupCalls::OnSent(const Message& message) {
  switch (message.kind) {
    case MessageKind::kCommitOffsets:
      return invariants_.OnSent(
          Wire<v1::CommitOffsetsRequest>::Decode(message.bytes));
    case MessageKind::kDeleteOffsets:
      return invariants_.OnSent(
          Wire<v1::DeleteOffsetsRequest>::Decode(message.bytes));
    case MessageKind::kDeleteGroups:
      return invariants_.OnSent(
          Wire<v1::DeleteGroupsRequest>::Decode(message.bytes));
    case MessageKind::kStreamEnd:
      calls_.erase(message.lane);
      return;
    default:
      break;
  }
  if (!IsReply(message.kind)) return;
  const auto call = calls_.find(message.lane);
  if (call == calls_.end()) return;
  if (message.status.ok()) {
    answers_.push_back({std::move(call->second), std::string(message.bytes)});
  }
  calls_.erase(call);
}

void GroupCalls::OnArrived(const Message& message) {
  Call call{message.kind, std::string(message.bytes), {}};
  for (const std::string& group : GroupsOf(message.kind, message.bytes)) {
    call.asked.push_back(invariants_.Arrived(message.to, group));
  }
  calls_[message.lane] = std::move(call);
  if (calls_.size() > kCallsMax) calls_.erase(calls_.begin());
}

void GroupCalls::TellAnswers() {
  for (const Answer& answer : std::exchange(answers_, {})) Tell(answer);
}

template <class Request, class Response>
void GroupCalls::TellOne(const Answer& answer) {
  invariants_.OnAnswered(answer.call.asked.front(),
                         Wire<Request>::Decode(answer.call.request),
                         Wire<Response>::Decode(answer.response));
}

void GroupCalls::Tell(const Answer& answer) {
  switch (answer.call.kind) {
    case MessageKind::kJoinGroup:
      return TellOne<v1::JoinGroupRequest, v1::JoinGroupResponse>(answer);
    case MessageKind::kSyncGroup:
      return TellOne<v1::SyncGroupRequest, v1::SyncGroupResponse>(answer);
    case MessageKind::kHeartbeat:
      return TellOne<v1::HeartbeatRequest, v1::HeartbeatResponse>(answer);
    case MessageKind::kCommitOffsets:
      return TellOne<v1::CommitOffsetsRequest, v1::CommitOffsetsResponse>(
          answer);
    default:
      break;
  }
  const auto request =
      Wire<v1::FetchOffsetsRequest>::Decode(answer.call.request);
  const auto response =
      Wire<v1::FetchOffsetsResponse>::Decode(answer.response);
  const int count = std::min({request.groups_size(), response.groups_size(),
                              static_cast<int>(answer.call.asked.size())});
  for (int i = 0; i < count; ++i) {
    invariants_.OnAnswered(answer.call.asked[static_cast<size_t>(i)],
                           request.groups(i), response.groups(i));
  }
}

}  // namespace sluice::sim
