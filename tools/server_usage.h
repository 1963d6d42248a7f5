// What the processes of a local cluster cost while something was measured.
#pragma once

#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "tools/dev_cluster.h"
#include "tools/process.h"

namespace sluice::cli {

// Looks at construction; Since() looks again.
class ServerUsage {
 public:
  explicit ServerUsage(const DevCluster& cluster);

  struct Node {
    double cpu_seconds = 0;       // since construction
    int64_t rss_peak_bytes = 0;   // since the process began
  };
  // By name. A process that was restarted meanwhile counts from its start.
  std::map<std::string, Node> Since() const;

 private:
  const DevCluster& cluster_;
  std::map<std::string, std::pair<pid_t, ProcessUsage>> before_;
};

// Sums of the CPU seconds and peaks, and each node's.
nlohmann::ordered_json ServersJson(
    const std::map<std::string, ServerUsage::Node>& nodes);

}  // namespace sluice::cli
