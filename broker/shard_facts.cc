#include "broker/shard_facts.h"

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

std::string_view NameOf(v1::LagState state) {
  switch (state) {
    case v1::LAG_STATE_OK: return "OK";
    case v1::LAG_STATE_WARN: return "WARN";
    case v1::LAG_STATE_STALL: return "STALL";
    case v1::LAG_STATE_STOP: return "STOP";
    case v1::LAG_STATE_REWIND: return "REWIND";
    default: return "";
  }
}

}  // namespace

void AddShard(const Shard::Facts& now, const ShardCounters& counters,
              BrokerFacts& facts) {
  facts.replicas += now.replicas;
  facts.logs_to_recover += now.to_recover;
  facts.leaders += now.leaders;
  facts.failed_replicas += now.failed;
  facts.log_bytes += now.log_bytes;
  facts.producers += now.producers;
  facts.hw_lag_records_max =
      std::max(facts.hw_lag_records_max, now.hw_lag_records_max);
  facts.catching_up += now.catching_up;
  facts.counters += counters;
}

void AddGroups(const coordinator::ShardGroups& groups, BrokerFacts& facts) {
  facts.groups_loaded += groups.loaded;
  facts.group_requests_waiting += groups.requests_waiting;
  facts.group_commits += groups.counters.commits;
  facts.group_offsets_committed += groups.counters.offsets_committed;
  facts.group_offsets_expired += groups.counters.offsets_expired;
  facts.group_rebalances += groups.counters.rebalances;
  facts.group_members_removed += groups.counters.members_removed;
  facts.group_log_bytes += groups.counters.appended_bytes;
}

void AddLags(const coordinator::KnownLags& lags, BrokerFacts& facts) {
  facts.group_lags_left_out |= lags.left_out;
  for (const v1::GroupDescription& group : lags.groups.groups()) {
    for (const v1::GroupPartition& partition : group.partitions()) {
      BrokerFacts::GroupLag lag;
      lag.group = group.group_id();
      lag.topic = partition.topic();
      lag.partition = partition.partition();
      lag.committed_offset = partition.committed_offset();
      lag.state = NameOf(partition.state());
      if (!partition.has_lag_error()) {
        lag.lag_records = partition.lag_records();
        // Behind, and 0: the first unread record could not be read.
        if (partition.lag_ms() > 0 || partition.lag_records() <= 0) {
          lag.lag_ms = partition.lag_ms();
        }
      }
      facts.group_lags.push_back(std::move(lag));
    }
  }
}

}  // namespace sluice
