// One controller, over gRPC.
#pragma once

#include <grpcpp/channel.h>

#include <memory>

#include "client/peers/controller_peer.h"
#include "common/rpc/async/completion_loop.h"

namespace sluice {

// Has one connection for all calls and streams, made when first used and again
// when it breaks (common/rpc/channels.h). Methods may be called from any
// thread; replies and events run on deps.executor.
//
// Order: the loop stops before the executor ends (its Stop answers what is in
// flight, kUnavailable), the peer may go before or after; calls made after the
// loop stopped are answered kUnavailable.
class GrpcControllerPeer final : public ControllerPeer {
 public:
  struct Deps {
    rpc::CompletionLoop* loop = nullptr;  // control calls of this process
    Executor* executor = nullptr;
    NodeId id;
    api::Endpoint endpoint;  // its internal listener
  };

  explicit GrpcControllerPeer(Deps deps);

  NodeId id() const override { return deps_.id; }

  void Hello(const internal::v1::HelloRequest& request, int64_t timeout_us,
             PeerReply<internal::v1::HelloResponse> reply) override;
  void RegisterBroker(
      const internal::v1::RegisterBrokerRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::RegisterBrokerResponse> reply) override;
  void ReportReplicas(
      const internal::v1::ReportReplicasRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::ReportReplicasResponse> reply) override;
  void AlterPartitions(
      const internal::v1::AlterPartitionsRequest& request, int64_t timeout_us,
      PeerReply<internal::v1::AlterPartitionsResponse> reply) override;
  void AllocateProducerIds(
      const internal::v1::AllocateProducerIdsRequest& request,
      int64_t timeout_us,
      PeerReply<internal::v1::AllocateProducerIdsResponse> reply) override;
  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override;
  void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) override;
  void EnsureInternalTopic(
      const internal::v1::EnsureInternalTopicRequest& request,
      int64_t timeout_us,
      PeerReply<internal::v1::EnsureInternalTopicResponse> reply) override;
  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override;
  void AlterConfigs(const v1::AlterConfigsRequest& request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply) override;
  void ElectLeaders(const v1::ElectLeadersRequest& request, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply) override;
  void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override;

  std::shared_ptr<LivenessStream> OpenLiveness(
      PeerStreamEvents<internal::v1::LivenessResponse> events) override;
  std::shared_ptr<MetadataStream> FollowMetadata(
      const internal::v1::FollowMetadataRequest& request,
      PeerStreamEvents<internal::v1::FollowMetadataResponse> events) override;

 private:
  template <class Request, class Response>
  void Call(const char* method, const Request& request, int64_t timeout_us,
            PeerReply<Response> reply);
  template <class Request, class Response>
  std::shared_ptr<PeerStream<Request>> Open(const char* method,
                                            const Request* only_request,
                                            PeerStreamEvents<Response> events);

  const Deps deps_;
  const std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace sluice
