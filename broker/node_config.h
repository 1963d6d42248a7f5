// What one sluiced process was told to be: parsed and checked once, at the
// start, so that nothing below asks flags or defaults again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/memory_budgets.h"
#include "common/api/log_api.h"
#include "common/base/ids.h"

namespace sluice {

struct ControllerAddress {
  NodeId id;
  api::Endpoint endpoint;  // of its internal listener
};

// As given on the command line.
struct NodeFlags {
  int32_t node_id = 0;
  std::string roles;
  std::string cluster_name;
  std::string listen;
  std::string advertise;
  std::string internal_listen;
  std::string internal_advertise;
  std::string controllers;
  std::string data_dirs;
  std::string rack;
  std::string metrics_listen;
  int32_t shards = 0;
  bool insecure = false;
  MemoryBudgets memory;
  int64_t thread_slice_us = 0;  // 0: the kernel's own
  int32_t realtime_priority = 0;  // 0: none
  std::string settings;  // --set
};

struct NodeConfig {
  NodeId node_id;
  bool is_controller = false;
  bool is_broker = false;
  std::string cluster_name;
  api::Endpoint listen;              // brokers
  api::Endpoint advertise;           // brokers: listen unless told
  api::Endpoint internal_listen;
  api::Endpoint internal_advertise;  // internal_listen unless told
  std::vector<ControllerAddress> controllers;  // by id
  std::vector<std::string> data_dirs;  // the controller's log is in the first
  std::string rack;
  std::optional<api::Endpoint> metrics_listen;
  int32_t shards = 1;
  bool insecure = false;
  MemoryBudgets memory;
  int32_t realtime_priority = 0;  // 0: none
  std::map<std::string, std::string> settings;  // checked by the registry
};

inline constexpr int32_t kNodeIdMax = 1 << 20;
inline constexpr int32_t kShardsMax = 256;
// What the kernel gives its own threads for interrupts.
inline constexpr int32_t kRealtimePriorityMax = 50;

// `cores`: the default of shards. INVALID_REQUEST names the flag, what it was,
// and what it should be; INSECURE_LISTENER for a listener beyond loopback
// without --insecure.
absl::StatusOr<NodeConfig> ParseNodeFlags(const NodeFlags& flags,
                                          int32_t cores);

// 127.0.0.0/8, ::1 and localhost.
bool IsLoopback(const std::string& host);

}  // namespace sluice
