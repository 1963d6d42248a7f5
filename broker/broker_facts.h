// What a broker tells about itself to metrics: sums over its shards, the
// control side's state, the directories' syncs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/consume_driver/consume_facts.h"
#include "broker/shard_counters.h"
#include "common/base/ids.h"

namespace sluice {

// Counters only rise for the life of the process; the others are of the moment.
struct BrokerFacts {
  // ---- Control ----
  std::string_view state;  // BrokerLifecycle::NameOf
  bool serving = false;
  bool fenced = true;
  BrokerEpoch broker_epoch = kNoBrokerEpoch;
  LogIndex metadata_offset{0};
  NodeId active_controller = kNoNode;

  // ---- Shards ----
  int64_t replicas = 0;
  int64_t logs_to_recover = 0;  // found at the start, not opened yet
  int64_t leaders = 0;
  int64_t failed_replicas = 0;
  int64_t log_bytes = 0;
  // Idempotent producers that the partitions know, each counted once for each.
  int64_t producers = 0;
  // The longest distance of a high watermark from its log's end, of the
  // partitions led here.
  int64_t hw_lag_records_max = 0;
  int64_t catching_up = 0;  // replicas of others that this broker fills
  ShardCounters counters;

  // ---- Groups that this broker coordinates ----
  int64_t groups_loaded = 0;  // with members, or asked for just now
  int64_t group_requests_waiting = 0;
  int64_t group_commits = 0;  // counter; acknowledged
  int64_t group_offsets_committed = 0;  // counter; partitions of those
  int64_t group_offsets_expired = 0;  // counter
  int64_t group_rebalances = 0;  // counter
  int64_t group_members_removed = 0;  // counter; left or expired
  int64_t group_log_bytes = 0;  // counter; appended to __consumer_offsets
  struct GroupLag {
    std::string group;
    std::string topic;
    int32_t partition = 0;
    int64_t committed_offset = 0;
    // Unset: not known now.
    std::optional<int64_t> lag_records;
    std::optional<int64_t> lag_ms;
    std::string_view state;  // as `group describe` says it; "": not known
  };
  std::vector<GroupLag> group_lags;
  bool group_lags_left_out = false;  // there are more than are told

  ConsumeFacts consume;

  // ---- Requests ----
  int64_t produce_bytes_in_flight = 0;
  int64_t fetches_waiting = 0;
  int64_t subscriptions = 0;

  // ---- Data directories, in the order configured ----
  struct Directory {
    std::string path;
    int64_t commit_rounds = 0;  // counter: group commits
    int64_t file_syncs = 0;     // counter: of single files
    int64_t full_syncs = 0;     // counter: of the whole file system
    bool full = false;          // it refuses appends
  };
  std::vector<Directory> directories;
};

}  // namespace sluice
