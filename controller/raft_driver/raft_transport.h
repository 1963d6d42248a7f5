// How Raft messages leave and arrive. gRPC at the edge (controller/rpc), a
// lossy network in the simulator.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "controller/raft/types.h"

namespace sluice {

// All of them run on the controller's executor, never inside Send().
struct RaftTransportEvents {
  // Not OK: the sender is none of ours (INCONSISTENT_CLUSTER_ID) or talks
  // nonsense (INVALID_REQUEST): close its stream with this status and let it
  // wait before it comes back.
  std::function<absl::Status(raft::Message)> on_message;
  // Messages to the peer can be sent again. May come without a break before.
  std::function<void(NodeId)> on_link_up;
  // The stream from the peer or the one to it ended. Say so at once: a
  // follower whose leader's stream broke votes for another within 150 ms
  // instead of 800.
  std::function<void(NodeId)> on_link_broken;
};

// Promises neither order nor delivery nor an answer, and may deliver twice;
// within one unbroken stream it should keep the order, else pipelined appends
// are refused and sent again.
class RaftTransport {
 public:
  virtual ~RaftTransport() = default;

  // Before the first Send; once.
  virtual void Start(RaftTransportEvents events) = 0;
  // No event runs after it returned. On the controller's executor.
  virtual void Stop() = 0;

  // Never blocks. A message to a peer that is unknown, not connected or behind
  // by more than the transport's queue bound is dropped; Raft sends again.
  // On the controller's executor.
  virtual void Send(NodeId to, raft::Message message) = 0;
};

}  // namespace sluice
