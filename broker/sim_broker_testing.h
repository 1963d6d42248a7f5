// The data side of one broker process, in simulated time over a disk in
// memory: directory, shards, streams. Who registers it and feeds it metadata
// is somebody else (cluster_testing.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/coordinator/group_coordinators.h"
#include "broker/log_directory.h"
#include "broker/replicas.h"
#include "broker/replication/follower_links.h"
#include "broker/replication/leader_sessions.h"
#include "broker/replication/sim_network.h"
#include "common/base/random.h"
#include "common/env/mem_file_system.h"
#include "common/env/sim_world.h"
#include "controller/metadata/config_registry.h"
#include "storage/mem_kv_store.h"

namespace sluice {

// A thread that is busy, or waits for a disk: every task takes its time, in
// order.
class SlowExecutor final : public Executor {
 public:
  SlowExecutor(SimWorld* world, uint64_t seed, int64_t us_min, int64_t us_max)
      : world_(world),
        inner_(world->NewExecutor()),
        random_(seed),
        us_min_(us_min),
        us_max_(us_max) {}
  void Post(Task task) override { PostAfter(0, std::move(task)); }
  TimerId PostAfter(int64_t delay_us, Task task) override;
  bool Cancel(TimerId timer) override { return inner_->Cancel(timer); }
  bool IsCurrent() const override { return inner_->IsCurrent(); }

 private:
  SimWorld* const world_;
  std::unique_ptr<Executor> inner_;
  Random random_;
  const int64_t us_min_;
  const int64_t us_max_;
  int64_t last_us_ = 0;
};

class SimBroker {
 public:
  struct Deps {
    SimWorld* world = nullptr;
    MemFileSystem* fs = nullptr;
    MemKvStore* views = nullptr;  // of __consumer_offsets
    SimReplicationNetwork* network = nullptr;
    std::shared_ptr<const ConfigRegistry> configs;
    IsrProposals* isr_proposals = nullptr;
    LogStartRecords* log_starts = nullptr;
    ReplicaFailures* failures = nullptr;
    NodeId id;
    ClusterId cluster_id;
    IncarnationId incarnation;
    api::Endpoint endpoint;  // of replication
    std::string boot_id;
    int shards = 2;
    int64_t tail_cache_bytes = 1 << 20;  // a shard
    int64_t disk_us_min = 20;
    int64_t disk_us_max = 400;
    int64_t shard_us_max = 100;  // how long a shard's task may wait
    int64_t view_checkpoint_bytes = 4 << 10;
    int64_t replication_bytes = 64 << 20;  // windows of all followers
    uint64_t seed = 1;
    std::function<void(absl::Status)> on_fatal;
  };

  explicit SimBroker(Deps deps);
  // A killed process: nobody is answered. Vanish from the network and end the
  // file system's machine before.
  ~SimBroker();

  Executor* control() { return control_.get(); }
  Replicas& replicas() { return *replicas_; }
  LogDirectory& directory() { return *directory_; }
  Shard& ShardOf(const TopicPartition& tp);
  // Null when it is not hosted.
  const Partition* Find(const TopicPartition& tp);
  ShardCounters Counters() const;
  // Null when its partition is not hosted. On the partition's shard.
  coordinator::GroupCoordinator* CoordinatorOf(const TopicPartition& tp);

  // On control().
  void ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                     const MetadataChanges& changes, BrokerEpoch own_epoch);

 private:
  absl::Status CheckSession(const OpenSession& open) const;
  void AddCoordinators(std::vector<Executor*> shards);

  Deps deps_;
  // First, so that it goes last.
  std::unique_ptr<Executor> control_, replication_, io_, worker_;
  std::unique_ptr<Executor> sync_;
  std::vector<std::unique_ptr<Executor>> shard_executors_;
  std::unique_ptr<LogDirectory> directory_;
  std::unique_ptr<coordinator::GroupCoordinators> coordinators_;
  std::unique_ptr<Replicas> replicas_;
  std::unique_ptr<ReplicationConnector> connector_;
  std::unique_ptr<FollowerLinks> links_;
  std::unique_ptr<LeaderSessions> sessions_;
  std::shared_ptr<const MetadataImage> image_;
};

}  // namespace sluice
