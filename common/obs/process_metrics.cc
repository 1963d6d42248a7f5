#include "common/obs/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

namespace sluice {
namespace {

double Seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) +
         static_cast<double>(t.tv_usec) / 1'000'000;
}

// Entries of a directory of /proc without "." and ".."; -1: unreadable.
int CountEntries(const char* path) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return -1;
  int count = -2;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

}  // namespace

int64_t ResidentBytes() {
  FILE* statm = std::fopen("/proc/self/statm", "re");
  if (statm == nullptr) return -1;
  long total = 0;
  long resident = 0;
  const bool read = std::fscanf(statm, "%ld %ld", &total, &resident) == 2;
  std::fclose(statm);
  return read ? int64_t{resident} * sysconf(_SC_PAGESIZE) : -1;
}

void AddProcessMetrics(MetricSet& metrics) {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    metrics.AddCounter("sluice_process_cpu_seconds_total",
                       "CPU time of this process, user and system.",
                       Seconds(usage.ru_utime) + Seconds(usage.ru_stime));
  }
  if (const int64_t bytes = ResidentBytes(); bytes >= 0) {
    metrics.AddGauge("sluice_process_resident_bytes",
                     "Memory of this process that is in RAM.",
                     static_cast<double>(bytes));
  }
  if (const int files = CountEntries("/proc/self/fd"); files >= 0) {
    metrics.AddGauge("sluice_process_open_files",
                     "File descriptors in use, sockets included.", files);
  }
  if (const int threads = CountEntries("/proc/self/task"); threads >= 0) {
    metrics.AddGauge("sluice_process_threads", "Threads of this process.",
                     threads);
  }
}

}  // namespace sluice
