// Fills a NodeView from a real Broker and ControllerProcess: what has changed
// since the last look, and only that.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/broker.h"
#include "broker/process/controller_process.h"
#include "broker/shard.h"
#include "broker/offsets/offset_view.h"
#include "common/env/mem_file_system.h"
#include "storage/mem_kv_store.h"
#include "test/check/log_mirror.h"
#include "test/check/views.h"

namespace sluice::check {

// What a process is made of; either role may be missing.
struct Process {
  const Broker* broker = nullptr;
  const ControllerProcess* controller = nullptr;
  const MemFileSystem* disk = nullptr;  // where the broker's logs are
  const MemKvStore* views = nullptr;  // of __consumer_offsets; null: not looked at
};

// Of one life of one process. Where nothing has changed a look costs a few
// comparisons a replica.
class LiveNode {
 public:
  // The parts of `process` and `view` outlive this.
  LiveNode(const Process& process, NodeView* view);

  // Brings the view up to date.
  Changes Refresh();

  // Past the view, as the page cache holds it; nullopt: not hosted.
  std::optional<std::vector<StoredBatch>> ReadLog(
      const TopicPartition& tp) const;
  // The bytes of its segments, one behind the other.
  std::optional<std::string> LogBytes(const TopicPartition& tp) const;
  // What its log knows of idempotent producers; null: not hosted.
  const ProducerTable* FindProducers(const TopicPartition& tp) const;
  // Of a partition of __consumer_offsets that is hosted: what its log says in
  // [from, upto). CORRUPT_MESSAGE and others: what nobody of ours wrote.
  absl::StatusOr<std::vector<offsets::ViewBatch>> ReadGroupBatches(
      const TopicPartition& tp, Offset from, Offset upto) const;
  const MemKvStore* views() const { return process_.views; }
  // Of the Raft log.
  absl::StatusOr<std::vector<raft::Entry>> ReadEntries(LogIndex from,
                                                       LogIndex end) const;

 private:
  // What tells whether a replica has changed.
  struct Version {
    const Partition* partition = nullptr;
    uint64_t steps = 0;
    uint64_t generation = 0;
    Offset leo;
    Offset durable_leo;
    bool failed = false;
    bool cutting = false;
    bool lossy_on_disk = false;

    bool operator==(const Version&) const = default;
  };
  struct ShardState {
    const Shard* shard;
    std::vector<Version> versions;  // in the order of the shard's map
    size_t recovered = 0;
    size_t unusable = 0;
  };

  static Version VersionOf(const Partition& partition);
  void RefreshController(Changes& changes);
  void RefreshBroker(Changes& changes);
  void RefreshShard(ShardState& state, Changes& changes);
  void Rebuild(ShardState& state, Changes& changes);
  void RemoveGone(Changes& changes);
  void Note(const TopicPartition& tp, const Partition& partition,
            bool log_was_cut, Changes& changes);
  void NoteRecovered(const TopicPartition& tp, const Shard::Recovered& found,
                     Changes& changes);
  void NoteUnusable(const TopicPartition& tp, Changes& changes);
  ReplicaView& Touch(const TopicPartition& tp, Changes& changes);
  const Partition* Find(const TopicPartition& tp) const;

  const Process process_;
  NodeView* const view_;
  std::vector<ShardState> shards_;
  std::map<TopicPartition, LogPlace> places_;  // of the logs' last batches
};

}  // namespace sluice::check
