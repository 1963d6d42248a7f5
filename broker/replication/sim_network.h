// Replication streams between simulated brokers: in virtual time, each
// direction of a stream in order, breaking as connections break.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "client/peers/replication_stream.h"
#include "common/base/random.h"
#include "common/env/sim_world.h"

namespace sluice {

class SimStream;

// One a simulated cluster; outlives its nodes. On the world's one thread.
class SimReplicationNetwork {
 public:
  struct Options {
    int64_t latency_us_min = 50;
    int64_t latency_us_max = 500;
    uint64_t seed = 1;
  };

  SimReplicationNetwork(SimWorld* world, const Options& options);
  ~SimReplicationNetwork();

  // A node's way out. Its streams count as `node`'s.
  std::unique_ptr<ReplicationConnector> ConnectorFor(NodeId node);
  // A node's way in, until Vanish(node).
  void Listen(NodeId node, const api::Endpoint& at,
              ReplicationAcceptor* acceptor);
  // The node's process is gone: nothing reaches it, its peers see their
  // streams break. Before its executors are destroyed.
  void Vanish(NodeId node);

  // ---- Faults ----
  // Streams between the two break and none opens until Heal.
  void Cut(NodeId a, NodeId b);
  void Heal();
  // Streams between the two break, once.
  void Break(NodeId a, NodeId b);

  int64_t frames_sent() const { return frames_sent_; }

 private:
  friend class SimStream;
  friend class SimConnector;
  struct Listener {
    NodeId node;
    ReplicationAcceptor* acceptor = nullptr;
  };

  std::shared_ptr<FollowerStream> Open(NodeId from, const api::Endpoint& to,
                                       Executor* executor,
                                       StreamEvents<LeaderFrame> events);
  int64_t Latency();
  bool IsCut(NodeId a, NodeId b) const;
  void Forget(const SimStream* stream);

  SimWorld* const world_;
  const Options options_;
  Random random_;
  std::map<api::Endpoint, Listener> listeners_;
  std::vector<std::shared_ptr<SimStream>> streams_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  int64_t frames_sent_ = 0;
};

}  // namespace sluice
