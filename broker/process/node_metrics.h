// Who is asked for what when this process is scraped.
#pragma once

#include "broker/broker.h"
#include "broker/process/controller_process.h"
#include "broker/process/node_threads.h"
#include "common/env/posix_file_system.h"
#include "common/obs/metric_collector.h"

namespace sluice {

// `broker` and `controller` may be null. All of them outlive the collector's
// last Collect.
void AddNodeMetricSources(const PosixFileSystem* fs, NodeThreads* threads,
                          Broker* broker, ControllerProcess* controller,
                          MetricCollector* collector);

}  // namespace sluice
