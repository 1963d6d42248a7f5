#include "test/bench/bench_client.h"

#include "client/grpc_peers/grpc_broker_connector.h"
#include "client/grpc_peers/grpc_group_connector.h"

namespace sluice::bench {

BenchClient::BenchClient(ClientOptions options)
    : options_(std::move(options)),
      brokers_(MakeGrpcBrokerConnector()),
      groups_(MakeGrpcGroupConnector()),
      executor_("bench"),
      deps_{&executor_, &clock_, brokers_.get(), 1} {
  Await<bool>([this](const auto& done) {
    metadata_ = std::make_unique<MetadataCache>(deps_, options_);
    connections_ = std::make_unique<GroupConnections>(groups_.get(),
                                                      deps_.executor);
    done(true);
  });
}

BenchClient::~BenchClient() {
  Await<bool>([this](const auto& done) {
    connections_.reset();
    metadata_.reset();
    done(true);
  });
}

}  // namespace sluice::bench
