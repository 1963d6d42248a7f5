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
#include "test/sim/disk_executor.h"
#include "test/sim/sim_network.h"

namespace sluice {
class Partition;
}  // namespace sluice

namespace sluice::sim {

struct SimNode;

struct SimOptions {
  int nodes = 3;        // 1..nodes are brokers
  int controllers = 3;  // of them, the first so many are controllers too
  bool separate = false;  // the controllers are processes of their own: 101...
  int shards = 2;
  std::map<std::string, std::string> settings;
  // How much faster than true time a node's clock runs, in millionths.
  std::map<int, int64_t> drift_ppm;
  // What a task of a disk's thread takes when nothing is wrong with the disk.
  int64_t disk_us = 0;
  // Small ones make rare branches common.
  SessionOptions sessions;
  LivenessTimes liveness;
  raft::RaftConfig raft;
  int32_t producer_id_block = kProducerIdBlockSize;
  int64_t tail_cache_bytes_per_shard = Broker::kTailCacheBytesPerShard;
  MemoryBudgets memory;
  std::map<int, std::string> racks;  // of brokers; none: ""
  bool watches = true;  // clients may watch metadata
  WatchLimits watch_limits;
  // How far a node's wall clock is from true time at first.
  std::map<int, int64_t> wall_skew_ms;
  // Of how many processes that die one loses its views of __consumer_offsets
  // with its page cache; 0: of none.
  int views_lost_one_in = 0;
};

// What became of the views of __consumer_offsets of all nodes.
struct ViewCounts {
  int64_t lost = 0;         // with a checkpoint to fill them from
  int64_t lost_bare = 0;    // without: their logs are replayed
  int64_t checkpoints = 0;  // that were made
  int64_t fills = 0;        // checkpoints that were opened for lost views
};

// How a process ended.
enum class ProcessEnd { kStopped, kKilled, kPowerCut };

// Who looks on. What it is told of still stands as it was.
class ClusterObserver {
 public:
  virtual ~ClusterObserver() = default;
  // Opened, not started.
  virtual void OnBoot(SimNode& node) = 0;
  // Before it is destroyed. Also kPowerCut of a machine whose process is down:
  // its page cache is gone.
  virtual void OnEnd(SimNode& node, ProcessEnd how) = 0;
  // The disk of a node that is down was replaced.
  virtual void OnWiped(SimNode& node) = 0;
};

// One machine, and the process that runs on it.
struct SimNode {
  SimNode(SimWorld* world, NodeId node_id) : id(node_id), host(world, node_id) {}

  const NodeId id;
  SimHost host;
  MemFileSystem fs;
  MemKvStore kv;
  MemKvStore views;  // of __consumer_offsets; keeps no log of its own
  int64_t failed_view_syncs = 0;  // of `fs`, while checkpoints were made
  int boots = 0;         // of the machine: its boot id
  // Of the disk under the broker's logs, and under the Raft log.
  std::shared_ptr<DiskSpeed> log_disk = std::make_shared<DiskSpeed>();
  std::shared_ptr<DiskSpeed> raft_disk = std::make_shared<DiskSpeed>();
  // The process; null while it is down.
  LifePtr life;
  std::vector<std::unique_ptr<Executor>> executors;
  std::vector<DiskExecutor*> disk_threads;  // of `executors`
  std::unique_ptr<RaftTransport> raft_transport;
  std::unique_ptr<BrokerDialer> dialer;
  std::vector<std::unique_ptr<ControllerPeer>> peers;
  std::unique_ptr<ReplicationConnector> connector;
  std::unique_ptr<LeaderConnector> leaders;
  std::unique_ptr<GroupConnector> groups;
  std::unique_ptr<ControllerProcess> controller;
  std::unique_ptr<Broker> broker;
  bool serving = false;
  // Why processes of this node ended themselves.
  std::vector<absl::Status> fatal;
};

class SimCluster {
 public:
  SimCluster(SimOptions options, uint64_t seed);
  ~SimCluster();

  SimWorld& world() { return world_; }
  SimNetwork& network() { return network_; }
  const SimWorld& world() const { return world_; }
  const SimNetwork& network() const { return network_; }
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
  // The machine loses its power: what was not synced is gone, but for what
  // `random()` has reached the disk: the first writes of each file, or with
  // `reordered` any of its sectors.
  void PowerCut(int id, bool reordered = false);
  // Of what was not synced nothing survives: for scripts.
  void PowerCutLosingAll(int id);
  // The process stands still, and all it hears of waits for it.
  void Pause(int id);
  void Resume(int id);
  // Clean; within `limit_ms`.
  bool Stop(int id, int64_t limit_ms = 10'000);
  // In two steps: `stopped` runs when the process may end, FinishStop ends it.
  void BeginStop(int id, std::function<void()> stopped);
  void FinishStop(int id);
  // The disks of a node that is down are replaced; WipeLogs: the broker's only,
  // WipeRaft: the controller's only.
  void Wipe(int id);
  void WipeLogs(int id);
  void WipeRaft(int id);
  // How much longer than usual a task of the disk's threads takes; hung: until
  // it is no more.
  void SetDisks(int id, int64_t more_us, bool hung);
  const ViewCounts& view_counts() const { return view_counts_; }
  void AddObserver(ClusterObserver* observer) {
    observers_.push_back(observer);
  }
  void RemoveObserver(ClusterObserver* observer) {
    std::erase(observers_, observer);
  }
  const ConfigRegistry& configs() const { return *configs_; }
  const std::shared_ptr<const ConfigRegistry>& shared_configs() const {
    return configs_;
  }

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
  // Every segment of the node's logs, strays too; of one replica, from the
  // first on.
  std::vector<std::string> LogFiles(int id);
  std::vector<std::string> LogFiles(int id, const TopicPartition& tp);
  // What the paths of those begin with; where the marks of all are.
  static std::string LogHome(const TopicPartition& tp);
  static std::string JournalPath();
  // Null: the node runs no such replica.
  const sluice::Partition* FindReplica(int id, const TopicPartition& tp);
  // What was written to a replica's segments, one behind the other, from where
  // its log begins if it runs; nullopt: the node has no such replica.
  std::optional<std::string> LogBytes(int id, const TopicPartition& tp);
  // nullopt: the node runs no such replica.
  std::optional<Offset> LogStart(int id, const TopicPartition& tp);

 private:
  std::vector<int> ControllerIds() const;
  Executor* NewExecutor(SimNode& node);
  Executor* NewDiskExecutor(SimNode& node, std::shared_ptr<DiskSpeed> speed,
                            MemFileSystem* fs);
  void OnFatal(SimNode& node, const absl::Status& why);
  bool OpenController(SimNode& node);
  bool OpenBroker(SimNode& node);
  coordinator::ViewStoreFiles ViewFilesOf(SimNode& node);
  void LoseViews(SimNode& node);
  void End(SimNode& node, ProcessEnd how);
  void Destroy(SimNode& node);
  void Reboot(SimNode& node);
  int AnyBroker();
  api::CallContext ContextAt(int id);

  const SimOptions options_;
  SimWorld world_;
  std::unique_ptr<Executor> operator_ = world_.NewExecutor();
  Random random_;
  SimNetwork network_;
  std::shared_ptr<const ConfigRegistry> configs_;
  std::map<NodeId, std::unique_ptr<SimNode>> nodes_;
  std::vector<ClusterObserver*> observers_;
  int next_client_ = 0;
  ViewCounts view_counts_;
};

}  // namespace sluice::sim
