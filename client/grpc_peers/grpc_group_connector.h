// How the client library, and a broker that hands calls on, reach the
// coordinators of groups over gRPC.
#pragma once

#include <memory>

#include "client/grpc_peers/grpc_broker_connector.h"
#include "client/peers/group_peer.h"

namespace sluice {

// As MakeGrpcBrokerConnector.
std::unique_ptr<GroupConnector> MakeGrpcGroupConnector(
    GrpcConnectorOptions options = {});

}  // namespace sluice
