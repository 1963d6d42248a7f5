// What a broker answers to members and administrators of consumer groups.
#pragma once

#include "client/peers/group_peer.h"
#include "common/api/log_api.h"

// The unary calls of GroupService: they differ in their types alone.
#define SLUICE_GROUP_CALLS(X) \
  X(FindCoordinator)          \
  X(JoinGroup)                \
  X(SyncGroup)                \
  X(Heartbeat)                \
  X(LeaveGroup)               \
  X(CommitOffsets)            \
  X(FetchOffsets)             \
  X(DeleteOffsets)            \
  X(ListGroups)               \
  X(DescribeGroups)           \
  X(DeleteGroups)

namespace sluice {

// Methods may be called on any thread and never block. Each reply runs once, on
// a thread of the broker's; what a group refuses is in the response, a non-OK
// status fails the whole request and carries an ErrorCode. What comes by the
// internal listener was handed on by another broker and is not handed on again.
class GroupApi {
 public:
  virtual ~GroupApi() = default;

#define SLUICE_GROUP_CALL(Name)                                           \
  virtual void Name(const api::CallContext& context,                      \
                    v1::Name##Request request,                            \
                    PeerReply<v1::Name##Response> reply) = 0;
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL
};

}  // namespace sluice
