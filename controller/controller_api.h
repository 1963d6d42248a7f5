// What a controller answers, as its gRPC edge and the simulator call it. The
// messages are the internal protobuf records (no gRPC here).
#pragma once

#include <memory>

#include "client/peers/controller_peer.h"
#include "common/env/executor.h"

namespace sluice {

// Methods may be called on any thread; each reply runs once, on the
// controller's executor. A reply's status carries an ErrorCode; NOT_CONTROLLER
// names the active controller in its message and through ActiveController().
class ControllerApi {
 public:
  virtual ~ControllerApi() = default;

  virtual void Hello(internal::v1::HelloRequest request,
                     PeerReply<internal::v1::HelloResponse> reply) = 0;
  virtual void RegisterBroker(
      internal::v1::RegisterBrokerRequest request,
      PeerReply<internal::v1::RegisterBrokerResponse> reply) = 0;
  virtual void ReportReplicas(
      internal::v1::ReportReplicasRequest request,
      PeerReply<internal::v1::ReportReplicasResponse> reply) = 0;
  virtual void AlterPartitions(
      internal::v1::AlterPartitionsRequest request,
      PeerReply<internal::v1::AlterPartitionsResponse> reply) = 0;
  virtual void AllocateProducerIds(
      internal::v1::AllocateProducerIdsRequest request,
      PeerReply<internal::v1::AllocateProducerIdsResponse> reply) = 0;
  virtual void CreateTopics(v1::CreateTopicsRequest request,
                            PeerReply<v1::CreateTopicsResponse> reply) = 0;
  virtual void CreatePartitions(
      v1::CreatePartitionsRequest request,
      PeerReply<v1::CreatePartitionsResponse> reply) = 0;
  virtual void EnsureInternalTopic(
      internal::v1::EnsureInternalTopicRequest request,
      PeerReply<internal::v1::EnsureInternalTopicResponse> reply) = 0;
  virtual void DeleteTopics(v1::DeleteTopicsRequest request,
                            PeerReply<v1::DeleteTopicsResponse> reply) = 0;
  virtual void AlterConfigs(v1::AlterConfigsRequest request,
                            PeerReply<v1::AlterConfigsResponse> reply) = 0;
  virtual void ElectLeaders(v1::ElectLeadersRequest request,
                            PeerReply<v1::ElectLeadersResponse> reply) = 0;
  virtual void DescribeQuorum(v1::DescribeQuorumRequest request,
                              PeerReply<v1::DescribeQuorumResponse> reply) = 0;

  // Where the events of accepted streams must run.
  virtual Executor* executor() = 0;
  // On executor(). kNoNode: none is known.
  virtual NodeId ActiveController() const = 0;
  // On executor(): the edge hands over the sending half and delivers what
  // comes in to the events that are returned.
  virtual PeerStreamEvents<internal::v1::LivenessRequest> AcceptLiveness(
      std::shared_ptr<PeerStream<internal::v1::LivenessResponse>> stream) = 0;
  // A stream that only sends; on_message of the events is never called.
  virtual PeerStreamEvents<internal::v1::FollowMetadataRequest>
  AcceptMetadataFollower(
      internal::v1::FollowMetadataRequest request,
      std::shared_ptr<PeerStream<internal::v1::FollowMetadataResponse>>
          stream) = 0;
};

}  // namespace sluice
