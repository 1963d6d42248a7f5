// Lags of groups, from what the coordinators know to what a dashboard reads.
#include "broker/process/broker_metrics.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "broker/shard_facts.h"

namespace sluice {
namespace {

v1::GroupPartition& Add(coordinator::KnownLags& lags, const std::string& group,
                        int32_t partition, int64_t committed) {
  auto* described = lags.groups.add_groups();
  described->set_group_id(group);
  auto* out = described->add_partitions();
  out->set_topic("orders");
  out->set_partition(partition);
  out->set_committed_offset(committed);
  return *out;
}

MetricSet MetricsOf(const coordinator::KnownLags& lags) {
  BrokerFacts facts;
  AddLags(lags, facts);
  MetricSet metrics;
  AddBrokerMetrics(facts, metrics);
  return metrics;
}

std::optional<double> Value(const MetricSet& metrics, const std::string& name,
                            const MetricLabels& labels) {
  const auto family = metrics.families().find(name);
  if (family == metrics.families().end()) return std::nullopt;
  const auto sample = family->second.samples.find(labels);
  if (sample == family->second.samples.end()) return std::nullopt;
  return sample->second;
}

MetricLabels Of(const std::string& group, const std::string& partition) {
  return {{"group", group}, {"topic", "orders"}, {"partition", partition}};
}

TEST(BrokerMetricsTest, ALagIsOfAGroupTopicAndPartition) {
  coordinator::KnownLags lags;
  auto& behind = Add(lags, "billing", 3, 40);
  behind.set_lag_records(60);
  behind.set_lag_ms(2'500);
  behind.set_state(v1::LAG_STATE_STALL);
  const MetricSet metrics = MetricsOf(lags);
  const MetricLabels labels = Of("billing", "3");
  EXPECT_EQ(Value(metrics, "sluice_group_committed_offset", labels), 40);
  EXPECT_EQ(Value(metrics, "sluice_group_lag_records", labels), 60);
  EXPECT_EQ(Value(metrics, "sluice_group_lag_seconds", labels), 2.5);
  MetricLabels state = labels;
  state["state"] = "STALL";
  EXPECT_EQ(Value(metrics, "sluice_group_lag_state", state), 1);
  EXPECT_EQ(Value(metrics, "sluice_group_lags_left_out", {}), 0);
}

TEST(BrokerMetricsTest, WhatIsNotKnownIsNotToldAsNothing) {
  coordinator::KnownLags lags;
  lags.left_out = true;
  Add(lags, "unasked", 0, 5).mutable_lag_error()->set_code(
      v1::ERROR_CODE_LEADER_NOT_AVAILABLE);
  Add(lags, "unread", 0, 5).set_lag_records(9);  // its first is unreadable
  Add(lags, "done", 0, 5);
  Add(lags, "beyond", 0, 5).set_lag_records(-3);
  const MetricSet metrics = MetricsOf(lags);
  const char* const records = "sluice_group_lag_records";
  const char* const seconds = "sluice_group_lag_seconds";
  EXPECT_EQ(Value(metrics, records, Of("unasked", "0")), std::nullopt);
  EXPECT_EQ(Value(metrics, seconds, Of("unasked", "0")), std::nullopt);
  EXPECT_EQ(Value(metrics, "sluice_group_committed_offset",
                  Of("unasked", "0")),
            5);
  EXPECT_EQ(Value(metrics, records, Of("unread", "0")), 9);
  EXPECT_EQ(Value(metrics, seconds, Of("unread", "0")), std::nullopt);
  EXPECT_EQ(Value(metrics, records, Of("done", "0")), 0);
  EXPECT_EQ(Value(metrics, seconds, Of("done", "0")), 0);
  EXPECT_EQ(Value(metrics, records, Of("beyond", "0")), -3);
  EXPECT_EQ(metrics.families().count("sluice_group_lag_state"), 0u);
  EXPECT_EQ(Value(metrics, "sluice_group_lags_left_out", {}), 1);
}

TEST(BrokerMetricsTest, StreamsEndByTheNameOfTheirError) {
  BrokerFacts facts;
  facts.consume.streams = 7;
  facts.consume.revocations = 2;
  facts.consume.unacknowledged_bytes = 4'096;
  facts.consume.takeovers = 3;
  facts.consume.pushed_records = 1'000;
  facts.consume.ended = {{"NONE", 5}, {"CONSUMER_STALLED", 1}};
  MetricSet metrics;
  AddBrokerMetrics(facts, metrics);
  EXPECT_EQ(Value(metrics, "sluice_consume_streams", {}), 7);
  EXPECT_EQ(Value(metrics, "sluice_consume_revocations", {}), 2);
  EXPECT_EQ(Value(metrics, "sluice_consume_unacknowledged_bytes", {}), 4'096);
  EXPECT_EQ(Value(metrics, "sluice_consume_takeovers_total", {}), 3);
  EXPECT_EQ(Value(metrics, "sluice_consume_pushed_records_total", {}), 1'000);
  const std::string ended = "sluice_consume_ended_total";
  EXPECT_EQ(Value(metrics, ended, {{"error", "NONE"}}), 5);
  EXPECT_EQ(Value(metrics, ended, {{"error", "CONSUMER_STALLED"}}), 1);
}

TEST(BrokerMetricsTest, ADirectoryTellsWhetherItIsFull) {
  BrokerFacts facts;
  facts.directories.resize(2);
  facts.directories[0].path = "/a";
  facts.directories[1].path = "/b";
  facts.directories[1].full = true;
  MetricSet metrics;
  AddBrokerMetrics(facts, metrics);
  const std::string full = "sluice_log_directory_full";
  EXPECT_EQ(Value(metrics, full, {{"directory", "/a"}}), 0);
  EXPECT_EQ(Value(metrics, full, {{"directory", "/b"}}), 1);
}

}  // namespace
}  // namespace sluice
