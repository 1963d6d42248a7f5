#include "broker/shard_facts.h"

#include <algorithm>

namespace sluice {

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

}  // namespace sluice
