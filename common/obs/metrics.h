// What a process tells of itself, as values at one moment: owners fill a
// MetricSet when they are asked, so that nothing is counted behind a lock.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace sluice {

enum class MetricKind {
  kGauge,    // goes up and down
  kCounter,  // only up, in one life of the process; its name ends in _total
};

using MetricLabels = std::map<std::string, std::string>;

struct MetricFamily {
  MetricKind kind = MetricKind::kGauge;
  std::string help;
  std::map<MetricLabels, double> samples;
};

// "sluice_<area>_<what>_<unit>" in lower case, base units (seconds, bytes,
// records), "_total" at the end of counters and of nothing else.
bool IsMetricName(std::string_view name, MetricKind kind);

// Not thread-safe. A name that IsMetricName refuses, or one used with another
// kind before, is our own fault (INVARIANT).
class MetricSet {
 public:
  // Samples of the same name and labels add up: each shard tells its part.
  void AddGauge(std::string_view name, std::string_view help, double value,
                MetricLabels labels = {});
  void AddCounter(std::string_view name, std::string_view help, double value,
                  MetricLabels labels = {});
  void Merge(const MetricSet& other);

  const std::map<std::string, MetricFamily, std::less<>>& families() const {
    return families_;
  }

 private:
  void Add(std::string_view name, MetricKind kind, std::string_view help,
           double value, const MetricLabels& labels);

  std::map<std::string, MetricFamily, std::less<>> families_;
};

// Prometheus's text format.
std::string ToPrometheusText(const MetricSet& metrics);

}  // namespace sluice
