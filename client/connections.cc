#include "client/connections.h"

#include <algorithm>

namespace sluice {

std::shared_ptr<BrokerPeer> Connections::At(const api::Endpoint& endpoint) {
  const auto found = peers_.find(endpoint);
  if (found != peers_.end()) {
    found->second.used = ++uses_;
    return found->second.peer;
  }
  if (peers_.size() >= kConnectionsMax) {
    peers_.erase(std::min_element(peers_.begin(), peers_.end(),
                                  [](const auto& a, const auto& b) {
                                    return a.second.used < b.second.used;
                                  }));
  }
  Entry& entry = peers_[endpoint];
  entry.peer = connector_->Connect(endpoint, executor_);
  entry.used = ++uses_;
  return entry.peer;
}

}  // namespace sluice
