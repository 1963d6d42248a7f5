// The brokers a client talks to, one peer an address.
#pragma once

#include <map>
#include <memory>

#include "client/client_types.h"

namespace sluice {

// Lives on the client's executor. An address is connected to when first asked
// for; peers reconnect by themselves. At most kConnectionsMax addresses; past
// that the one asked for longest ago is dropped (its calls in flight finish).
class Connections {
 public:
  static constexpr size_t kConnectionsMax = 4096;

  Connections(BrokerConnector* connector, Executor* executor)
      : connector_(connector), executor_(executor) {}

  std::shared_ptr<BrokerPeer> At(const api::Endpoint& endpoint);
  size_t size() const { return peers_.size(); }

 private:
  struct Entry {
    std::shared_ptr<BrokerPeer> peer;
    uint64_t used = 0;
  };

  BrokerConnector* const connector_;
  Executor* const executor_;
  std::map<api::Endpoint, Entry> peers_;
  uint64_t uses_ = 0;
};

}  // namespace sluice
