#include "common/obs/metrics_pages.h"

#include "common/base/str_cat.h"

namespace sluice {

HttpPage MetricsPages::Metrics() const {
  MetricCollector::Collected collected = collector_->Collect(collect_max_us_);
  collected.metrics.AddGauge("sluice_metrics_silent_owners",
                             "Threads that did not answer this scrape in time.",
                             static_cast<double>(collected.silent.size()));
  return {200, "text/plain; version=0.0.4; charset=utf-8",
          ToPrometheusText(collected.metrics)};
}

HttpPage MetricsPages::Health() const {
  const MetricCollector::Collected collected =
      collector_->Collect(collect_max_us_);
  if (collected.silent.empty()) {
    return {200, "text/plain", StrCat("ok: ", state_(), "\n")};
  }
  std::string names;
  for (const std::string& owner : collected.silent) {
    names += StrCat(names.empty() ? "" : ", ", owner);
  }
  return {503, "text/plain",
          StrCat("no answer within ", collect_max_us_ / 1000, " ms from ",
                 names, "\n")};
}

}  // namespace sluice
