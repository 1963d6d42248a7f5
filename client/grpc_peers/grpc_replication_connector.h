// How a follower reaches its leaders over gRPC.
#pragma once

#include <memory>

#include "client/peers/replication_stream.h"

namespace sluice {

// Each stream has a connection of its own, made when it is opened: bulk data
// delays nothing else, and a leader that was away is reached at once, without
// the backoff of an older connection (FollowerLinks waits between attempts). A
// leader whose process died ends the stream at once, a silent one after 3 s.
// Any thread; the executor given to Open outlives its streams.
std::unique_ptr<ReplicationConnector> MakeGrpcReplicationConnector();

}  // namespace sluice
