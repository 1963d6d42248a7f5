// Elections and resets that operators order: the first by the controllers, the
// second on this broker.
#include <algorithm>
#include <utility>

#include "broker/control/admin_handlers.h"
#include "broker/control/metadata_answers.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "controller/metadata/control_result.h"

namespace sluice {
namespace {

// An attempt whose answer got lost may have elected already.
void ForgetOwnElection(v1::ElectLeadersResponse& response, bool uncertain) {
  if (!uncertain) return;
  for (auto& result : *response.mutable_results()) {
    if (result.error().code() == v1::ERROR_CODE_ELECTION_NOT_NEEDED) {
      result.clear_error();
    }
  }
}

absl::StatusOr<ReplicaReset> OrderOf(const MetadataImage& image, NodeId self,
                                     const v1::ResetReplicaRequest& request) {
  if (NodeId(request.broker_id()) != self) {
    return MakeError(ErrorCode::kInvalidRequest, "broker ", self,
                     " was asked to reset a replica of broker ",
                     request.broker_id(), "; ask that one");
  }
  v1::Error unknown;
  const TopicImage* topic = FindTopicRef(image, request.topic(), &unknown);
  if (topic == nullptr) {
    return MakeErrorStatus(
        CodeFromNumber(static_cast<int32_t>(unknown.code())),
        unknown.message());
  }
  ReplicaReset order;
  order.tp = {topic->id, PartitionIndex(request.partition())};
  order.without_leader = request.without_leader();
  order.validate_only = request.validate_only();
  if (image.FindPartition(order.tp) == nullptr) {
    return MakeError(ErrorCode::kUnknownTopicOrPartition, "topic ",
                     topic->name, " has no partition ", request.partition());
  }
  return order;
}

}  // namespace

void AdminHandlers::ElectLeaders(const api::CallContext& context,
                                 v1::ElectLeadersRequest request,
                                 PeerReply<v1::ElectLeadersResponse> reply) {
  const int topics = std::max(request.topics_size(), 1);
  Forward(context, std::move(request), topics, &ControllerPeer::ElectLeaders,
          &ForgetOwnElection, std::move(reply));
}

void AdminHandlers::ResetReplica(const api::CallContext&,
                                 v1::ResetReplicaRequest request,
                                 PeerReply<v1::ResetReplicaResponse> reply) {
  using Response = v1::ResetReplicaResponse;
  Run<Response>(
      std::move(reply), [this, request = std::move(request)](
                            PeerReply<Response> answer) mutable {
        const auto order = OrderOf(*deps_.image(), deps_.node_id, request);
        if (!order.ok()) {
          answer(order.status());
          return;
        }
        deps_.reset_replica(
            *order, [answer = std::move(answer)](
                        absl::StatusOr<std::string> failed) mutable {
              Response response;
              if (failed.ok()) {
                response.set_set_aside(*std::move(failed));
              } else {
                *response.mutable_error() = ToError(failed.status());
              }
              answer(std::move(response));
            });
      });
}

}  // namespace sluice
