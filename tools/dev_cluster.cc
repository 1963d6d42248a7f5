#include "tools/dev_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include <nlohmann/json.hpp>
#include "tools/process.h"

namespace sluice::cli {
namespace {

constexpr int kInternalFrom = 100;
constexpr int kMetricsFrom = 200;
constexpr int kControllerInternalFrom = 300;
constexpr int kControllerMetricsFrom = 400;
constexpr int kControllerIdFrom = 100;
constexpr int kCombinedControllers = 3;

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

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file.good()) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageError, "cannot write ", path);
}

std::string Local(int port) { return "127.0.0.1:" + std::to_string(port); }

}  // namespace

DevCluster::DevCluster(std::string directory, const DevShape& shape)
    : directory_(std::move(directory)), shape_(shape), nodes_(NodesOf(shape)) {}

bool DevCluster::Exists(const std::string& directory) {
  return access((directory + "/dev.json").c_str(), R_OK) == 0;
}

absl::StatusOr<DevCluster> DevCluster::Load(const std::string& directory) {
  auto text = ReadWholeFile(directory + "/dev.json");
  if (!text.ok()) {
    return MakeError(ErrorCode::kInvalidRequest, "there is no dev cluster in ",
                     directory, "; `sluice dev --dir ", directory,
                     "` starts one");
  }
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    return MakeError(ErrorCode::kInvalidRequest, directory,
                     "/dev.json is no JSON; remove it and start again");
  }
  DevShape shape;
  shape.nodes = json.value("nodes", 3);
  shape.controllers = json.value("controllers", 0);
  shape.port_base = json.value("portBase", 9000);
  shape.settings = json.value("settings", std::string());
  return DevCluster(directory, shape);
}

absl::StatusOr<DevNode> DevCluster::Find(const std::string& name) const {
  std::string known;
  for (const DevNode& node : nodes_) {
    if (node.name == name) return node;
    known += (known.empty() ? "" : ", ") + node.name;
  }
  return MakeError(ErrorCode::kInvalidRequest, "no '", name, "' in ",
                   directory_, "; it has ", known);
}

std::string DevCluster::Bootstrap() const {
  std::string all;
  for (const DevNode& node : nodes_) {
    if (!node.is_broker) continue;
    all += (all.empty() ? "" : ",") + Local(node.client_port);
  }
  return all;
}

std::string DevCluster::PathOf(const DevNode& node,
                               const std::string& file) const {
  return directory_ + "/" + node.name + "/" + file;
}

std::string DevCluster::FlagsOf(const DevNode& node) const {
  std::string quorum;
  for (const DevNode& other : nodes_) {
    if (!other.is_controller) continue;
    quorum += (quorum.empty() ? "" : ",") + std::to_string(other.id) + "@" +
              Local(other.internal_port);
  }
  std::string flags =
      "--node_id=" + std::to_string(node.id) + "\n--roles=" +
      (node.is_controller ? (node.is_broker ? "controller,broker"
                                            : "controller")
                          : "broker") +
      "\n--cluster_name=dev\n--internal_listen=" + Local(node.internal_port) +
      "\n--controllers=" + quorum + "\n--data_dirs=" + PathOf(node, "data") +
      "\n--metrics_listen=" + Local(node.metrics_port) + "\n";
  if (node.is_broker) flags += "--listen=" + Local(node.client_port) + "\n";
  if (!shape_.settings.empty()) flags += "--set=" + shape_.settings + "\n";
  return flags;
}

absl::Status DevCluster::WriteFiles() const {
  std::error_code error;
  for (const DevNode& node : nodes_) {
    std::filesystem::create_directories(directory_ + "/" + node.name, error);
    if (error) {
      return MakeError(ErrorCode::kStorageError, "cannot create ", directory_,
                       "/", node.name, ": ", error.message());
    }
    RETURN_IF_ERROR(WriteFile(PathOf(node, "sluiced.flags"), FlagsOf(node)));
  }
  nlohmann::ordered_json json;
  json["nodes"] = shape_.nodes;
  json["controllers"] = shape_.controllers;
  json["portBase"] = shape_.port_base;
  json["settings"] = shape_.settings;
  json["bootstrap"] = Bootstrap();
  return WriteFile(directory_ + "/dev.json", json.dump(1) + "\n");
}

