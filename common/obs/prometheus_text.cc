#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <sstream>
#include <vector>

#include "common/obs/metrics.h"

namespace sluice {

std::string ToPrometheusText(const MetricSet& metrics) {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& [name, family] : metrics.families()) {
    prometheus::MetricFamily out;
    out.name = name;
    out.help = family.help;
    out.type = family.kind == MetricKind::kCounter
                   ? prometheus::MetricType::Counter
                   : prometheus::MetricType::Gauge;
    for (const auto& [labels, value] : family.samples) {
      prometheus::ClientMetric sample;
      for (const auto& [key, text] : labels) {
        sample.label.push_back({key, text});
      }
      sample.counter.value = value;
      sample.gauge.value = value;
      out.metric.push_back(std::move(sample));
    }
    families.push_back(std::move(out));
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace sluice
