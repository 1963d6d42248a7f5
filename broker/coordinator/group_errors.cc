#include "broker/coordinator/group_errors.h"

#include <string>

namespace sluice::coordinator {
namespace {

std::string_view AdviceFor(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOffsetMetadataTooLarge:
      return "the metadata of an offset is at most 4,096 bytes";
    case ErrorCode::kCoordinatorLoadInProgress:
      return "its coordinator has not caught up yet; try again";
    case ErrorCode::kCoordinatorNotAvailable:
      return "its coordinator cannot answer now; try again";
    case ErrorCode::kNotCoordinator:
      return "its coordinator is another broker; find it again";
    case ErrorCode::kIllegalGeneration:
      return "the group has another generation; join again";
    case ErrorCode::kInconsistentGroupProtocol:
      return "the members have no protocol in common with this; check their "
             "protocol type and assignors";
    case ErrorCode::kInvalidGroupId:
      return "a group id is 1 to 249 bytes";
    case ErrorCode::kUnknownMemberId:
      return "the group has no such member; join again with an empty member id";
    case ErrorCode::kInvalidSessionTimeout:
      return "the session timeout is outside the broker's range";
    case ErrorCode::kRebalanceInProgress:
      return "the group is rebalancing; join again";
    case ErrorCode::kNonEmptyGroup:
      return "the group has members; stop them first";
    case ErrorCode::kGroupIdNotFound:
      return "there is no such group";
    case ErrorCode::kMemberIdRequired:
      return "join again with the member id of this answer";
    case ErrorCode::kGroupMaxSizeReached:
      return "the group has as many members as the broker allows";
    case ErrorCode::kMessageTooLarge:
      return "what it has to keep of its members is too much for one record; "
             "use fewer members, topics or user data";
    case ErrorCode::kFencedInstanceId:
      return "another process joined with this instance id; stop one of them";
    case ErrorCode::kTakenOver:
      return "a newer stream goes on as this member; end this one";
    case ErrorCode::kGroupSubscribedToTopic:
      return "a member subscribes to the topic; stop the members first";
    case ErrorCode::kInvalidCommitOffset:
      return "an offset is not negative";
    case ErrorCode::kUnknownTopicOrPartition:
      return "there is no such topic or partition";
    case ErrorCode::kRequestTimedOut:
      return "the in-sync replicas did not store it in time; the outcome is "
             "unknown, commit again";
    default:
      return "it was refused";
  }
}

}  // namespace

void PutError(ErrorCode code, std::string_view group, v1::Error* out) {
  if (code == ErrorCode::kNone) return;
  PutError(MakeError(code, "group \"", std::string(group), "\": ",
                     std::string(AdviceFor(code))),
           out);
}

void PutError(const absl::Status& why, v1::Error* out) {
  if (why.ok()) return;
  const ErrorCode code = CodeOf(why);
  out->set_code(static_cast<v1::ErrorCode>(static_cast<int>(code)));
  out->set_message(std::string(why.message()));
  const bool waits = code == ErrorCode::kCoordinatorLoadInProgress ||
                     code == ErrorCode::kCoordinatorNotAvailable ||
                     code == ErrorCode::kNotCoordinator ||
                     code == ErrorCode::kBusy;
  if (waits) out->set_retry_after_ms(kRetryAfterMs);
}

void PutHint(const api::LeaderHint& leader, v1::CoordinatorHint* out) {
  out->set_node_id(leader.leader_id.value());
  if (leader.endpoint.host.empty()) return;
  out->mutable_endpoint()->set_host(leader.endpoint.host);
  out->mutable_endpoint()->set_port(leader.endpoint.port);
}

void PutRefusal(const Refusal& refusal, const v1::CommitOffsetsRequest& request,
                v1::CommitOffsetsResponse& response) {
  for (const v1::OffsetCommit& asked : request.offsets()) {
    v1::OffsetCommitResult* result = response.add_results();
    *result->mutable_topic() = asked.topic();
    result->set_partition(asked.partition());
    PutError(refusal.why, result->mutable_error());
  }
  if (CodeOf(refusal.why) == ErrorCode::kNotCoordinator) {
    PutHint(refusal.coordinator, response.mutable_coordinator());
  }
}

}  // namespace sluice::coordinator
