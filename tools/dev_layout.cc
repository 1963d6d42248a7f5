#include "tools/dev_layout.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice::cli {
namespace {

constexpr int kInternalFrom = 100;
constexpr int kMetricsFrom = 200;
constexpr int kControllerInternalFrom = 300;
constexpr int kControllerMetricsFrom = 400;
constexpr int kControllerIdFrom = 100;
constexpr int kCombinedControllers = 3;

std::string Local(int port) { return "127.0.0.1:" + std::to_string(port); }

absl::Status CheckKept(const char* flag, const std::optional<int>& wish,
                       int there, const std::string& directory) {
  if (!wish.has_value() || *wish == there) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest, directory,
                   " holds a cluster with ", flag, " ", there, ", not ", *wish,
                   "; leave ", flag,
                   " out to resume it, or name another --dir");
}

bool InRange(const DevShape& shape) {
  return shape.nodes >= 1 && shape.nodes <= DevShape::kNodesMax &&
         shape.controllers >= 0 &&
         shape.controllers <= DevShape::kControllersMax &&
         shape.port_base >= 1 && shape.port_base <= 65'535 - kDevPortsSpan;
}

}  // namespace

std::vector<DevNode> NodesOf(const DevShape& shape) {
  std::vector<DevNode> nodes;
  for (int i = 1; i <= shape.nodes; ++i) {
    nodes.push_back({"node-" + std::to_string(i), i, true,
                     shape.controllers == 0 && i <= kCombinedControllers,
                     shape.port_base + i, shape.port_base + kInternalFrom + i,
                     shape.port_base + kMetricsFrom + i});
  }
  for (int i = 1; i <= shape.controllers; ++i) {
    nodes.push_back({"controller-" + std::to_string(i), kControllerIdFrom + i,
                     false, true, 0,
                     shape.port_base + kControllerInternalFrom + i,
                     shape.port_base + kControllerMetricsFrom + i});
  }
  return nodes;
}

std::string BootstrapOf(const DevShape& shape) {
  std::string all;
  for (const DevNode& node : NodesOf(shape)) {
    if (!node.is_broker) continue;
    all += (all.empty() ? "" : ",") + Local(node.client_port);
  }
  return all;
}

std::string FlagsOf(const DevShape& shape, const DevNode& node,
                    const std::string& directory) {
  std::string quorum;
  for (const DevNode& other : NodesOf(shape)) {
    if (!other.is_controller) continue;
    quorum += (quorum.empty() ? "" : ",") + std::to_string(other.id) + "@" +
              Local(other.internal_port);
  }
  const char* roles = !node.is_broker      ? "controller"
                      : node.is_controller ? "controller,broker"
                                           : "broker";
  std::string flags = "--node_id=" + std::to_string(node.id) +
                      "\n--roles=" + roles +
                      "\n--cluster_name=dev\n--internal_listen=" +
                      Local(node.internal_port) + "\n--controllers=" + quorum +
                      "\n--data_dirs=" + directory + "/" + node.name +
                      "/data\n--metrics_listen=" + Local(node.metrics_port) +
                      "\n";
  if (node.is_broker) flags += "--listen=" + Local(node.client_port) + "\n";
  if (!shape.settings.empty()) flags += "--set=" + shape.settings + "\n";
  return flags;
}

std::string DevJson(const DevShape& shape) {
  nlohmann::ordered_json json;
  json["nodes"] = shape.nodes;
  json["controllers"] = shape.controllers;
  json["portBase"] = shape.port_base;
  json["settings"] = shape.settings;
  json["bootstrap"] = BootstrapOf(shape);
  return json.dump(1) + "\n";
}

absl::StatusOr<DevShape> ShapeFromJson(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto number = [&](const char* key, int& into) {
    if (!json.contains(key) || !json[key].is_number_integer()) return false;
    into = json[key].get<int>();
    return true;
  };
  DevShape shape;
  const bool whole = json.is_object() && number("nodes", shape.nodes) &&
                     number("controllers", shape.controllers) &&
                     number("portBase", shape.port_base) &&
                     json.contains("settings") && json["settings"].is_string();
  if (whole) shape.settings = json["settings"].get<std::string>();
  if (whole && InRange(shape)) return shape;
  return MakeError(ErrorCode::kInvalidRequest,
                   "it does not describe a dev cluster");
}

DevShape NewShape(const DevWishes& wishes) {
  DevShape shape;
  shape.nodes = wishes.nodes.value_or(shape.nodes);
  shape.controllers = wishes.controllers.value_or(shape.controllers);
  shape.port_base = wishes.port_base.value_or(shape.port_base);
  shape.settings = wishes.settings.value_or(shape.settings);
  return shape;
}

absl::StatusOr<DevShape> ResumedShape(const DevShape& there,
                                      const DevWishes& wishes,
                                      const std::string& directory) {
  RETURN_IF_ERROR(CheckKept("--nodes", wishes.nodes, there.nodes, directory));
  RETURN_IF_ERROR(CheckKept("--controllers", wishes.controllers,
                            there.controllers, directory));
  const bool any_ports = wishes.port_base == std::optional<int>(0);
  RETURN_IF_ERROR(CheckKept(
      "--port-base", any_ports ? std::optional<int>() : wishes.port_base,
      there.port_base, directory));
  DevShape shape = there;
  shape.settings = wishes.settings.value_or(there.settings);
  return shape;
}

}  // namespace sluice::cli
