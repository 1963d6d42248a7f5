// What one shard adds to the facts of its broker.
#pragma once

#include "broker/broker_facts.h"
#include "broker/coordinator/group_coordinators.h"
#include "broker/shard.h"

namespace sluice {

void AddShard(const Shard::Facts& now, const ShardCounters& counters,
              BrokerFacts& facts);
void AddGroups(const coordinator::ShardGroups& groups, BrokerFacts& facts);

}  // namespace sluice
