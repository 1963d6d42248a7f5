// What the metrics listener answers: /metrics and /healthz, without a port.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/obs/metric_collector.h"

namespace sluice {

struct HttpPage {
  int status = 200;
  std::string content_type;
  std::string body;
};

// Any thread; blocks at most kCollectMaxUs.
class MetricsPages {
 public:
  // Scrapers wait for 10 s; an owner that needs one second is not well.
  static constexpr int64_t kCollectMaxUs = 1'000'000;

  // `collector` outlives this. `state`: one word for people, e.g. "serving".
  MetricsPages(MetricCollector* collector, std::function<std::string()> state,
               int64_t collect_max_us = kCollectMaxUs)
      : collector_(collector),
        state_(std::move(state)),
        collect_max_us_(collect_max_us) {}

  // Always an answer: what the owners told in time, and how many did not.
  HttpPage Metrics() const;
  // 200 while every owner answers, 503 with the names of those that do not.
  // Whether clients are served is gRPC's health service to say: a process
  // must not be restarted because its controllers are away.
  HttpPage Health() const;

 private:
  MetricCollector* const collector_;
  const std::function<std::string()> state_;
  const int64_t collect_max_us_;
};

}  // namespace sluice
