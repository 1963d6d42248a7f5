#include "broker/process/node_peers.h"

#include <utility>

#include "broker/process/operating_system.h"
#include "client/grpc_peers/grpc_broker_connector.h"
#include "client/grpc_peers/grpc_controller_peer.h"
#include "client/grpc_peers/grpc_group_connector.h"
#include "client/grpc_peers/grpc_replication_connector.h"
#include "client/grpc_peers/tcp_dialer.h"
#include "common/base/str_cat.h"
#include "common/rpc/async/completion_loop.h"

namespace sluice {

struct NodePeers::Parts {
  // Before what uses it: calls of controllers and brokers to controllers.
  rpc::CompletionLoop loop{"control-calls"};
  std::vector<std::unique_ptr<GrpcControllerPeer>> controller_peers;
  std::vector<ConfiguredController> controllers;
  std::unique_ptr<ReplicationConnector> replication;
  std::unique_ptr<LeaderConnector> leaders;
  std::unique_ptr<GroupConnector> groups;
  std::unique_ptr<GrpcRaftTransport> raft;
  std::unique_ptr<TcpDialer> dialer;
};

NodePeers::NodePeers(const NodeConfig& config, NodeThreads* threads)
    : parts_(std::make_unique<Parts>()) {
  if (config.is_controller) {
    GrpcRaftTransport::Deps raft;
    raft.executor = threads->controller();
    raft.client_loop = &parts_->loop;
    for (const ControllerAddress& controller : config.controllers) {
      if (controller.id == config.node_id) continue;
      raft.peers.push_back({controller.id, controller.endpoint});
    }
    raft.random_seed = RandomSeed();
    parts_->raft = std::make_unique<GrpcRaftTransport>(std::move(raft));
    parts_->dialer = std::make_unique<TcpDialer>();
  }
  if (!config.is_broker) return;
  for (const ControllerAddress& controller : config.controllers) {
    parts_->controller_peers.push_back(std::make_unique<GrpcControllerPeer>(
        GrpcControllerPeer::Deps{&parts_->loop, threads->control(),
                                 controller.id, controller.endpoint}));
    parts_->controllers.push_back({controller.id, controller.endpoint,
                                   parts_->controller_peers.back().get()});
  }
  parts_->replication = MakeGrpcReplicationConnector();
  parts_->leaders = MakeGrpcLeaderConnector(
      {.client_id = StrCat("broker-", config.node_id)});
  parts_->groups = MakeGrpcGroupConnector(
      {.client_id = StrCat("broker-", config.node_id)});
}

NodePeers::~NodePeers() = default;

GrpcRaftTransport* NodePeers::raft_transport() { return parts_->raft.get(); }
BrokerDialer* NodePeers::dialer() { return parts_->dialer.get(); }

std::vector<ConfiguredController> NodePeers::controllers() const {
  return parts_->controllers;
}

LeaderConnector* NodePeers::leader_connector() {
  return parts_->leaders.get();
}

GroupConnector* NodePeers::group_connector() { return parts_->groups.get(); }

ReplicationConnector* NodePeers::replication_connector() {
  return parts_->replication.get();
}

void NodePeers::Stop() {
  parts_->loop.Stop();
  parts_->dialer.reset();
}

}  // namespace sluice
