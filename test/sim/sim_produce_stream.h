// A client's ProduceStream on a simulated cluster.
#pragma once

#include <memory>

#include "client/peers/broker_peer.h"
#include "test/sim/sim_network.h"

namespace sluice::sim {

// As BrokerPeer::OpenProduceStream, from the process `own` to broker `to`.
std::shared_ptr<ProduceSender> OpenSimProduceStream(SimNetwork* network,
                                                    LifePtr own,
                                                    Executor* executor,
                                                    NodeId to,
                                                    ProduceStreamEvents events);

}  // namespace sluice::sim
