#include "common/obs/metrics.h"

#include <algorithm>

#include "common/base/invariant.h"

namespace sluice {

bool IsMetricName(std::string_view name, MetricKind kind) {
  constexpr std::string_view kPrefix = "sluice_";
  constexpr std::string_view kTotal = "_total";
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) return false;
  const bool words = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (!words || name.find("__") != std::string_view::npos ||
      name.back() == '_') {
    return false;
  }
  // Prometheus asks for base units.
  for (const std::string_view unit : {"_ms", "_us", "_kb", "_mb", "_percent"}) {
    if (name.ends_with(unit)) return false;
  }
  return name.ends_with(kTotal) == (kind == MetricKind::kCounter);
}

void MetricSet::AddGauge(std::string_view name, std::string_view help,
                         double value, MetricLabels labels) {
  Add(name, MetricKind::kGauge, help, value, labels);
}

void MetricSet::AddCounter(std::string_view name, std::string_view help,
                           double value, MetricLabels labels) {
  Add(name, MetricKind::kCounter, help, value, labels);
}

void MetricSet::Add(std::string_view name, MetricKind kind,
                    std::string_view help, double value,
                    const MetricLabels& labels) {
  INVARIANT(IsMetricName(name, kind), "'", name, "' is no name for a metric");
  auto found = families_.find(name);
  if (found == families_.end()) {
    found = families_.emplace(name, MetricFamily{kind, std::string(help), {}})
                .first;
  }
  INVARIANT(found->second.kind == kind, "'", name,
            "' is a gauge and a counter");
  found->second.samples[labels] += value;
}

void MetricSet::Merge(const MetricSet& other) {
  for (const auto& [name, family] : other.families_) {
    for (const auto& [labels, value] : family.samples) {
      Add(name, family.kind, family.help, value, labels);
    }
  }
}

}  // namespace sluice
