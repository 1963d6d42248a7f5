// A client's ProduceStream on a simulated cluster.
#pragma once

#include <memory>
#include <string>

#include "client/peers/broker_peer.h"
#include "test/sim/sim_network.h"

namespace sluice::sim {

// As BrokerPeer::OpenProduceStream, from the process `own` to that listener of
// broker `to`.
std::shared_ptr<ProduceSender> OpenSimProduceStream(SimNetwork* network,
                                                    LifePtr own,
                                                    Executor* executor,
                                                    NodeId to,
                                                    std::string listener,
                                                    ProduceStreamEvents events);

}  // namespace sluice::sim
