// A whole cluster in one thread and virtual time: the same controller and
// broker that sluiced runs, on disks that forget and a network that breaks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "broker/broker.h"
#include "broker/process/controller_process.h"
#include "common/base/random.h"
#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"
#include "storage/mem_kv_store.h"
#include "test/sim/sim_network.h"

namespace sluice::sim {

struct SimOptions {
  int nodes = 3;        // 1..nodes are brokers
  int controllers = 3;  // of them, the first so many are controllers too
  bool separate = false;  // the controllers are processes of their own: 101...
  int shards = 2;
  std::map<std::string, std::string> settings;
};

// One machine, and the process that runs on it.
struct SimNode {
  SimNode(SimWorld* world, NodeId node_id) : id(node_id), host(world, node_id) {}

  const NodeId id;
  SimHost host;
  MemFileSystem fs;
  MemKvStore kv;
  int boots = 0;         // of the machine: its boot id
  // The process; null while it is down.
  LifePtr life;
  std::vector<std::unique_ptr<Executor>> executors;
  std::unique_ptr<RaftTransport> raft_transport;
  std::unique_ptr<BrokerDialer> dialer;
  std::vector<std::unique_ptr<ControllerPeer>> peers;
  std::unique_ptr<ReplicationConnector> connector;
  std::unique_ptr<ControllerProcess> controller;
  std::unique_ptr<Broker> broker;
  bool serving = false;
  std::vector<absl::Status> fatal;
};

class SimCluster {
 public:
  SimCluster(SimOptions options, uint64_t seed);
  ~SimCluster();

  SimWorld& world() { return world_; }
  SimNetwork& network() { return network_; }
  SimNode& at(int id) { return *nodes_.at(NodeId(id)); }
  Random& random() { return random_; }
  const std::map<NodeId, std::unique_ptr<SimNode>>& nodes() const {
    return nodes_;
  }
  bool up(int id) { return at(id).life != nullptr; }
  bool is_broker(int id) const { return id <= options_.nodes; }
  int broker_count() const { return options_.nodes; }

  void Boot(int id);
  void BootAll();
  // The process dies, the page cache lives.
  void Kill(int id);
  // The machine loses its power: what was not synced is gone.
  void PowerCut(int id);
  // The process stands still, and all it hears of waits for it.
  void Pause(int id);
  void Resume(int id);
  // Clean; within `limit_ms`.
  bool Stop(int id, int64_t limit_ms = 10'000);
  // The disk of a node that is down is replaced.
  void Wipe(int id);

  void RunFor(int64_t ms) { world_.RunFor(ms * 1000); }
  template <class Predicate>
  bool RunUntil(Predicate done, int64_t limit_ms) {
    return world_.RunUntil(done, limit_ms * 1000);
  }
  // All living brokers serve and no partition is without leader or full ISR.
  bool AwaitHealthy(int64_t limit_ms = 20'000);
  std::string Health();
  // As a broker that is up knows; 0: none.
  int ActiveController();

  // ---- As a client, through the broker's own API ----
  absl::Status CreateTopic(const std::string& name, int partitions,
                           int replicas,
                           std::map<std::string, std::string> configs = {});
  // Where clients would go; 0: no leader is known.
  int LeaderOf(const std::string& topic, int partition);
  std::optional<v1::TopicMetadata> Topic(const std::string& name);
  std::optional<v1::PartitionMetadata> Partition(const std::string& topic,
                                                 int partition);
  // One attempt, one record, at the leader that is known; waits for the answer.
  absl::StatusOr<Offset> Produce(const std::string& topic, int partition,
                                 const std::string& value, int acks = -1);
  // Until acknowledged.
  absl::StatusOr<Offset> ProduceHard(const std::string& topic, int partition,
                                     const std::string& value,
                                     int64_t limit_ms = 20'000);
  // Every committed value from the start.
  std::vector<std::string> ReadAll(const std::string& topic, int partition);
  TopicId TopicIdOf(const std::string& topic);

  std::vector<int> ids() const;
  std::vector<int> controller_ids() const { return ControllerIds(); }
  bool is_controller(int id) const;
  int NextClient() { return next_client_++; }
  // The bytes of a replica's segments, one behind the other; nullopt: the
  // node has no such replica.
  std::optional<std::string> LogBytes(int id, const TopicPartition& tp);

 private:
  std::vector<int> ControllerIds() const;
  Executor* NewExecutor(SimNode& node);
  void OpenController(SimNode& node);
  void OpenBroker(SimNode& node);
  void End(SimNode& node,
           SimNetwork::Death death = SimNetwork::Death::kKernelLives);
  int AnyBroker();
  api::CallContext ContextAt(int id);

  const SimOptions options_;
  SimWorld world_;
  Random random_;
  SimNetwork network_;
  std::shared_ptr<const ConfigRegistry> configs_;
  std::map<NodeId, std::unique_ptr<SimNode>> nodes_;
  int next_client_ = 0;
};

}  // namespace sluice::sim
