// The two gRPC listeners of a process: PUBLIC for clients of a broker,
// INTERNAL for brokers and controllers.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "broker/broker.h"
#include "broker/node_config.h"
#include "broker/process/node_peers.h"
#include "common/env/clock.h"
#include "controller/controller_api.h"

namespace sluice {

class NodeListeners {
 public:
  struct Deps {
    const NodeConfig* config = nullptr;
    const Clock* clock = nullptr;
    NodePeers* peers = nullptr;
    ControllerApi* controller = nullptr;  // null: not this role
    Broker* broker = nullptr;             // null: not this role
  };

  // Listens on return. INVALID_CONFIG names the address and the reason.
  static absl::StatusOr<std::unique_ptr<NodeListeners>> Start(Deps deps);
  ~NodeListeners();
  NodeListeners(const NodeListeners&) = delete;

  // What health checks on the public listener are told. Any thread.
  void SetServing(bool serving);
  // New calls are refused with SHUTTING_DOWN, long polls and streams end with
  // it, so that clients turn to another broker.
  void DrainPublic();
  // No client is served any more; answers under way have a moment.
  void StopPublic();
  // Nothing comes in any more. Idempotent.
  void Stop();

 private:
  struct Parts;
  explicit NodeListeners(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice
