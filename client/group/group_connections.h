// The GroupService of every broker that was asked, one peer an address.
#pragma once

#include <map>
#include <memory>

#include "client/peers/group_peer.h"

namespace sluice {

// Lives on the client's executor. At most kConnectionsMax addresses; past that
// all are let go of (calls in flight are answered with kUnavailable, and asked
// again).
class GroupConnections {
 public:
  static constexpr size_t kConnectionsMax = 1024;

  GroupConnections(GroupConnector* connector, Executor* executor)
      : connector_(connector), executor_(executor) {}

  std::shared_ptr<GroupPeer> At(const api::Endpoint& endpoint) {
    const auto found = peers_.find(endpoint);
    if (found != peers_.end()) return found->second;
    if (peers_.size() >= kConnectionsMax) peers_.clear();
    return peers_[endpoint] = connector_->ConnectGroups(endpoint, executor_);
  }

 private:
  GroupConnector* const connector_;
  Executor* const executor_;
  std::map<api::Endpoint, std::shared_ptr<GroupPeer>> peers_;
};

}  // namespace sluice
