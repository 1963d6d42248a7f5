#include "tools/perf_summary.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/output.h"

namespace sluice::cli {
namespace {

constexpr std::pair<double, const char*> kPercentiles[] = {
    {50, "p50"}, {95, "p95"}, {99, "p99"}, {99.9, "p99.9"}};

double Ms(double us) { return us / 1000; }

double Seconds(const PerfSummary& summary) {
  return static_cast<double>(std::max<int64_t>(1, summary.took_us)) / 1e6;
}

std::string Fixed(double number, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, number);
  return text;
}

}  // namespace

double PerfSummary::records_per_second() const {
  return static_cast<double>(records) / Seconds(*this);
}

double PerfSummary::mb_per_second() const {
  return static_cast<double>(bytes) / Seconds(*this) / 1e6;
}

std::string TextOf(const PerfSummary& summary) {
  std::string text = std::to_string(summary.records) + " records " +
                     summary.verb + ", " +
                     Fixed(summary.records_per_second(), 1) + " records/s (" +
                     Fixed(summary.mb_per_second(), 2) + " MB/s)";
  if (summary.latencies != nullptr) {
    const LatencyHistogram& latencies = *summary.latencies;
    text += ", " + Fixed(Ms(latencies.mean_us()), 2) + " ms avg";
    for (const auto& [percent, name] : kPercentiles) {
      text += ", " +
              Fixed(Ms(static_cast<double>(latencies.PercentileUs(percent))),
                    2) +
              " ms " + name;
    }
    text += ", " + Fixed(Ms(static_cast<double>(latencies.max_us())), 2) +
            " ms max";
  }
  if (summary.failed > 0) {
    text += ", " + std::to_string(summary.failed) + " FAILED";
  }
  text += '\n';
  if (summary.servers.empty()) return text;
  double cpu_seconds = 0;
  int64_t rss_peak_bytes = 0;
  for (const auto& [name, node] : summary.servers) {
    cpu_seconds += node.cpu_seconds;
    rss_peak_bytes = std::max(rss_peak_bytes, node.rss_peak_bytes);
  }
  text += "servers: " + Fixed(cpu_seconds, 2) + " CPU s (" +
          Fixed(cpu_seconds / Seconds(summary), 2) + " cores), peak memory " +
          HumanBytes(static_cast<double>(rss_peak_bytes)) + " a process\n";
  return text;
}

nlohmann::ordered_json JsonOf(const PerfSummary& summary) {
  nlohmann::ordered_json json;
  json["records"] = summary.records;
  json["failed"] = summary.failed;
  json["bytes"] = summary.bytes;
  json["seconds"] = Seconds(summary);
  json["recordsPerSecond"] = summary.records_per_second();
  json["mbPerSecond"] = summary.mb_per_second();
  if (summary.latencies != nullptr) {
    const LatencyHistogram& latencies = *summary.latencies;
    auto& ms = json["latencyMs"];
    ms["avg"] = Ms(latencies.mean_us());
    for (const auto& [percent, name] : kPercentiles) {
      ms[name] = Ms(static_cast<double>(latencies.PercentileUs(percent)));
    }
    ms["max"] = Ms(static_cast<double>(latencies.max_us()));
  }
  if (!summary.servers.empty()) json["servers"] = ServersJson(summary.servers);
  return json;
}

}  // namespace sluice::cli
