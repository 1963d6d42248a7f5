// What a leader sends to one of its followers: for Hold and Drop.
#pragma once

#include "client/peers/replication_stream.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {

// The frames by which `leader` tells `follower` what is committed, once it has
// all records.
inline Match FramesOfLeader(int leader, int follower) {
  return {MessageKind::kLeaderFrame, leader, follower};
}

// Those of them that carry records.
inline Match DataOfLeader(int leader, int follower) {
  return {MessageKind::kLeaderFrame, leader, follower,
          [](const Message& message) {
            return !sim::Wire<LeaderFrame>::Decode(message.bytes).data.empty();
          }};
}

}  // namespace sluice::scenario
