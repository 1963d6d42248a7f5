// Streams of a broker's public services on a simulated cluster.
#pragma once

#include <memory>
#include <string>

#include "broker/consume_api.h"
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

// GroupService.Consume as a stub has it. The call reaches its broker before the
// first message does.
class ConsumeSender : public FrameSender<v1::ConsumeRequest> {
 public:
  // Nothing is sent any more; what the broker says is heard to the end.
  virtual void HalfClose() = 0;
};
using ConsumeEvents = StreamEvents<ConsumePush>;
std::shared_ptr<ConsumeSender> OpenSimConsume(SimDial dial,
                                              ConsumeEvents events);

}  // namespace sluice::sim
