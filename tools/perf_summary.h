// The last line of a bench, in the form that users of kafka-producer-perf-test
// know. MB is a million bytes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "tools/latency_histogram.h"
#include "tools/server_usage.h"

namespace sluice::cli {

struct PerfSummary {
  std::string verb;  // "sent", "read"
  int64_t records = 0;
  int64_t failed = 0;
  int64_t bytes = 0;
  int64_t took_us = 0;
  const LatencyHistogram* latencies = nullptr;  // null: none measured
  std::map<std::string, ServerUsage::Node> servers;  // empty: not asked for

  double records_per_second() const;
  double mb_per_second() const;
};

// "1000 records sent, 99.9 records/s (0.10 MB/s), 1.23 ms avg, 1.10 ms p50,
// ... ms max", and a line about the servers.
std::string TextOf(const PerfSummary& summary);
nlohmann::ordered_json JsonOf(const PerfSummary& summary);

}  // namespace sluice::cli
