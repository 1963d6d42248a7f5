#include "broker/process/node_metrics.h"

#include <utility>

#include "broker/process/broker_metrics.h"
#include "common/base/version.h"
#include "common/obs/process_metrics.h"

namespace sluice {

void AddNodeMetricSources(const PosixFileSystem* fs, NodeThreads* threads,
                          Broker* broker, ControllerProcess* controller,
                          MetricCollector* collector) {
  collector->AddSource("process", nullptr, [fs](MetricSet& metrics) {
    metrics.AddGauge("sluice_up", "1 while this process answers.", 1);
    metrics.AddGauge("sluice_build_info", "The version, as a label.", 1,
                     {{"version", kVersion}});
    metrics.AddCounter(
        "sluice_storage_syncs_total",
        "fdatasync, directory fsync and syncfs calls of logs and marks.",
        static_cast<double>(fs->sync_count()));
    AddProcessMetrics(metrics);
  });
  // Each thread answers for itself: /healthz names one that hangs.
  for (const NodeThreads::Named& thread : threads->all()) {
    collector->AddSource(thread.name, thread.executor, [](MetricSet&) {});
  }
  if (controller != nullptr) {
    collector->AddSource(
        "controller", threads->controller(),
        [controller](MetricSet& metrics) { controller->AddMetrics(metrics); });
  }
  if (broker == nullptr) return;
  collector->AddSource(
      "broker", [broker, threads](MetricCollector::Answer answer) {
        broker->CollectFacts(
            threads->control(),
            [answer = std::move(answer)](BrokerFacts facts) mutable {
              MetricSet metrics;
              AddBrokerMetrics(facts, metrics);
              answer(std::move(metrics));
            });
      });
}

}  // namespace sluice
