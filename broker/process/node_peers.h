// What one process needs to talk to the others: clients of their internal
// listeners.
#pragma once

#include <memory>
#include <vector>

#include "broker/control/controller_directory.h"
#include "broker/node_config.h"
#include "broker/process/node_threads.h"
#include "client/peers/controller_peer.h"
#include "client/peers/group_peer.h"
#include "client/peers/leader_peer.h"
#include "client/peers/replication_stream.h"
#include "controller/rpc/grpc_raft_transport.h"

namespace sluice {

class NodePeers {
 public:
  NodePeers(const NodeConfig& config, NodeThreads* threads);
  ~NodePeers();
  NodePeers(const NodePeers&) = delete;

  // ---- Of a controller ----
  GrpcRaftTransport* raft_transport();
  BrokerDialer* dialer();

  // ---- Of a broker ----
  std::vector<ConfiguredController> controllers() const;
  ReplicationConnector* replication_connector();
  LeaderConnector* leader_connector();
  GroupConnector* group_connector();

  // Ends every call; before the threads end.
  void Stop();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice
