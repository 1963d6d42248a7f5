// One sluiced process: its roles, listeners and threads.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "broker/node_config.h"
#include "controller/metadata/config_registry.h"

namespace sluice {

// Used from one thread, which blocks in Start and Stop. What cannot be
// survived while it runs (a failed sync, a committed record that is unknown)
// ends the process: EndProcess.
class Node {
 public:
  // Checks the addresses, takes the data directories, opens what is in them,
  // listens, and only then lets the roles run. An error leaves nothing behind:
  // INVALID_CONFIG (an address that cannot be listened on), DATA_DIR_IN_USE,
  // DATA_DIR_MISMATCH, UNSUPPORTED_FORMAT, STORAGE_ERROR.
  static absl::StatusOr<std::unique_ptr<Node>> Start(
      NodeConfig config, std::shared_ptr<const ConfigRegistry> configs);
  // As a kill would, but in order; after Stop() nothing is left to lose.
  ~Node();
  Node(const Node&) = delete;

  // The broker hands its leaderships over (5 s at most) and closes its logs,
  // then the controller hands over Raft's. A clean marker that could not be
  // written is logged; the next start then checks the logs.
  void Stop();

 private:
  struct Parts;
  explicit Node(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice
