// The processes of a local cluster in one directory (dev_layout.h): what
// `sluice dev` starts, and what the tools that kill and restart its nodes
// look at. Any process may hold one; the directory is the state.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/dev_layout.h"

namespace sluice::cli {

class DevCluster {
 public:
  DevCluster(std::string directory, const DevShape& shape)
      : directory_(std::move(directory)),
        shape_(shape),
        nodes_(NodesOf(shape)) {}
  // What is in the directory. INVALID_REQUEST when there is no cluster.
  static absl::StatusOr<DevCluster> Load(const std::string& directory);
  static bool Exists(const std::string& directory);

  const std::string& directory() const { return directory_; }
  const DevShape& shape() const { return shape_; }
  const std::vector<DevNode>& nodes() const { return nodes_; }
  absl::StatusOr<DevNode> Find(const std::string& name) const;
  absl::StatusOr<DevNode> FindId(int id) const;

  // Directories, dev.json and flag files.
  absl::Status WriteFiles() const;
  // Names the ports in use, by whom they are wanted, and what to do.
  absl::Status CheckPorts(const std::vector<DevNode>& nodes) const;

  // Spawns and writes the pid file. INVALID_REQUEST when it runs already.
  absl::StatusOr<pid_t> Start(const DevNode& node,
                              const std::string& sluiced) const;
  // Until the process accepts connections; an error with the end of its log
  // when it ended instead, or did not within `timeout_us`.
  absl::Status AwaitListening(const DevNode& node, pid_t pid,
                              int64_t timeout_us) const;
  // nullopt: not running.
  std::optional<pid_t> PidOf(const DevNode& node) const;
  // It does not run, and nobody asked it to stop.
  bool Crashed(const DevNode& node) const;
  // Forgets a crash, once it was told.
  void ForgetCrash(const DevNode& node) const;

  // SIGSTOP, or SIGCONT with `still` false. False: it does not run.
  bool HoldStill(const DevNode& node, bool still) const;
  // SIGTERM and wait; SIGKILL after kStopUs, or at once with `kill`.
  // All of `nodes` at the same time. True when each ended by itself.
  bool Stop(const std::vector<DevNode>& nodes, bool kill) const;
  // Brokers, then what has the controller role.
  void StopAll() const;

  std::string PathOf(const DevNode& node, const std::string& file) const;
  // Its log and the last lines of it.
  std::string EndOfLog(const DevNode& node) const;
  // A log past kLogBytesMax becomes sluiced.log.1, in place: the process goes
  // on writing to the same file. Lines written between copy and cut are lost.
  void RotateLogs() const;

 private:
  static constexpr int64_t kStopUs = 20'000'000;
  static constexpr int64_t kLogBytesMax = 32 << 20;

  std::string directory_;
  DevShape shape_;
  std::vector<DevNode> nodes_;
};

// --sluiced, $SLUICED, beside this executable, or where bazel puts it.
absl::StatusOr<std::string> FindSluiced(const std::string& option);
// Where `sluice dev` keeps a cluster when --dir is not given.
std::string DefaultDevDirectory();
// Loads the cluster in `option`, or in the default directory when empty.
absl::StatusOr<DevCluster> LoadDevCluster(const std::string& option);

}  // namespace sluice::cli
