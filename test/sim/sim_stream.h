// One HTTP/2 stream between two processes, as the simulated network carries
// it: in order, no duplicates, and when it breaks both ends hear of it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "broker/broker_api.h"
#include "broker/consume_api.h"
#include "broker/group_api.h"
#include "client/peers/replication_stream.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/controller_api.h"
#include "controller/raft_driver/raft_transport.h"
#include "test/sim/message.h"

namespace sluice::sim {

// One life of one process; what is on its way to a life that has ended is
// lost.
struct Life {
  NodeId id;
  bool alive = true;
  bool hung = false;  // SIGSTOP: its executors stand still
  const Clock* clock = nullptr;
  ControllerApi* controller = nullptr;
  ReplicationAcceptor* replication = nullptr;
  RaftTransportEvents* raft = nullptr;
  std::map<NodeId, uint64_t> raft_lanes;  // the newest stream from each peer
  Executor* controller_executor = nullptr;
  BrokerApi* broker = nullptr;
  GroupApi* groups = nullptr;
  ConsumeApi* consume = nullptr;
  Executor* edge_executor = nullptr;  // where calls of clients arrive
};
using LifePtr = std::shared_ptr<Life>;

struct Parcel;
using Delivery = std::function<void(const Parcel&)>;

// A message on its way.
struct Parcel {
  Message message;  // its bytes are `bytes`
  std::string bytes;
  Delivery deliver;
  bool held = false;
  bool stray = false;  // a copy: its answer is nobody's
};
using ParcelPtr = std::shared_ptr<Parcel>;

enum class Side { kOpener = 0, kAcceptor = 1 };
inline Side Other(Side side) {
  return side == Side::kOpener ? Side::kAcceptor : Side::kOpener;
}

struct SimStream {
  // What a stream's user promises about it.
  enum class Form {
    kUnary,   // one request, one reply: what is dropped is waited for
    kStream,  // ends for both when something is lost
    kLossy,   // Raft's: single messages may be lost or come twice
  };
  using OnEnd = std::function<void(const absl::Status&)>;
  // What uses an end holds the stream, and the end's `on_end` what uses it: an
  // end that is over lets go of it.
  struct End {
    LifePtr life;
    Executor* executor = nullptr;
    // At most once, on the executor: the connection or the other process ended.
    OnEnd on_end;

    // Of what goes to this end:
    int64_t last_arrival_us = 0;
    int in_flight = 0;
    std::deque<ParcelPtr> waiting;  // behind an obstacle or a held message
    bool lost = false;              // nothing arrives any more
    bool ended = false;             // nobody listens any more

    // Nobody listens; gives what it held. What waited may hold as much, and
    // come back here when it goes.
    OnEnd Close() {
      ended = true;
      const auto dropped = std::exchange(waiting, {});
      return std::exchange(on_end, nullptr);
    }
  };

  uint64_t lane = 0;
  Form form = Form::kStream;
  // Opened when the link had been one-way for so long that the connection of
  // before was gone: needs both directions.
  bool needs_both_ways = false;
  bool broken = false;
  int64_t keepalive_us = 3'000'000;
  int64_t silent_since_us = -1;
  std::array<End, 2> ends;

  End& end(Side side) { return ends[static_cast<size_t>(side)]; }
};
using StreamPtr = std::shared_ptr<SimStream>;

}  // namespace sluice::sim
