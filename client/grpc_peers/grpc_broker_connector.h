// How the client library reaches brokers over gRPC.
#pragma once

#include <memory>
#include <string>

#include "client/peers/leader_peer.h"

namespace sluice {

struct GrpcConnectorOptions {
  // What brokers know this client by.
  std::string client_id = "sluice-cpp";
};

// Peers connect when first called, reconnect by themselves, and outlive the
// connector if need be; see GrpcBrokerPeer for their end. The executor given
// to Connect outlives its peers. Any thread.
std::unique_ptr<BrokerConnector> MakeGrpcBrokerConnector(
    GrpcConnectorOptions options = {});

// The same for a broker that hands calls on.
std::unique_ptr<LeaderConnector> MakeGrpcLeaderConnector(
    GrpcConnectorOptions options);

}  // namespace sluice
