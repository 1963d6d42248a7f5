// A local cluster in one directory: what `sluice dev` starts, and what the
// tools that kill and restart its nodes look at.
//
//   DIR/dev.json         nodes, controllers, port base
//   DIR/dev.lock         held by the `sluice dev` in the foreground
//   DIR/node-1/          sluiced.flags, sluiced.pid, sluiced.log, data/
//   DIR/controller-1/    the same, with --controllers
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice::cli {

struct DevShape {
  int nodes = 3;
  int controllers = 0;  // 0: the first three nodes have both roles
  int port_base = 9000;
  std::string settings;  // sluiced --set

  bool operator==(const DevShape&) const = default;
};

// One process.
struct DevNode {
  std::string name;  // "node-1", "controller-1"
  int id = 0;
  bool is_broker = false;
  bool is_controller = false;
  int client_port = 0;  // brokers
  int internal_port = 0;
  int metrics_port = 0;
};

class DevCluster {
 public:
  static constexpr int kNodesMax = 99;
  static constexpr int kControllersMax = 9;

  DevCluster(std::string directory, const DevShape& shape);
  // What is in the directory. INVALID_REQUEST when there is no cluster.
  static absl::StatusOr<DevCluster> Load(const std::string& directory);
  static bool Exists(const std::string& directory);

  const std::string& directory() const { return directory_; }
  const DevShape& shape() const { return shape_; }
  const std::vector<DevNode>& nodes() const { return nodes_; }
  absl::StatusOr<DevNode> Find(const std::string& name) const;
  // "127.0.0.1:9001,127.0.0.1:9002".
  std::string Bootstrap() const;

  // Directories, dev.json and flag files.
  absl::Status WriteFiles() const;
  // Names the ports in use, by whom they are wanted, and what to do.
  absl::Status CheckPorts(const std::vector<DevNode>& nodes) const;

  // Spawns and writes the pid file. INVALID_REQUEST when it runs already.
  absl::StatusOr<pid_t> Start(const DevNode& node,
                              const std::string& sluiced) const;
  // nullopt: not running.
  std::optional<pid_t> PidOf(const DevNode& node) const;
  // SIGTERM and wait; SIGKILL after kStopUs, or at once with `kill`.
  // All of `nodes` at the same time. True when each ended by itself.
  bool Stop(const std::vector<DevNode>& nodes, bool kill) const;
  // Brokers, then what has the controller role.
  void StopAll() const;

  std::string PathOf(const DevNode& node, const std::string& file) const;
  // A log past kLogBytesMax becomes sluiced.log.1, in place: the process goes
  // on writing to the same file.
  void RotateLogs() const;

 private:
  static constexpr int64_t kStopUs = 20'000'000;
  static constexpr int64_t kLogBytesMax = 32 << 20;

  std::string FlagsOf(const DevNode& node) const;

  std::string directory_;
  DevShape shape_;
  std::vector<DevNode> nodes_;
};

// --sluiced, $SLUICED, beside this executable, or where bazel puts it.
absl::StatusOr<std::string> FindSluiced(const std::string& option);
// Where `sluice dev` keeps a cluster when --dir is not given.
std::string DefaultDevDirectory();

}  // namespace sluice::cli
