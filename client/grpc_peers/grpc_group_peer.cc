#include "client/grpc_peers/grpc_group_peer.h"

#include <utility>

namespace sluice {

using rpc::ClientCalls;

GrpcGroupPeer::GrpcGroupPeer(Deps deps)
    : deps_(std::move(deps)),
      group_(deps_.control),
      calls_(deps_.executor, deps_.client_id) {}

// The calls differ in their types alone.
#define SLUICE_GROUP_CALL(Method)                                         \
  void GrpcGroupPeer::Method(const v1::Method##Request& request,          \
                             int64_t timeout_us,                          \
                             PeerReply<v1::Method##Response> reply) {     \
    calls_.Start<v1::Method##Response>(                                   \
        timeout_us,                                                       \
        [&](grpc::ClientContext* context, v1::Method##Response* response, \
            ClientCalls::Done done) {                                     \
          group_.async()->Method(context, &request, response,             \
                                 std::move(done));                        \
        },                                                                \
        std::move(reply));                                                \
  }
SLUICE_GROUP_CALL(FindCoordinator)
SLUICE_GROUP_CALL(JoinGroup)
SLUICE_GROUP_CALL(SyncGroup)
SLUICE_GROUP_CALL(Heartbeat)
SLUICE_GROUP_CALL(LeaveGroup)
SLUICE_GROUP_CALL(CommitOffsets)
SLUICE_GROUP_CALL(FetchOffsets)
SLUICE_GROUP_CALL(DeleteOffsets)
SLUICE_GROUP_CALL(ListGroups)
SLUICE_GROUP_CALL(DescribeGroups)
SLUICE_GROUP_CALL(DeleteGroups)
#undef SLUICE_GROUP_CALL

}  // namespace sluice
