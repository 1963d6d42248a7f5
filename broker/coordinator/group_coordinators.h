// All coordinators of a broker: one for each replica of __consumer_offsets that
// it hosts, and the stores of their views.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "broker/coordinator/coordinator_config.h"
#include "broker/coordinator/group_coordinator.h"
#include "broker/coordinator/view_store.h"
#include "broker/replica_observer.h"
#include "common/base/random.h"

namespace sluice::coordinator {

// Of one shard, for metrics.
struct ShardGroups {
  int64_t loaded = 0;
  int64_t requests_waiting = 0;
  CoordinatorCounters counters;
};

class GroupCoordinators final : public ReplicaObservers {
 public:
  struct Deps {
    const Clock* clock = nullptr;
    FileSystem* fs = nullptr;  // that the directories are in
    Executor* io_executor = nullptr;
    ViewStoreFiles files;
    std::vector<std::string> directories;  // of the broker's data
    std::vector<Executor*> shards;
    NodeId self;
    CoordinatorConfig config;
    uint64_t random_seed = 0;
    // There is something to be watched: on any shard, often. May be null.
    std::function<void()> on_watch;
  };

  // Opens the stores; blocks.
  explicit GroupCoordinators(Deps deps);

  // Any thread: stores of views that cannot be opened, and why.
  std::vector<std::pair<std::string, absl::Status>> ClosedViews() const;

  // ---- On the shard's executor ----
  // Null: none is hosted there (yet).
  GroupCoordinator* Find(Executor* shard, const TopicPartition& tp);
  ShardGroups CollectFacts(Executor* shard) const;
  // Partitions that groups coordinated there commit, and how far those go.
  std::vector<TopicPartition> Watched(Executor* shard) const;
  void NoteHighWatermarks(
      Executor* shard,
      const std::vector<std::pair<TopicPartition, Offset>>& known);
  // Of all coordinators there; at most `max` offsets of each.
  CommittedGroups CommittedOf(Executor* shard, size_t max);

  // ---- ReplicaObservers ----
  std::unique_ptr<ReplicaObserver> Observe(const Found& found) override;
  void Forget(const TopicPartition& tp, const std::string& directory) override;

 private:
  // Owned by its shard.
  struct Shard {
    std::map<TopicPartition, GroupCoordinator*> hosted;
    CoordinatorCounters counters;
    Random random{0};
  };

  const Deps deps_;
  std::map<std::string, std::unique_ptr<ViewStore>> stores_;
  std::map<Executor*, Shard> shards_;  // none is added later
};

}  // namespace sluice::coordinator
