// What a broker finds out before anything of it runs.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/broker.h"
#include "broker/control/broker_lifecycle.h"
#include "broker/log_directory.h"
#include "common/base/random.h"

namespace sluice {

using Directories = std::vector<std::unique_ptr<LogDirectory>>;

// Locks and opens them; blocks. The errors of Broker::Open.
absl::StatusOr<Directories> OpenDirectories(const Broker::Deps& deps,
                                            Random& random);

// Who this process is, to the controllers.
BrokerIdentity IdentityOf(const Broker::Deps& deps,
                          const Directories& directories, Random& random);

}  // namespace sluice
