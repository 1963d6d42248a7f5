// The public listener of a broker: five services, one gate, health and
// reflection.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "broker/broker_api.h"
#include "broker/consume_api.h"
#include "broker/group_api.h"
#include "broker/rpc/cluster_service.h"
#include "broker/rpc/group_service.h"
#include "broker/rpc/log_service.h"
#include "broker/rpc/topic_service.h"
#include "broker/rpc/transaction_service.h"
#include "common/env/clock.h"
#include "common/rpc/gate.h"
#include "common/rpc/server.h"

namespace sluice {

// Any thread, but Stop and the destructor from one that is none of gRPC's.
class PublicEdge {
 public:
  struct Options {
    std::string listener = "PUBLIC";
    // Without a host: no port, InProcessChannel() alone.
    api::Endpoint bind;
    rpc::GateLimits limits;
    GroupApi* groups = nullptr;       // null: none are served
    ConsumeApi* consumers = nullptr;  // null: Consume is not
  };

  // INVALID_CONFIG: cannot listen there. `broker` and `clock` outlive it.
  static absl::StatusOr<std::unique_ptr<PublicEdge>> Start(
      Options options, BrokerApi* broker, const Clock* clock);
  // Stop(0) if it was not called.
  ~PublicEdge();

  int port() const { return server_->port(); }
  const rpc::Gate& gate() const { return *gate_; }

  // What health checks are told; false at first and for good after Drain().
  void SetServing(bool serving);

  // Refuses new calls with SHUTTING_DOWN and ends streams and long polls with
  // it, so that clients turn to another broker; the other calls go on.
  void Drain();

  // Drain(), then `grace_ms` for the calls under way. When it returned no call
  // of this listener is left, but handlers may still hold what they have.
  void Stop(int64_t grace_ms);

  std::shared_ptr<grpc::Channel> InProcessChannel(
      const grpc::ChannelArguments& arguments) {
    return server_->InProcessChannel(arguments);
  }

 private:
  PublicEdge(BrokerApi* broker, std::shared_ptr<rpc::Gate> gate);

  const std::shared_ptr<rpc::Gate> gate_;
  LogService log_;
  ClusterService cluster_;
  TopicService topic_;
  TransactionService transaction_;
  std::unique_ptr<GroupService> group_;  // null: none are served
  std::unique_ptr<rpc::RpcServer> server_;  // ends before its services

  std::mutex mutex_;
  bool draining_ = false;  // guarded by mutex_
};

}  // namespace sluice
