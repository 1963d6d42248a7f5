#include "tools/perf_summary.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sluice::cli {
namespace {

TEST(PerfSummaryTest, TheLineIsTheOneThatUsersKnow) {
  LatencyHistogram latencies;
  for (int ms = 1; ms <= 100; ++ms) latencies.Record(ms * 1000);
  PerfSummary summary;
  summary.verb = "sent";
  summary.records = 100;
  summary.bytes = 50'000'000;
  summary.took_us = 2'000'000;
  summary.latencies = &latencies;

  const std::string text = TextOf(summary);

  EXPECT_EQ(text.rfind("100 records sent, 50.0 records/s (25.00 MB/s), "
                       "50.50 ms avg, ",
                       0),
            0u)
      << text;
  EXPECT_NE(text.find(" ms p50, "), std::string::npos);
  EXPECT_NE(text.find(" ms p99.9, 100.00 ms max\n"), std::string::npos) << text;
}

TEST(PerfSummaryTest, FailuresAndServersAreTold) {
  PerfSummary summary;
  summary.verb = "read";
  summary.failed = 3;
  summary.took_us = 1'000'000;
  summary.servers["node-1"] = {0.5, 10 << 20};
  summary.servers["node-2"] = {1.0, 20 << 20};

  const std::string text = TextOf(summary);
  const auto json = JsonOf(summary);

  EXPECT_NE(text.find("3 FAILED"), std::string::npos) << text;
  EXPECT_NE(text.find("servers: 1.50 CPU s (1.50 cores), peak memory 20.0 MiB"),
            std::string::npos)
      << text;
  EXPECT_EQ(json["failed"], 3);
  EXPECT_EQ(json["servers"]["cpuSeconds"], 1.5);
  EXPECT_EQ(json["servers"]["rssPeakBytesMax"], 20 << 20);
  EXPECT_EQ(json["servers"]["nodes"]["node-1"]["rssPeakBytes"], 10 << 20);
  EXPECT_FALSE(json.contains("latencyMs"));
}

TEST(PerfSummaryTest, NothingInNoTimeIsNotInfinite) {
  PerfSummary summary;

  EXPECT_EQ(summary.records_per_second(), 0);
  EXPECT_EQ(summary.mb_per_second(), 0);
}

}  // namespace
}  // namespace sluice::cli
