#include "client/grpc_peers/grpc_broker_connector.h"

#include <utility>

#include "client/grpc_peers/grpc_broker_peer.h"
#include "common/rpc/channels.h"
#include "common/rpc/keep_awake.h"

namespace sluice {
namespace {

std::shared_ptr<GrpcBrokerPeer> MakePeer(const api::Endpoint& endpoint,
                                         Executor* executor,
                                         const std::string& client_id) {
  GrpcBrokerPeer::Deps deps;
  deps.endpoint = endpoint;
  deps.executor = executor;
  deps.data = rpc::MakeChannel(endpoint, rpc::ChannelUse::kData);
  deps.control = rpc::MakeChannel(endpoint, rpc::ChannelUse::kControl);
  deps.client_id = client_id;
  return std::make_shared<GrpcBrokerPeer>(std::move(deps));
}

class GrpcBrokerConnector final : public BrokerConnector {
 public:
  explicit GrpcBrokerConnector(GrpcConnectorOptions options)
      : options_(std::move(options)) {}

  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return MakePeer(endpoint, executor, options_.client_id);
  }

 private:
  const GrpcConnectorOptions options_;
  rpc::KeepAwake keep_awake_;
};

// A broker's own listeners keep gRPC awake.
class GrpcLeaderConnector final : public LeaderConnector {
 public:
  explicit GrpcLeaderConnector(GrpcConnectorOptions options)
      : options_(std::move(options)) {}

  std::shared_ptr<LeaderPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return MakePeer(endpoint, executor, options_.client_id);
  }

 private:
  const GrpcConnectorOptions options_;
};

}  // namespace

std::unique_ptr<BrokerConnector> MakeGrpcBrokerConnector(
    GrpcConnectorOptions options) {
  return std::make_unique<GrpcBrokerConnector>(std::move(options));
}

std::unique_ptr<LeaderConnector> MakeGrpcLeaderConnector(
    GrpcConnectorOptions options) {
  return std::make_unique<GrpcLeaderConnector>(std::move(options));
}

}  // namespace sluice
