#include "client/grpc_peers/grpc_group_connector.h"

#include <utility>

#include "client/grpc_peers/grpc_group_peer.h"
#include "common/rpc/channels.h"

namespace sluice {
namespace {

class GrpcGroupConnector final : public GroupConnector {
 public:
  explicit GrpcGroupConnector(GrpcConnectorOptions options)
      : options_(std::move(options)) {}

  std::shared_ptr<GroupPeer> ConnectGroups(const api::Endpoint& endpoint,
                                           Executor* executor) override {
    GrpcGroupPeer::Deps deps;
    deps.endpoint = endpoint;
    deps.executor = executor;
    deps.control = rpc::MakeChannel(endpoint, rpc::ChannelUse::kControl);
    deps.client_id = options_.client_id;
    return std::make_shared<GrpcGroupPeer>(std::move(deps));
  }

 private:
  // A client's broker connector, or a broker's listeners, keep gRPC awake.
  const GrpcConnectorOptions options_;
};

}  // namespace

std::unique_ptr<GroupConnector> MakeGrpcGroupConnector(
    GrpcConnectorOptions options) {
  return std::make_unique<GrpcGroupConnector>(std::move(options));
}

}  // namespace sluice
