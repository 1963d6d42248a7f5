#include "broker/node_config.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

constexpr size_t kRackBytesMax = 249;  // as a topic's name

template <class... Parts>
absl::Status Bad(const Parts&... parts) {
  return MakeError(ErrorCode::kInvalidRequest, parts...);
}

absl::Status ParseRoles(const std::string& text, NodeConfig& config) {
  for (absl::string_view role : absl::StrSplit(text, ',')) {
    if (role == "controller") {
      config.is_controller = true;
    } else if (role == "broker") {
      config.is_broker = true;
    } else {
      return Bad("--roles=", text, ": '", StdView(role),
                 "' is no role; use controller, broker or controller,broker");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<api::Endpoint> ParseListener(const char* flag,
                                            const std::string& text) {
  const auto endpoint = api::ParseEndpoint(text);
  if (!endpoint.has_value()) {
    return Bad("--", flag, "=", text,
               ": not an address; use host:port, for example "
               "127.0.0.1:9001");
  }
  return *endpoint;
}

// What others are told must lead here from where they are.
absl::Status CheckAdvertised(const char* flag, const api::Endpoint& endpoint) {
  if (endpoint.host != "0.0.0.0" && endpoint.host != "[::]" &&
      endpoint.port != 0) {
    return absl::OkStatus();
  }
  return Bad("--", flag, "=", endpoint.ToString(),
             ": others are told this address and cannot connect to it; give "
             "a host and port by which they reach this node");
}

absl::Status CheckLoopback(const char* flag, const api::Endpoint& endpoint,
                           bool insecure) {
  if (insecure || IsLoopback(endpoint.host)) return absl::OkStatus();
  return MakeError(
      ErrorCode::kInsecureListener, "--", flag, "=", endpoint.ToString(),
      " can be reached from other hosts, and this version encrypts and "
      "authenticates nothing. Listen on 127.0.0.1, or say --insecure if the "
      "network is trusted");
}

absl::Status ParseControllers(const std::string& text, NodeConfig& config) {
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<std::string> halves =
        absl::StrSplit(part, absl::MaxSplits('@', 1));
    int32_t id = 0;
    const auto endpoint =
        halves.size() == 2 ? api::ParseEndpoint(halves[1]) : std::nullopt;
    if (!endpoint.has_value() || !absl::SimpleAtoi(halves[0], &id) ||
        id < 1 || id > kNodeIdMax) {
      return Bad("--controllers=", text, ": '", StdView(part),
                 "' is not id@host:port; for example "
                 "1@127.0.0.1:9101,2@127.0.0.1:9102");
    }
    for (const ControllerAddress& other : config.controllers) {
      if (other.id == NodeId(id)) {
        return Bad("--controllers=", text, ": id ", id, " stands twice");
      }
    }
    config.controllers.push_back({NodeId(id), *endpoint});
  }
  std::sort(config.controllers.begin(), config.controllers.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  if (config.is_controller &&
      std::none_of(config.controllers.begin(), config.controllers.end(),
                   [&](const auto& c) { return c.id == config.node_id; })) {
    return Bad("--controllers=", text, ": this controller (--node_id=",
               config.node_id, ") is not among them");
  }
  return absl::OkStatus();
}

absl::Status ParseSettings(const std::string& text, NodeConfig& config) {
  if (text.empty()) return absl::OkStatus();
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<std::string> halves =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    if (halves.size() != 2 || halves[0].empty()) {
      return Bad("--set=", text, ": '", StdView(part),
                 "' is not key=value; for example "
                 "--set=min.insync.replicas=2,durability=memory");
    }
    if (!config.settings.emplace(halves[0], halves[1]).second) {
      return Bad("--set=", text, ": ", halves[0], " stands twice");
    }
  }
  return absl::OkStatus();
}

absl::Status ParseBrokerListeners(const NodeFlags& flags,
                                  NodeConfig& config) {
  ASSIGN_OR_RETURN(config.listen, ParseListener("listen", flags.listen));
  RETURN_IF_ERROR(CheckLoopback("listen", config.listen, config.insecure));
  config.advertise = config.listen;
  if (!flags.advertise.empty()) {
    ASSIGN_OR_RETURN(config.advertise,
                     ParseListener("advertise", flags.advertise));
  }
  return CheckAdvertised("advertise", config.advertise);
}

absl::Status ParseDirectories(const std::string& text, NodeConfig& config) {
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    if (part.empty()) {
      return Bad("--data_dirs=", text,
                 ": needs at least one directory, separated by commas");
    }
    config.data_dirs.emplace_back(part);
  }
  return absl::OkStatus();
}

absl::Status CheckBudget(const char* flag, int64_t bytes, int64_t min) {
  if (bytes >= min) return absl::OkStatus();
  return Bad("--", flag, "=", bytes, ": needs at least ", min, " bytes");
}

absl::Status CheckMemory(const MemoryBudgets& memory) {
  RETURN_IF_ERROR(CheckBudget("produce_memory_bytes", memory.produce_bytes,
                              MemoryBudgets::kProduceBytesMin));
  RETURN_IF_ERROR(CheckBudget("fetch_memory_bytes", memory.fetch_bytes,
                              MemoryBudgets::kFetchBytesMin));
  RETURN_IF_ERROR(CheckBudget("subscribe_memory_bytes", memory.subscribe_bytes,
                              MemoryBudgets::kSubscribeBytesMin));
  return CheckBudget("replication_memory_bytes", memory.replication_bytes,
                     MemoryBudgets::kReplicationBytesMin);
}

}  // namespace

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "[::1]" || host == "::1" ||
         host.rfind("127.", 0) == 0;
}

