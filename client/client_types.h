// Words shared by the client library: who it talks to and where it runs.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "client/peers/broker_peer.h"
#include "client/status_kinds.h"
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
  // A broker is asked to tell what changes, so that a leadership that moves is
  // known before the old leader is asked in vain. Where that cannot be had
  // metadata is asked for as without.
  bool watch_metadata = true;
  // May be null. On the executor: nobody has answered for a while, and why;
  // said again every few seconds. For who waits and would like to know for what.
  std::function<void(const std::string& why)> on_no_answer;
};

// How long nobody answers before on_no_answer says so, and how often again.
inline constexpr int64_t kNoAnswerQuietUs = 2'000'000;
inline constexpr int64_t kNoAnswerEveryUs = 5'000'000;

// "host:port,host:port"; INVALID_REQUEST names the part that is no address.
absl::StatusOr<std::vector<api::Endpoint>> ParseBootstrap(
    std::string_view text);

}  // namespace sluice
