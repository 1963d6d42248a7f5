// A cluster of brokers' data sides in one simulated world, and a controller
// that never fails: the real decisions and replay of controller/metadata
// behind messages that take their time. Nothing here asserts the outcome of a
// test; tests and oracles do.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "broker/replica_host.h"
#include "broker/replication/sim_network.h"
#include "broker/sim_broker_testing.h"
#include "common/base/random.h"
#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"
#include "controller/metadata/test_cluster.h"

namespace sluice {

class SimCluster {
 public:
  struct Options {
    int brokers = 3;
    int shards = 2;
    uint64_t seed = 1;
    std::map<std::string, std::string> node_defaults;
    int64_t message_us_min = 100;  // to and from the controller
    int64_t message_us_max = 1000;
    // From a process's end to the controller's word on it.
    int64_t detection_us = 50'000;
    // One in so many ISR proposals is lost on its way there, and one on its
    // way back; 0: none.
    uint64_t lose_one_proposal_in = 0;
    int64_t tail_cache_bytes = 1 << 20;
    int64_t shard_us_max = 100;  // how long a shard's task may wait
    std::map<int, std::string> racks;  // by node
  };

  // How a process ends.
  enum class End {
    kKill,              // kill -9: the page cache lives
    kPowerLossOfAll,    // nothing unsynced survives
    kPowerLossPrefix,   // a prefix of it, the last write torn
    kPowerLossSectors,  // any of it
  };

  explicit SimCluster(Options options);
  ~SimCluster();
  SimCluster(const SimCluster&) = delete;

  SimWorld& world() { return world_; }
  Random& random() { return random_; }
  SimReplicationNetwork& network() { return *network_; }
  // What is committed; what a broker knows lags behind.
  const MetadataImage& image() const { return metadata_.image(); }
  TestCluster& metadata() { return metadata_; }
  int broker_count() const { return static_cast<int>(nodes_.size()); }

  // ---- Processes: ids 1.. ----
  void Start(int id);
  void StartAll();
  void Stop(int id, End how);  // no-op when it does not run
  // Hands over and closes; runs the world meanwhile. What closing said.
  absl::Status StopClean(int id);
  // The disk is replaced by an empty one. Only while it does not run.
  void Wipe(int id);
  bool is_running(int id) const { return NodeOf(id).process != nullptr; }
  // Null when it does not run.
  SimBroker* broker(int id) { return NodeOf(id).process.get(); }
  MemFileSystem& fs(int id) { return *NodeOf(id).fs; }
  MemKvStore& views(int id) { return NodeOf(id).views; }
  // The next `count` of what replicas tell of their logs get lost.
  void DropTold(int count) { drop_told_ = count; }
  // Whether controllers hear what leaders want recorded of log starts.
  void HearLogStarts(bool hear) { hears_log_starts_ = hear; }
  // Fatal errors that processes reported, over all lives.
  const std::vector<absl::Status>& fatal() const { return fatal_; }

  // ---- Topics ----
  TopicPartition CreateTopic(const std::string& name,
                             const std::vector<int32_t>& replicas,
                             std::map<std::string, std::string> configs = {},
                             int partitions = 1);
  // __consumer_offsets, as the controllers make it.
  TopicId CreateOffsetsTopic();
  void DeleteTopic(const std::string& name);
  // After a change made through metadata(): brokers learn of it.
  void Publish();

  // ---- State ----
  // The node that leads and knows it; 0: none.
  int Leader(const TopicPartition& tp);
  // For people: the committed state, and what each replica is at.
  std::string Describe(const TopicPartition& tp);
  // A leader answers, the committed ISR is all replicas, and they follow it.
  bool Healthy(const TopicPartition& tp);
  bool RunUntilHealthy(const TopicPartition& tp,
                       int64_t limit_us = 60'000'000);
  bool RunUntilLed(const TopicPartition& tp, int64_t limit_us = 60'000'000);
  // The leader knows all that was committed before it: readers see it.
  bool RunUntilReadable(const TopicPartition& tp,
                        int64_t limit_us = 60'000'000);

  // Runs `task` on the shard of `tp` at node `id` after a message's time;
  // never when the process ends before.
  void AtShard(int id, const TopicPartition& tp,
               absl::AnyInvocable<void(Shard&)> task);

 private:
  class Link;  // of one process to the controller
  struct Node {
    int id = 0;
    std::unique_ptr<MemFileSystem> fs;
    MemKvStore views;
    int boot = 1;
    int life = 0;
    // ---- Of this life ----
    std::unique_ptr<Link> link;
    std::unique_ptr<SimBroker> process;
    BrokerEpoch epoch = kNoBrokerEpoch;  // known to the controller
    std::vector<TopicPartition> wanted;
    std::map<TopicPartition, internal::v1::ReplicaVerdict> verdicts;
    bool pushed = false;    // its first image is on its way
    bool applied = false;   // and the broker says that it has it
    bool reported = false;
    int64_t last_message_us = 0;
  };

  Node& NodeOf(int id) { return *nodes_[static_cast<size_t>(id - 1)]; }
  const Node& NodeOf(int id) const {
    return *nodes_[static_cast<size_t>(id - 1)];
  }
  int64_t MessageUs();
  // In order a node. Dropped when the process ends before.
  void ToNode(Node& node, absl::AnyInvocable<void(SimBroker&)> task);
  // What a process sent arrives though it may have died.
  void ToController(Task task);
  // The same, unless the process has ended by then.
  void ToController(const Node& node, Task task);

  void Register(Node& node);
  void OnVerdicts(Node& node, const ReplicaHost::Verdicts& verdicts);
  void MaybeReport(Node& node);
  void MaybeUnfence(Node& node);
  void Report(const Node& node, const ReplicaHost::Verdicts& verdicts);
  void Push(Node& node, std::shared_ptr<const MetadataImage> image,
            const MetadataChanges& changes);
  void Decide(Node& node, const internal::v1::AlterPartition& proposal);
  void DecideLogStart(Node& node, const internal::v1::AdvanceLogStart& wanted);
  void Answer(Node& node, const internal::v1::AlterPartition& proposal,
              IsrDecision::Outcome outcome, PartitionEpoch applied,
              int64_t delay_us);
  bool Lost();

  const Options options_;
  SimWorld world_;
  Random random_;
  std::unique_ptr<Executor> controller_;
  TestCluster metadata_;
  std::shared_ptr<const ConfigRegistry> configs_;
  std::unique_ptr<SimReplicationNetwork> network_;
  std::shared_ptr<const MetadataImage> published_ = MetadataImage::Empty();
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<absl::Status> fatal_;
  int drop_told_ = 0;
  bool hears_log_starts_ = true;
};

}  // namespace sluice
