#include "client/grpc_peers/grpc_controller_peer.h"

#include <string>
#include <utility>

#include "client/grpc_peers/peer_streams.h"
#include "common/base/str_cat.h"
#include "common/rpc/async/cq_client_stream.h"
#include "common/rpc/async/cq_unary.h"
#include "common/rpc/channels.h"

namespace sluice {
namespace {

std::string MethodPath(const char* method) {
  return StrCat("/sluice.internal.v1.ControllerService/", method);
}

}  // namespace

GrpcControllerPeer::GrpcControllerPeer(Deps deps)
    : deps_(std::move(deps)),
      channel_(rpc::MakeChannel(deps_.endpoint, rpc::ChannelUse::kControl)) {}

template <class Request, class Response>
void GrpcControllerPeer::Call(const char* method, const Request& request,
                              int64_t timeout_us, PeerReply<Response> reply) {
  rpc::CqUnaryCall<Request, Response>::Start(
      {deps_.loop, channel_, MethodPath(method), deps_.executor}, request,
      timeout_us, std::move(reply));
}

template <class Request, class Response>
std::shared_ptr<PeerStream<Request>> GrpcControllerPeer::Open(
    const char* method, const Request* only_request,
    PeerStreamEvents<Response> events) {
  auto stream = rpc::CqClientStream<Response, Request>::Open(
      {.loop = deps_.loop,
       .channel = channel_,
       .method = MethodPath(method),
       .single_request = only_request != nullptr,
       .options = {.executor = deps_.executor}},
      ToMessageEvents(std::move(events)));
  auto held = std::make_shared<RpcPeerStream<Response, Request>>(stream);
  if (only_request != nullptr) held->Send(*only_request);
  return held;
}

void GrpcControllerPeer::Hello(const internal::v1::HelloRequest& request,
                               int64_t timeout_us,
                               PeerReply<internal::v1::HelloResponse> reply) {
  Call("Hello", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::RegisterBroker(
    const internal::v1::RegisterBrokerRequest& request, int64_t timeout_us,
    PeerReply<internal::v1::RegisterBrokerResponse> reply) {
  Call("RegisterBroker", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::ReportReplicas(
    const internal::v1::ReportReplicasRequest& request, int64_t timeout_us,
    PeerReply<internal::v1::ReportReplicasResponse> reply) {
  Call("ReportReplicas", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::AlterPartitions(
    const internal::v1::AlterPartitionsRequest& request, int64_t timeout_us,
    PeerReply<internal::v1::AlterPartitionsResponse> reply) {
  Call("AlterPartitions", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::AllocateProducerIds(
    const internal::v1::AllocateProducerIdsRequest& request,
    int64_t timeout_us,
    PeerReply<internal::v1::AllocateProducerIdsResponse> reply) {
  Call("AllocateProducerIds", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::CreateTopics(
    const v1::CreateTopicsRequest& request, int64_t timeout_us,
    PeerReply<v1::CreateTopicsResponse> reply) {
  Call("CreateTopics", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::CreatePartitions(
    const v1::CreatePartitionsRequest& request, int64_t timeout_us,
    PeerReply<v1::CreatePartitionsResponse> reply) {
  Call("CreatePartitions", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::EnsureInternalTopic(
    const internal::v1::EnsureInternalTopicRequest& request,
    int64_t timeout_us,
    PeerReply<internal::v1::EnsureInternalTopicResponse> reply) {
  Call("EnsureInternalTopic", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::DeleteTopics(
    const v1::DeleteTopicsRequest& request, int64_t timeout_us,
    PeerReply<v1::DeleteTopicsResponse> reply) {
  Call("DeleteTopics", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::AlterConfigs(
    const v1::AlterConfigsRequest& request, int64_t timeout_us,
    PeerReply<v1::AlterConfigsResponse> reply) {
  Call("AlterConfigs", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::ElectLeaders(
    const v1::ElectLeadersRequest& request, int64_t timeout_us,
    PeerReply<v1::ElectLeadersResponse> reply) {
  Call("ElectLeaders", request, timeout_us, std::move(reply));
}

void GrpcControllerPeer::DescribeQuorum(
    const v1::DescribeQuorumRequest& request, int64_t timeout_us,
    PeerReply<v1::DescribeQuorumResponse> reply) {
  Call("DescribeQuorum", request, timeout_us, std::move(reply));
}

std::shared_ptr<LivenessStream> GrpcControllerPeer::OpenLiveness(
    PeerStreamEvents<internal::v1::LivenessResponse> events) {
  return Open<internal::v1::LivenessRequest>("Liveness", nullptr,
                                             std::move(events));
}

std::shared_ptr<MetadataStream> GrpcControllerPeer::FollowMetadata(
    const internal::v1::FollowMetadataRequest& request,
    PeerStreamEvents<internal::v1::FollowMetadataResponse> events) {
  return Open("FollowMetadata", &request, std::move(events));
}

}  // namespace sluice
