#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "common/obs/metric_collector.h"
#include "common/obs/metrics.h"
#include "common/obs/metrics_pages.h"
#include "common/obs/process_metrics.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An owner that answers at once, or keeps what it is asked.
class OwnerExecutor final : public Executor {
 public:
  explicit OwnerExecutor(bool hangs = false) : hangs_(hangs) {}
  void Post(Task task) override {
    if (hangs_) {
      kept.push_back(std::move(task));
    } else {
      task();
    }
  }
  TimerId PostAfter(int64_t, Task) override { return 0; }
  bool Cancel(TimerId) override { return false; }
  bool IsCurrent() const override { return false; }

  std::deque<Task> kept;

 private:
  const bool hangs_;
};

TEST(MetricNameTest, CountersEndInTotalAndUnitsAreBaseUnits) {
  EXPECT_TRUE(IsMetricName("sluice_up", MetricKind::kGauge));
  EXPECT_TRUE(IsMetricName("sluice_log_syncs_total", MetricKind::kCounter));
  EXPECT_FALSE(IsMetricName("sluice_log_syncs", MetricKind::kCounter));
  EXPECT_FALSE(IsMetricName("sluice_leaders_total", MetricKind::kGauge));
  EXPECT_FALSE(IsMetricName("leaders", MetricKind::kGauge));
  EXPECT_FALSE(IsMetricName("sluice_", MetricKind::kGauge));
  EXPECT_FALSE(IsMetricName("sluice_Leaders", MetricKind::kGauge));
  EXPECT_FALSE(IsMetricName("sluice_lag__records", MetricKind::kGauge));
  EXPECT_FALSE(IsMetricName("sluice_lag_ms", MetricKind::kGauge));
}

TEST(MetricSetTest, PartsOfTheSameSampleAddUp) {
  MetricSet all;
  for (const double part : {2.0, 3.0}) {
    MetricSet shard;
    shard.AddGauge("sluice_broker_leaders", "Led here.", part);
    shard.AddCounter("sluice_broker_bytes_total", "Moved.", part,
                     {{"way", part == 2 ? "in" : "out"}});
    all.Merge(shard);
  }
  EXPECT_EQ(all.families().at("sluice_broker_leaders").samples.at({}), 5);
  EXPECT_EQ(all.families().at("sluice_broker_bytes_total").samples.size(), 2u);
}

TEST(MetricSetDeathTest, ABadNameOrTwoKindsAreOurOwnFault) {
  MetricSet metrics;
  EXPECT_DEATH(metrics.AddGauge("leaders", "", 1), "no name for a metric");
  EXPECT_DEATH(metrics.AddCounter("sluice_log_syncs", "", 1), "no name");
}

TEST(PrometheusTextTest, IsWhatAScraperReads) {
  MetricSet metrics;
  metrics.AddGauge("sluice_up", "1 while the process runs.", 1);
  metrics.AddCounter("sluice_network_bytes_total", "Bytes moved.", 1234567890,
                     {{"direction", "in \"quoted\"\n"}});
  const std::string text = ToPrometheusText(metrics);
  EXPECT_THAT(text, HasSubstr("# HELP sluice_up 1 while the process runs.\n"
                              "# TYPE sluice_up gauge\n"
                              "sluice_up 1\n"));
  EXPECT_THAT(text,
              HasSubstr("# TYPE sluice_network_bytes_total counter\n"
                        "sluice_network_bytes_total{direction=\"in "
                        "\\\"quoted\\\"\\n\"} 1234567890\n"));
}

TEST(MetricCollectorTest, EveryOwnerTellsItsPart) {
  OwnerExecutor shard0;
  OwnerExecutor shard1;
  MetricCollector collector;
  for (OwnerExecutor* shard : {&shard0, &shard1}) {
    collector.AddSource("shard", shard, [](MetricSet& out) {
      out.AddGauge("sluice_broker_leaders", "Led here.", 2);
    });
  }
  collector.AddSource("process", nullptr, [](MetricSet& out) {
    out.AddGauge("sluice_up", "Up.", 1);
  });
  const auto collected = collector.Collect(0);
  EXPECT_THAT(collected.silent, IsEmpty());
  EXPECT_EQ(collected.metrics.families()
                .at("sluice_broker_leaders")
                .samples.at({}),
            4);
  EXPECT_TRUE(collected.metrics.families().contains("sluice_up"));
}

TEST(MetricCollectorTest, AHangingOwnerIsNamedAskedOnceAndForgiven) {
  OwnerExecutor hanging(/*hangs=*/true);
  OwnerExecutor well;
  MetricCollector collector;
  int filled = 0;
  collector.AddSource("shard 0", &hanging, [&filled](MetricSet&) { ++filled; });
  collector.AddSource("shard 1", &well, [](MetricSet& out) {
    out.AddGauge("sluice_broker_leaders", "Led here.", 1);
  });
  for (int scrape = 0; scrape < 5; ++scrape) {
    const auto collected = collector.Collect(0);
    EXPECT_THAT(collected.silent, ElementsAre("shard 0"));
    EXPECT_TRUE(collected.metrics.families().contains("sluice_broker_leaders"));
  }
  ASSERT_EQ(hanging.kept.size(), 1u);
  hanging.kept.front()();  // long after that Collect has returned
  EXPECT_EQ(filled, 1);
  collector.Collect(0);
  EXPECT_EQ(hanging.kept.size(), 2u);
}

TEST(MetricsPagesTest, HealthNamesWhoDoesNotAnswer) {
  OwnerExecutor well;
  MetricCollector collector;
  collector.AddSource("control", &well, [](MetricSet&) {});
  const MetricsPages pages(&collector, [] { return "serving"; }, 0);
  EXPECT_EQ(pages.Health().status, 200);
  EXPECT_EQ(pages.Health().body, "ok: serving\n");

  OwnerExecutor hanging(/*hangs=*/true);
  collector.AddSource("shard 0", &hanging, [](MetricSet&) {});
  EXPECT_EQ(pages.Health().status, 503);
  EXPECT_THAT(pages.Health().body, HasSubstr("from shard 0"));
  const HttpPage metrics = pages.Metrics();
  EXPECT_EQ(metrics.status, 200);
  EXPECT_THAT(metrics.body, HasSubstr("sluice_metrics_silent_owners 1\n"));
}

TEST(ProcessMetricsTest, TellsCpuMemoryFilesAndThreads) {
  MetricSet metrics;
  AddProcessMetrics(metrics);
  for (const char* name :
       {"sluice_process_resident_bytes", "sluice_process_open_files",
        "sluice_process_threads"}) {
    ASSERT_TRUE(metrics.families().contains(name)) << name;
    EXPECT_GT(metrics.families().at(name).samples.at({}), 0) << name;
  }
  EXPECT_TRUE(metrics.families().contains("sluice_process_cpu_seconds_total"));
}

}  // namespace
}  // namespace sluice
