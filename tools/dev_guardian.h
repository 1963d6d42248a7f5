// Sees to it that a `sluice dev` that dies without stopping its nodes (SIGKILL,
// a crash) leaves none behind.
#pragma once

#include <sys/types.h>

#include <memory>

#include "absl/status/statusor.h"
#include "tools/dev_cluster.h"

namespace sluice::cli {

// A forked process that waits for its parent's end of a pipe. When the parent
// is gone it says so on stderr and stops the cluster: brokers first,
// controllers last. The lock of dev.lock, inherited, is held until then. Should
// it be killed too, the next `sluice dev` on the directory names the processes
// that still run.
class DevGuardian {
 public:
  // Before any thread exists.
  static absl::StatusOr<std::unique_ptr<DevGuardian>> Start(
      const DevCluster& cluster);
  // The parent stopped the nodes itself: ends the guardian.
  ~DevGuardian();
  DevGuardian(const DevGuardian&) = delete;
  DevGuardian& operator=(const DevGuardian&) = delete;

 private:
  DevGuardian(pid_t pid, int pipe) : pid_(pid), pipe_(pipe) {}

  const pid_t pid_;
  const int pipe_;
};

}  // namespace sluice::cli
