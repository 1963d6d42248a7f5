// What the operating system knows of this process.
#pragma once

#include <cstdint>

#include "common/obs/metrics.h"

namespace sluice {

// What this process has in memory; -1 when /proc cannot be read. Any thread.
int64_t ResidentBytes();

// sluice_process_cpu_seconds_total, _resident_bytes, _open_files, _threads.
// Any thread; reads /proc, what cannot be read is left out.
void AddProcessMetrics(MetricSet& metrics);

}  // namespace sluice
