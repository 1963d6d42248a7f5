// A connector whose peers tell a Recorder what the client library asks brokers
// and what they answer.
#pragma once

#include <memory>

#include "client/peers/broker_peer.h"
#include "test/chaos/recorder.h"

namespace sluice::chaos {

// Of ProduceStream the values carried and the epoch that acknowledged them; of
// Fetch and ListOffsets(latest) leader epoch and high watermark of each
// answered partition. Everything passes unchanged.
// `recorder` outlives the peers.
std::unique_ptr<BrokerConnector> MakeRecordingConnector(
    std::unique_ptr<BrokerConnector> real, Recorder* recorder);

}  // namespace sluice::chaos
