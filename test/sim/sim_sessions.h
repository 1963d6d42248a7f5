// Streams of a broker's public services on a simulated cluster.
#pragma once

#include <memory>
#include <string>

#include "client/peers/leader_peer.h"
#include "test/sim/sim_network.h"

namespace sluice::sim {

// From the process `own` to that listener of broker `to`.
struct SimDial {
  SimNetwork* network = nullptr;
  LifePtr own;
  Executor* executor = nullptr;  // hears what happens
  NodeId to;
  std::string listener;
};

// As BrokerPeer and LeaderPeer have them: a broker that is not there shows as
// on_closed.
std::shared_ptr<ProduceSender> OpenSimProduceStream(SimDial dial,
                                                    ProduceStreamEvents events);
std::shared_ptr<SubscribeSender> OpenSimSubscription(SimDial dial,
                                                     SubscribeEvents events);
std::shared_ptr<MetadataWatchSender> OpenSimWatch(SimDial dial,
                                                  MetadataWatchEvents events);

}  // namespace sluice::sim
