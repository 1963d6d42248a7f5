// What the Consume streams of a broker tell to metrics.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace sluice {

struct ConsumeFacts {
  int64_t streams = 0;
  int64_t revocations = 0;  // that wait for their clients
  // Pushed, and not acknowledged by the clients.
  int64_t unacknowledged_bytes = 0;

  // Counters.
  int64_t takeovers = 0;  // memberships that a stream here went on with
  int64_t pushed_records = 0;
  // By the error's name; NONE: it left in good order. CLIENT_GONE: its
  // connection broke.
  std::map<std::string, int64_t> ended;
};

}  // namespace sluice
