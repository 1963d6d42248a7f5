// A view of one broker's GroupService, without a transport.
#pragma once

#include <memory>

#include "client/peers/controller_peer.h"
#include "common/api/log_api.h"
#include "common/env/executor.h"
#include "sluice/v1/group.pb.h"

namespace sluice {

// Replies run on the executor the peer was made with, each exactly once. After
// a transport error (kUnavailable, kDeadlineExceeded) a join may stand and a
// commit may have been taken.
class GroupPeer {
 public:
  virtual ~GroupPeer() = default;

  virtual const api::Endpoint& endpoint() const = 0;

  virtual void FindCoordinator(const v1::FindCoordinatorRequest& request,
                               int64_t timeout_us,
                               PeerReply<v1::FindCoordinatorResponse> reply) = 0;
  virtual void JoinGroup(const v1::JoinGroupRequest& request,
                         int64_t timeout_us,
                         PeerReply<v1::JoinGroupResponse> reply) = 0;
  virtual void SyncGroup(const v1::SyncGroupRequest& request,
                         int64_t timeout_us,
                         PeerReply<v1::SyncGroupResponse> reply) = 0;
  virtual void Heartbeat(const v1::HeartbeatRequest& request,
                         int64_t timeout_us,
                         PeerReply<v1::HeartbeatResponse> reply) = 0;
  virtual void LeaveGroup(const v1::LeaveGroupRequest& request,
                          int64_t timeout_us,
                          PeerReply<v1::LeaveGroupResponse> reply) = 0;
  virtual void CommitOffsets(const v1::CommitOffsetsRequest& request,
                             int64_t timeout_us,
                             PeerReply<v1::CommitOffsetsResponse> reply) = 0;
  virtual void FetchOffsets(const v1::FetchOffsetsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::FetchOffsetsResponse> reply) = 0;
  virtual void DeleteOffsets(const v1::DeleteOffsetsRequest& request,
                             int64_t timeout_us,
                             PeerReply<v1::DeleteOffsetsResponse> reply) = 0;
  virtual void ListGroups(const v1::ListGroupsRequest& request,
                          int64_t timeout_us,
                          PeerReply<v1::ListGroupsResponse> reply) = 0;
  virtual void DescribeGroups(const v1::DescribeGroupsRequest& request,
                              int64_t timeout_us,
                              PeerReply<v1::DescribeGroupsResponse> reply) = 0;
  virtual void DeleteGroups(const v1::DeleteGroupsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::DeleteGroupsResponse> reply) = 0;
};

// Makes peers by address.
class GroupConnector {
 public:
  virtual ~GroupConnector() = default;
  virtual std::shared_ptr<GroupPeer> ConnectGroups(
      const api::Endpoint& endpoint, Executor* executor) = 0;
};

}  // namespace sluice
