// Words shared by the client library: who it talks to and where it runs.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "client/peers/broker_peer.h"
#include "common/api/log_api.h"
#include "common/base/ids.h"
#include "common/consumer/named_partition.h"
#include "common/env/clock.h"
#include "common/env/executor.h"

namespace sluice {

using consumer::NamedPartition;

// What every part of the library runs on. All parts of one client share one
// executor and live on it: their methods are called there and nowhere else,
// except where a class says otherwise (the Blocking* ones).
struct ClientDeps {
  Executor* executor = nullptr;
  const Clock* clock = nullptr;
  BrokerConnector* connector = nullptr;
  uint64_t seed = 1;  // jitter and sticky partitions
};

struct ClientOptions {
  std::vector<api::Endpoint> bootstrap;  // any reachable one will do
  int64_t request_timeout_ms = 30'000;
  int64_t retry_backoff_min_ms = 20;
  int64_t retry_backoff_max_ms = 200;
  // Metadata is asked again after this long even if nothing failed.
  int64_t metadata_age_max_ms = 300'000;
};

// "host:port,host:port"; INVALID_REQUEST names the part that is no address.
absl::StatusOr<std::vector<api::Endpoint>> ParseBootstrap(
    std::string_view text);

// An error of the connection, not of the broker: the request may or may not
// have been carried out.
bool IsTransportError(const absl::Status& status);
// Whether asking again, here or elsewhere, may help.
bool IsRetriableStatus(const absl::Status& status);

}  // namespace sluice
