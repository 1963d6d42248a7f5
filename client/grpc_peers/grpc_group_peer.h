// A broker's GroupService over gRPC.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "client/peers/group_peer.h"
#include "common/rpc/client_calls.h"
#include "sluice/v1/group.grpc.pb.h"

namespace sluice {

// On a control channel: a coordinator that hangs is noticed by its keepalive
// long before the time that a JoinGroup may take. When it is destroyed the calls
// under way are answered with kUnavailable, and nothing is posted afterwards.
class GrpcGroupPeer final : public GroupPeer {
 public:
  struct Deps {
    api::Endpoint endpoint;
    Executor* executor = nullptr;
    std::shared_ptr<grpc::Channel> control;
    std::string client_id;
  };

  explicit GrpcGroupPeer(Deps deps);

  const api::Endpoint& endpoint() const override { return deps_.endpoint; }

  void FindCoordinator(const v1::FindCoordinatorRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::FindCoordinatorResponse> reply) override;
  void JoinGroup(const v1::JoinGroupRequest& request, int64_t timeout_us,
                 PeerReply<v1::JoinGroupResponse> reply) override;
  void SyncGroup(const v1::SyncGroupRequest& request, int64_t timeout_us,
                 PeerReply<v1::SyncGroupResponse> reply) override;
  void Heartbeat(const v1::HeartbeatRequest& request, int64_t timeout_us,
                 PeerReply<v1::HeartbeatResponse> reply) override;
  void LeaveGroup(const v1::LeaveGroupRequest& request, int64_t timeout_us,
                  PeerReply<v1::LeaveGroupResponse> reply) override;
  void CommitOffsets(const v1::CommitOffsetsRequest& request,
                     int64_t timeout_us,
                     PeerReply<v1::CommitOffsetsResponse> reply) override;
  void FetchOffsets(const v1::FetchOffsetsRequest& request, int64_t timeout_us,
                    PeerReply<v1::FetchOffsetsResponse> reply) override;
  void DeleteOffsets(const v1::DeleteOffsetsRequest& request,
                     int64_t timeout_us,
                     PeerReply<v1::DeleteOffsetsResponse> reply) override;
  void ListGroups(const v1::ListGroupsRequest& request, int64_t timeout_us,
                  PeerReply<v1::ListGroupsResponse> reply) override;
  void DescribeGroups(const v1::DescribeGroupsRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeGroupsResponse> reply) override;
  void DeleteGroups(const v1::DeleteGroupsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteGroupsResponse> reply) override;

 private:
  const Deps deps_;
  v1::GroupService::Stub group_;
  rpc::ClientCalls calls_;
};

}  // namespace sluice
