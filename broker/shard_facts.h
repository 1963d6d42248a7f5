// What one shard, and the lags of groups, add to the facts of their broker.
#pragma once

#include "broker/broker_facts.h"
#include "broker/coordinator/group_coordinators.h"
#include "broker/coordinator/lag_monitor.h"
#include "broker/shard.h"

namespace sluice {

void AddShard(const Shard::Facts& now, const ShardCounters& counters,
              BrokerFacts& facts);
void AddGroups(const coordinator::ShardGroups& groups, BrokerFacts& facts);
void AddLags(const coordinator::KnownLags& lags, BrokerFacts& facts);

}  // namespace sluice
