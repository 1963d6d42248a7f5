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

}  // namespace sluice
