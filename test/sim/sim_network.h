// Calls and streams between the processes of a simulated cluster, through the
// same peer interfaces as gRPC's: in order on one stream, late, or broken.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "broker/broker_api.h"
#include "client/peers/broker_peer.h"
#include "client/peers/controller_peer.h"
#include "client/peers/replication_stream.h"
#include "common/base/random.h"
#include "common/env/sim_world.h"
#include "controller/controller_api.h"
#include "controller/raft_driver/raft_transport.h"

namespace sluice::sim {

// One life of one process; what is on its way to a life that has ended is
// lost.
struct Life {
  NodeId id;
  bool alive = true;
  bool hung = false;  // SIGSTOP or a lost host: nothing arrives, nothing breaks
  ControllerApi* controller = nullptr;
  ReplicationAcceptor* replication = nullptr;
  RaftTransportEvents* raft = nullptr;
  Executor* controller_executor = nullptr;
  BrokerApi* broker = nullptr;
  Executor* edge_executor = nullptr;  // where calls of clients arrive
};
using LifePtr = std::shared_ptr<Life>;

// One direction of a stream. What follows a lost message is lost too, as in
// TCP; both ends hear of it when their keepalive has run out.
struct Lane {
  int64_t last_us = 0;
  bool lost = false;
  std::function<void()> on_lost;  // once
};

class SimNetwork {
 public:
  static constexpr int64_t kKeepaliveUs = 3'000'000;

  SimNetwork(SimWorld* world, uint64_t seed);
  ~SimNetwork();

  // Node n's internal listener is "n<n>:1", its public one "public<n>:1".
  static api::Endpoint EndpointOf(NodeId id);
  static api::Endpoint PublicEndpointOf(NodeId id);

  void Up(LifePtr life);
  // Its streams break and its calls fail at the other ends.
  void Down(const LifePtr& life);
  void Cut(NodeId a, NodeId b);
  void Heal() { cuts_.clear(); }
  bool Reaches(NodeId a, NodeId b) const { return !cuts_.contains({a, b}); }

  LifePtr Find(NodeId id) const;
  LifePtr Find(const api::Endpoint& endpoint) const;

  // Runs `task` on `to` after a while, in the order of `lane`'s calls, unless
  // the network is cut or the life is over by then. `lane` may be null: a
  // message of its own.
  void Carry(const LifePtr& from, const LifePtr& to, Executor* executor,
             const std::shared_ptr<Lane>& lane, Task task);
  // Something that must be told when either end dies.
  using BreakId = uint64_t;
  BreakId OnBreak(const LifePtr& a, const LifePtr& b, Task broken);
  void Forget(BreakId id) { breaks_.erase(id); }

  // ---- What a process is given ----
  std::unique_ptr<ControllerPeer> MakeControllerPeer(LifePtr own, NodeId to,
                                                     Executor* executor);
  std::unique_ptr<ReplicationConnector> MakeConnector(LifePtr own);
  std::unique_ptr<RaftTransport> MakeRaftTransport(LifePtr own);
  std::unique_ptr<BrokerDialer> MakeDialer(LifePtr own);
  // For a client: a life that listens to nothing.
  std::unique_ptr<BrokerConnector> MakeBrokerConnector(LifePtr own);

  SimWorld* world() { return world_; }
  int64_t Latency() { return random_.Between(100, 400); }

 private:
  struct Break {
    std::weak_ptr<Life> a;
    std::weak_ptr<Life> b;
    Task broken;
  };

  SimWorld* const world_;
  Random random_;
  std::unique_ptr<Executor> wire_;
  std::map<NodeId, LifePtr> lives_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  std::map<BreakId, Break> breaks_;
  BreakId next_break_ = 1;
};

}  // namespace sluice::sim