absl::StatusOr<NodeConfig> ParseNodeFlags(const NodeFlags& flags,
                                          int32_t cores) {
  NodeConfig config;
  config.insecure = flags.insecure;
  if (flags.node_id < 1 || flags.node_id > kNodeIdMax) {
    return Bad("--node_id=", flags.node_id, ": needs a number from 1 to ",
               kNodeIdMax, ", a different one for each node");
  }
  config.node_id = NodeId(flags.node_id);
  RETURN_IF_ERROR(ParseRoles(flags.roles, config));
  if (flags.cluster_name.empty() || flags.cluster_name.size() > 100) {
    return Bad("--cluster_name: needs 1 to 100 characters, the same on every "
               "node");
  }
  config.cluster_name = flags.cluster_name;
  if (config.is_broker) RETURN_IF_ERROR(ParseBrokerListeners(flags, config));
  ASSIGN_OR_RETURN(config.internal_listen,
                   ParseListener("internal_listen", flags.internal_listen));
  RETURN_IF_ERROR(CheckLoopback("internal_listen", config.internal_listen,
                                config.insecure));
  config.internal_advertise = config.internal_listen;
  if (!flags.internal_advertise.empty()) {
    ASSIGN_OR_RETURN(
        config.internal_advertise,
        ParseListener("internal_advertise", flags.internal_advertise));
  }
  RETURN_IF_ERROR(
      CheckAdvertised("internal_advertise", config.internal_advertise));
  if (!flags.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(config.metrics_listen,
                     ParseListener("metrics_listen", flags.metrics_listen));
    RETURN_IF_ERROR(CheckLoopback("metrics_listen", *config.metrics_listen,
                                  config.insecure));
  }
  RETURN_IF_ERROR(ParseControllers(flags.controllers, config));
  RETURN_IF_ERROR(ParseDirectories(flags.data_dirs, config));
  RETURN_IF_ERROR(ParseSettings(flags.settings, config));
  if (flags.rack.size() > kRackBytesMax) {
    return Bad("--rack: ", flags.rack.size(), " bytes; a rack's name has ",
               kRackBytesMax, " at most");
  }
  config.rack = flags.rack;
  RETURN_IF_ERROR(CheckMemory(flags.memory));
  config.memory = flags.memory;
  if (flags.realtime_priority < 0 ||
      flags.realtime_priority > kRealtimePriorityMax) {
    return Bad("--realtime_priority=", flags.realtime_priority,
               ": needs 1 to ", kRealtimePriorityMax, ", or 0 for none");
  }
  config.realtime_priority = flags.realtime_priority;
  if (flags.shards < 0 || flags.shards > kShardsMax) {
    return Bad("--shards=", flags.shards, ": needs 0 (one a core) to ",
               kShardsMax);
  }
  config.shards = flags.shards > 0 ? flags.shards
                                   : std::clamp(cores, 1, kShardsMax);
  return config;
}

}  // namespace sluice
