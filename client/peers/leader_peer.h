// A broker's view of another that leads partitions: for calls that it hands on
// (Route::kForward).
#pragma once

#include <memory>

#include "client/peers/broker_peer.h"

namespace sluice {

using SubscribeSender = FrameSender<api::SubscribeRequest>;
using SubscribeEvents = StreamEvents<api::SubscribeResponse>;

// As BrokerPeer, with the calls that only such a broker makes.
class LeaderPeer : public BrokerPeer {
 public:
  virtual void OffsetForLeaderEpoch(
      const api::OffsetForLeaderEpochRequest& request, int64_t timeout_us,
      PeerReply<api::OffsetForLeaderEpochResponse> reply) = 0;
  // Never fails at once, as OpenProduceStream.
  virtual std::shared_ptr<SubscribeSender> OpenSubscription(
      SubscribeEvents events) = 0;
};

// Makes peers by address of the internal listener.
class LeaderConnector {
 public:
  virtual ~LeaderConnector() = default;
  virtual std::shared_ptr<LeaderPeer> Connect(const api::Endpoint& endpoint,
                                              Executor* executor) = 0;
};

}  // namespace sluice
