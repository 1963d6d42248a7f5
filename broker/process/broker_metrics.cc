#include "broker/process/broker_metrics.h"

namespace sluice {
namespace {

void AddControlMetrics(const BrokerFacts& facts, MetricSet& metrics) {
  metrics.AddGauge("sluice_broker_serving",
                   "1 while registered, unfenced and open for clients.",
                   facts.serving);
  metrics.AddGauge("sluice_broker_fenced",
                   "1 while the controller lets this broker lead nothing.",
                   facts.fenced);
  metrics.AddGauge("sluice_broker_epoch",
                   "Of this registration; -1 before the first.",
                   static_cast<double>(facts.broker_epoch.value()));
  metrics.AddGauge("sluice_broker_metadata_offset",
                   "Up to where this broker has applied the metadata log.",
                   static_cast<double>(facts.metadata_offset.value()));
}

void AddReplicaMetrics(const BrokerFacts& facts, MetricSet& metrics) {
  const auto gauge = [&](const char* name, const char* help, int64_t value) {
    metrics.AddGauge(name, help, static_cast<double>(value));
  };
  const auto counter = [&](const char* name, const char* help, int64_t value) {
    metrics.AddCounter(name, help, static_cast<double>(value));
  };
  gauge("sluice_broker_replicas", "Replicas on this broker.", facts.replicas);
  gauge("sluice_broker_logs_to_recover",
        "Logs found at the start that are not recovered yet.",
        facts.logs_to_recover);
  gauge("sluice_broker_leaders", "Partitions that this broker leads.",
        facts.leaders);
  gauge("sluice_broker_failed_replicas",
        "Replicas that refuse to go on; the log says why.",
        facts.failed_replicas);
  gauge("sluice_log_size_bytes", "Of all logs on this broker.",
        facts.log_bytes);
  gauge("sluice_broker_producers",
        "Idempotent producers known, each once for each partition here.",
        facts.producers);
  gauge("sluice_replication_hw_lag_records",
        "The most records above the high watermark of a partition led here.",
        facts.hw_lag_records_max);
  counter("sluice_broker_in_bytes_total", "Appended by producers.",
          facts.counters.appended_bytes);
  counter("sluice_broker_in_batches_total", "Appended by producers.",
          facts.counters.appended_batches);
  counter("sluice_broker_duplicates_total",
          "Produces answered with where their batches were stored before.",
          facts.counters.duplicates_answered);
  counter("sluice_broker_out_bytes_total", "Read by consumers.",
          facts.counters.read_bytes);
  counter("sluice_replication_in_bytes_total",
          "Appended from the leaders that this broker follows.",
          facts.counters.replicated_bytes);
  counter("sluice_replication_catch_up_in_bytes_total",
          "Of those, on catch-up streams.", facts.counters.catch_up_bytes);
  gauge("sluice_replication_catching_up",
        "Replicas that this broker, as their leader, fills on catch-up "
        "streams.",
        facts.catching_up);
  counter("sluice_replication_isr_changes_total",
          "Changes of in-sync replicas of partitions led here.",
          facts.counters.isr_changes);
  counter("sluice_replication_truncations_total",
          "Cuts of a log to its leader's history.", facts.counters.truncations);
  counter("sluice_replication_silent_leaders_total",
          "Leaders that were asked anew, because they sent a replica out of "
          "the ISR nothing for the lag time.",
          facts.counters.silent_leaders);
  counter("sluice_log_appends_without_room_total",
          "Appends, as leader or follower, that were refused because the disk "
          "was full or no descriptor was left.",
          facts.counters.appends_without_room);
}

void AddRequestMetrics(const BrokerFacts& facts, MetricSet& metrics) {
  metrics.AddGauge("sluice_broker_produce_in_flight_bytes",
                   "Of produce requests that are not answered yet.",
                   static_cast<double>(facts.produce_bytes_in_flight));
  metrics.AddGauge("sluice_broker_fetches_waiting",
                   "Long polls that wait for records.",
                   static_cast<double>(facts.fetches_waiting));
  metrics.AddGauge("sluice_broker_subscriptions", "Subscribe streams open.",
                   static_cast<double>(facts.subscriptions));
}

void AddGroupMetrics(const BrokerFacts& facts, MetricSet& metrics) {
  const auto counter = [&](const char* name, const char* help, int64_t value) {
    metrics.AddCounter(name, help, static_cast<double>(value));
  };
  metrics.AddGauge("sluice_group_loaded",
                   "Groups coordinated here that have members, or were asked "
                   "for just now.",
                   static_cast<double>(facts.groups_loaded));
  metrics.AddGauge("sluice_group_requests_waiting",
                   "Joins and syncs that wait for other members.",
                   static_cast<double>(facts.group_requests_waiting));
  counter("sluice_group_commits_total", "Commits acknowledged.",
          facts.group_commits);
  counter("sluice_group_offsets_committed_total",
          "Partitions of acknowledged commits.", facts.group_offsets_committed);
  counter("sluice_group_offsets_expired_total",
          "Committed offsets removed by age, or with their topic.",
          facts.group_offsets_expired);
  counter("sluice_group_rebalances_total", "Generations that ended.",
          facts.group_rebalances);
  counter("sluice_group_members_removed_total",
          "Members that left or were silent for too long.",
          facts.group_members_removed);
  counter("sluice_group_log_in_bytes_total",
          "Appended to __consumer_offsets by the coordinators here.",
          facts.group_log_bytes);
}

void AddConsumeMetrics(const ConsumeFacts& facts, MetricSet& metrics) {
  metrics.AddGauge("sluice_consume_streams", "Consume streams open.",
                   static_cast<double>(facts.streams));
  metrics.AddGauge("sluice_consume_revocations",
                   "Revocations that wait for their clients' RevokeAck.",
                   static_cast<double>(facts.revocations));
  metrics.AddGauge("sluice_consume_unacknowledged_bytes",
                   "Pushed to clients that have not acknowledged it.",
                   static_cast<double>(facts.unacknowledged_bytes));
  metrics.AddCounter("sluice_consume_takeovers_total",
                     "Memberships that a stream here went on with.",
                     static_cast<double>(facts.takeovers));
  metrics.AddCounter("sluice_consume_pushed_records_total",
                     "Records pushed to clients.",
                     static_cast<double>(facts.pushed_records));
  for (const auto& [error, count] : facts.ended) {
    metrics.AddCounter("sluice_consume_ended_total",
                       "Streams that ended, by the name of their error; NONE: "
                       "in good order, CLIENT_GONE: the connection broke.",
                       static_cast<double>(count), {{"error", error}});
  }
}

// A series for each group, topic and partition; how many of them:
// coordinator/lag_monitor.h.
void AddLagMetrics(const BrokerFacts& facts, MetricSet& metrics) {
  metrics.AddGauge("sluice_group_lags_left_out",
                   "1 while groups here have committed more offsets than "
                   "sluice_group_lag_* tells of.",
                   facts.group_lags_left_out);
  for (const BrokerFacts::GroupLag& lag : facts.group_lags) {
    MetricLabels labels = {{"group", lag.group},
                           {"topic", lag.topic},
                           {"partition", std::to_string(lag.partition)}};
    metrics.AddGauge("sluice_group_committed_offset",
                     "The next offset that the group reads.",
                     static_cast<double>(lag.committed_offset), labels);
    if (lag.lag_records.has_value()) {
      metrics.AddGauge("sluice_group_lag_records",
                       "High watermark less committed offset; below 0: it is "
                       "beyond the end of the log.",
                       static_cast<double>(*lag.lag_records), labels);
    }
    if (lag.lag_ms.has_value()) {
      metrics.AddGauge("sluice_group_lag_seconds",
                       "Age of the first record that is not committed; 0: "
                       "there is none.",
                       static_cast<double>(*lag.lag_ms) / 1000, labels);
    }
    if (!lag.state.empty()) {
      labels["state"] = std::string(lag.state);
      metrics.AddGauge("sluice_group_lag_state",
                       "1, with the state as a label: OK, WARN, STALL, STOP, "
                       "REWIND.",
                       1, labels);
    }
  }
}

}  // namespace

void AddBrokerMetrics(const BrokerFacts& facts, MetricSet& metrics) {
  AddControlMetrics(facts, metrics);
  AddReplicaMetrics(facts, metrics);
  AddRequestMetrics(facts, metrics);
  AddGroupMetrics(facts, metrics);
  AddLagMetrics(facts, metrics);
  AddConsumeMetrics(facts.consume, metrics);
  for (const BrokerFacts::Directory& directory : facts.directories) {
    const MetricLabels labels = {{"directory", directory.path}};
    metrics.AddCounter("sluice_log_commit_rounds_total",
                       "Group commits of a data directory.",
                       static_cast<double>(directory.commit_rounds), labels);
    metrics.AddCounter("sluice_log_file_syncs_total",
                       "fdatasync calls of group commits.",
                       static_cast<double>(directory.file_syncs), labels);
    metrics.AddCounter("sluice_log_full_syncs_total",
                       "syncfs calls of group commits.",
                       static_cast<double>(directory.full_syncs), labels);
    metrics.AddGauge("sluice_log_directory_full",
                     "1 while a data directory refuses appends: its disk is "
                     "full, or no descriptor is left.",
                     directory.full, labels);
  }
}

}  // namespace sluice
