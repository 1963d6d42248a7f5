// What the operating system knows of this process.
#pragma once

#include "common/obs/metrics.h"

namespace sluice {

// sluice_process_cpu_seconds_total, _resident_bytes, _open_files, _threads.
// Any thread; reads /proc, what cannot be read is left out.
void AddProcessMetrics(MetricSet& metrics);

}  // namespace sluice
