// Who a broker process is: what it registers as.
#pragma once

#include <vector>

#include "broker/broker.h"
#include "broker/control/broker_lifecycle.h"
#include "broker/log_directory.h"
#include "common/base/random.h"

namespace sluice {

// `directories` are open; the incarnation comes from `random`.
BrokerIdentity BrokerIdentityOf(const Broker::Deps& deps,
                                const std::vector<LogDirectory*>& directories,
                                Random& random);

}  // namespace sluice
