// BrokerFacts by the names that dashboards use.
#pragma once

#include "broker/broker_facts.h"
#include "common/obs/metrics.h"

namespace sluice {

void AddBrokerMetrics(const BrokerFacts& facts, MetricSet& metrics);

}  // namespace sluice
