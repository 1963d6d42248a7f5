#include "tools/server_usage.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice::cli {

ServerUsage::ServerUsage(const DevCluster& cluster) : cluster_(cluster) {
  for (const DevNode& node : cluster.nodes()) {
    const auto pid = cluster.PidOf(node);
    if (!pid.has_value()) continue;
    if (const auto usage = UsageOf(*pid)) before_[node.name] = {*pid, *usage};
  }
}

std::map<std::string, ServerUsage::Node> ServerUsage::Since() const {
  std::map<std::string, Node> nodes;
  for (const DevNode& node : cluster_.nodes()) {
    const auto pid = cluster_.PidOf(node);
    if (!pid.has_value()) continue;
    const auto usage = UsageOf(*pid);
    if (!usage.has_value()) continue;
    Node& now = nodes[node.name];
    now = {usage->cpu_seconds, usage->rss_peak_bytes};
    const auto before = before_.find(node.name);
    if (before != before_.end() && before->second.first == *pid) {
      now.cpu_seconds -= before->second.second.cpu_seconds;
    }
  }
  return nodes;
}

nlohmann::ordered_json ServersJson(
    const std::map<std::string, ServerUsage::Node>& nodes) {
  double cpu_seconds = 0;
  int64_t rss_peak_bytes = 0;
  nlohmann::ordered_json each = nlohmann::ordered_json::object();
  for (const auto& [name, node] : nodes) {
    cpu_seconds += node.cpu_seconds;
    rss_peak_bytes = std::max(rss_peak_bytes, node.rss_peak_bytes);
    each[name] = {{"cpuSeconds", node.cpu_seconds},
                  {"rssPeakBytes", node.rss_peak_bytes}};
  }
  return {{"cpuSeconds", cpu_seconds},
          {"rssPeakBytesMax", rss_peak_bytes},
          {"nodes", each}};
}

}  // namespace sluice::cli