absl::Status DevCluster::CheckPorts(const std::vector<DevNode>& nodes) const {
  std::string busy;
  for (const DevNode& node : nodes) {
    for (const auto& [port, what] :
         {std::pair{node.client_port, "clients"},
          std::pair{node.internal_port, "internal"},
          std::pair{node.metrics_port, "metrics"}}) {
      if (port == 0 || !PortIsBusy(port)) continue;
      busy += StrCat(busy.empty() ? "" : ", ", port, " (", node.name, ", ",
                     what, ")");
    }
  }
  if (busy.empty()) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest, "ports in use: ", busy,
                   ". Next: choose others with --port-base, 0 finds free "
                   "ones; or stop what listens there (`ss -ltnp` shows it)");
}

absl::StatusOr<pid_t> DevCluster::Start(const DevNode& node,
                                        const std::string& sluiced) const {
  if (const auto pid = PidOf(node); pid.has_value()) {
    return MakeError(ErrorCode::kInvalidRequest, node.name,
                     " runs already, pid ", *pid, "; `sluice dev stop ",
                     node.name, " --dir ", directory_, "` stops it");
  }
  auto pid = Spawn({sluiced, "--flagfile=" + PathOf(node, "sluiced.flags")},
                   PathOf(node, "sluiced.log"));
  if (!pid.ok()) return pid;
  RETURN_IF_ERROR(
      WriteFile(PathOf(node, "sluiced.pid"), std::to_string(*pid) + "\n"));
  return pid;
}

std::optional<pid_t> DevCluster::PidOf(const DevNode& node) const {
  const auto text = ReadWholeFile(PathOf(node, "sluiced.pid"));
  if (!text.ok()) return std::nullopt;
  const pid_t pid = std::atoi(text->c_str());
  if (!IsAliveWith(pid, PathOf(node, "sluiced.flags"))) return std::nullopt;
  return pid;
}

bool DevCluster::Stop(const std::vector<DevNode>& nodes, bool kill) const {
  std::vector<std::pair<const DevNode*, pid_t>> stopping;
  for (const DevNode& node : nodes) {
    const auto pid = PidOf(node);
    if (!pid.has_value()) continue;
    ::kill(*pid, kill ? SIGKILL : SIGTERM);
    stopping.emplace_back(&node, *pid);
  }
  bool clean = true;
  for (const auto& [node, pid] : stopping) {
    if (!WaitGone(pid, kStopUs)) {
      clean = false;
      ::kill(pid, SIGKILL);
      WaitGone(pid, kStopUs);
    }
    unlink(PathOf(*node, "sluiced.pid").c_str());
  }
  return clean;
}

void DevCluster::StopAll() const {
  std::vector<DevNode> brokers;
  std::vector<DevNode> controllers;
  for (const DevNode& node : nodes_) {
    (node.is_controller ? controllers : brokers).push_back(node);
  }
  Stop(brokers, false);
  Stop(controllers, false);
}

void DevCluster::RotateLogs() const {
  for (const DevNode& node : nodes_) {
    const std::string path = PathOf(node, "sluiced.log");
    struct stat facts;
    if (stat(path.c_str(), &facts) != 0 || facts.st_size < kLogBytesMax) {
      continue;
    }
    std::error_code error;
    std::filesystem::copy_file(
        path, path + ".1", std::filesystem::copy_options::overwrite_existing,
        error);
    if (!error && truncate(path.c_str(), 0) != 0) continue;
  }
}

absl::StatusOr<std::string> FindSluiced(const std::string& option) {
  const char* from_env = std::getenv("SLUICED");
  const std::string own = OwnDirectory();
  std::vector<std::string> places;
  if (!option.empty()) {
    places = {option};
  } else if (from_env != nullptr && *from_env != '\0') {
    places = {from_env};
  } else {
    places = {own + "/sluiced", own + "/../broker/sluiced",
              "bazel-bin/broker/sluiced"};
  }
  std::string tried;
  for (const std::string& place : places) {
    if (access(place.c_str(), X_OK) == 0) {
      std::error_code error;
      const auto whole = std::filesystem::canonical(place, error);
      return error ? place : whole.string();
    }
    tried += (tried.empty() ? "" : ", ") + place;
  }
  return MakeError(ErrorCode::kInvalidRequest, "no sluiced at ", tried,
                   "; `bazel build //broker:sluiced` makes it, --sluiced or "
                   "$SLUICED names it");
}

std::string DefaultDevDirectory() {
  const char* tmp = std::getenv("TMPDIR");
  return std::string(tmp != nullptr && *tmp != '\0' ? tmp : "/tmp") +
         "/sluice-dev-" + std::to_string(getuid());
}

}  // namespace sluice::cli
