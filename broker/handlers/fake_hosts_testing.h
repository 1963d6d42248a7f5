// Shards in memory for tests of handlers: one committed log a partition, every
// call checked to come on the shard's own executor, faults on order.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/handlers/handler_deps.h"
#include "broker/partition_host.h"
#include "common/env/published.h"
#include "common/env/sim_world.h"
#include "controller/metadata/test_cluster.h"
#include "storage/batch_testing.h"
#include "storage/batch_validation.h"

namespace sluice {

class FakeHost final : public PartitionHost {
 public:
  struct Entry {
    Offset base;
    Offset next;
    Buffer batch;
  };
  struct Partition {
    std::vector<Entry> log;
    Offset leo{0};
    Offset visible{0};
    LeaderEpoch epoch{3};
    // Every call answers it when set.
    api::ItemError error;
    std::optional<api::LeaderHint> leader;
    bool offset_available = true;  // false: a new leader before its LESO
    // A follower gives records to readers with a rack alone; a leader names
    // this one to them.
    bool follower = false;
    std::optional<PreferredReplica> nearer;
  };
  struct Held {
    TopicPartition tp;
    Task ordered;  // null: has run
    absl::AnyInvocable<void(AppendOutcome)> done;
    AppendOutcome outcome;
  };

  explicit FakeHost(SimWorld* world) : FakeHost(world->NewExecutor()) {}
  explicit FakeHost(std::unique_ptr<Executor> executor)
      : executor_(std::move(executor)) {}

  std::map<TopicPartition, Partition> partitions;
  bool hold_order = false;    // appends are not ordered yet
  bool hold_answers = false;  // nor answered
  bool async_reads = false;   // as from a disk
  size_t waits_max = 10000;
  std::vector<Held> held;
  std::vector<AppendRequest> appends;  // without their bytes
  std::vector<TrimRequest> trims;
  int reads = 0;
  std::vector<OffsetRequest> by_time;
  std::vector<int32_t> read_sizes;  // max_bytes of each read

  size_t waits() const { return waits_.size(); }

  // As if a producer had.
  void Store(const TopicPartition& tp, const TestBatch& what = {}) {
    Add(partitions[tp], MakeBatch(what));
    partitions[tp].visible = partitions[tp].leo;
    Wake();
  }
  void Lose(const TopicPartition& tp, ErrorCode code) {
    partitions[tp].error = api::ItemError(code, "moved");
    partitions[tp].leader = api::LeaderHint{NodeId(2), LeaderEpoch(4), {}};
    for (auto& [id, wait] : std::exchange(waits_, {})) {
      executor_->Post(std::move(wait.wake));
    }
  }
  // On any thread of the test: lets held appends go on.
  void Release() {
    for (Held& one : std::exchange(held, {})) {
      executor_->Post([this, one = std::move(one)]() mutable {
        if (one.ordered) one.ordered();
        partitions[one.tp].visible = partitions[one.tp].leo;
        one.done(std::move(one.outcome));
        Wake();
      });
    }
  }

  Executor* executor() override { return executor_.get(); }

  void Append(AppendRequest request, Task ordered,
              absl::AnyInvocable<void(AppendOutcome)> done) override {
    EXPECT_TRUE(executor_->IsCurrent());
    Partition& partition = partitions[request.tp];
    AppendOutcome outcome;
    outcome.log_start_offset = Offset(0);
    outcome.error = partition.error;
    outcome.leader = partition.leader;
    std::vector<RecordFault> faults;
    const auto facts = ValidateProduced(
        request.batches.view(), {1048588, 1577836800000, 3'600'000, false},
        &faults);
    if (outcome.error.ok() && !facts.ok()) {
      outcome.error = api::ItemError(facts.status());
      for (const RecordFault& fault : faults) {
        outcome.record_errors.push_back({fault.record_index, fault.message});
      }
    }
    if (outcome.error.ok()) {
      outcome.base_offset = partition.leo;
      outcome.record_count = static_cast<int32_t>(facts->record_count);
      outcome.durability = "disk";
      Add(partition, std::move(request.batches));
    }
    request.batches = MutableBuffer();
    const TopicPartition tp = request.tp;
    appends.push_back(std::move(request));
    if (!hold_order) {
      ordered();
      ordered = nullptr;
    }
    if (hold_order || hold_answers) {
      held.push_back({tp, std::move(ordered), std::move(done), outcome});
      return;
    }
    partition.visible = partition.leo;
    done(std::move(outcome));
    Wake();
  }

  void Read(const ReadRequest& request,
            absl::AnyInvocable<void(ReadOutcome)> done) override {
    EXPECT_TRUE(executor_->IsCurrent());
    EXPECT_GT(request.max_bytes, 0);
    ++reads;
    read_sizes.push_back(request.max_bytes);
    ReadOutcome outcome = ReadNow(request);
    if (!async_reads) return done(std::move(outcome));
    executor_->PostAfter(1000, [done = std::move(done),
                                outcome = std::move(outcome)]() mutable {
      done(std::move(outcome));
    });
  }

  // Those asked by timestamp: answered with 7 and what was asked.
  void FindOffsetByTime(const OffsetRequest& request,
                        absl::AnyInvocable<void(OffsetOutcome)> done) override {
    EXPECT_TRUE(executor_->IsCurrent());
    by_time.push_back(request);
    OffsetOutcome outcome;
    outcome.error = partitions[request.tp].error;
    outcome.leader = partitions[request.tp].leader;
    outcome.offset = Offset(7);
    outcome.timestamp_ms = request.timestamp_ms;
    executor_->PostAfter(1000, [done = std::move(done),
                                outcome = std::move(outcome)]() mutable {
      done(std::move(outcome));
    });
  }

  OffsetOutcome FindOffset(const OffsetRequest& request) override {
    EXPECT_TRUE(executor_->IsCurrent());
    const Partition& partition = partitions[request.tp];
    OffsetOutcome outcome;
    outcome.error = partition.error;
    outcome.leader = partition.leader;
    if (partition.follower) {
      outcome.error = api::ItemError(ErrorCode::kNotLeader, "a follower");
    }
    if (!outcome.error.ok()) return outcome;
    outcome.high_watermark = outcome.last_stable_offset = partition.visible;
    outcome.leader_epoch = partition.epoch;
    if (request.position == api::OffsetPosition::kEarliest) {
      outcome.offset = Offset(0);
    } else if (!partition.offset_available) {
      outcome.error = api::ItemError(ErrorCode::kOffsetNotAvailable, "soon");
    } else {
      outcome.offset = partition.visible;
    }
    return outcome;
  }

  EpochEndOutcome FindEpochEnd(const EpochEndRequest& request) override {
    EXPECT_TRUE(executor_->IsCurrent());
    const Partition& partition = partitions[request.tp];
    EpochEndOutcome outcome;
    outcome.error = partition.error;
    outcome.leader = partition.leader;
    outcome.log_start_offset = Offset(0);
    if (request.epoch <= partition.epoch) {
      outcome.end = {partition.epoch, partition.leo};
    }
    return outcome;
  }

  void Trim(const TrimRequest& request,
            absl::AnyInvocable<void(TrimOutcome)> done) override {
    EXPECT_TRUE(executor_->IsCurrent());
    trims.push_back(request);
    TrimOutcome outcome;
    outcome.error = partitions[request.tp].error;
    outcome.leader = partitions[request.tp].leader;
    outcome.log_start_offset = request.before;
    outcome.high_watermark = partitions[request.tp].visible;
    executor_->PostAfter(100, [done = std::move(done), outcome]() mutable {
      done(std::move(outcome));
    });
  }

  WaitId WaitForProgress(const TopicPartition& tp, Offset offset,
                         Task wake) override {
    EXPECT_TRUE(executor_->IsCurrent());
    if (waits_.size() >= waits_max) return 0;
    waits_[++last_wait_] = {tp, offset, std::move(wake)};
    const WaitId id = last_wait_;
    Wake();
    return id;
  }
  void CancelWait(const TopicPartition& tp, WaitId wait) override {
    EXPECT_TRUE(executor_->IsCurrent());
    const auto found = waits_.find(wait);
    if (found == waits_.end()) return;
    EXPECT_EQ(found->second.tp, tp);
    waits_.erase(found);
  }

  v1::PartitionLog DescribeLog(const TopicPartition&) override { return {}; }

 private:
  struct Waiting {
    TopicPartition tp;
    Offset offset;
    Task wake;
  };

  static void Add(Partition& partition, MutableBuffer batches) {
    const auto next = AssignOffsets(batches, partition.leo, partition.epoch);
    ASSERT_TRUE(next.ok()) << next.status();
    partition.log.push_back(
        {partition.leo, *next, std::move(batches).Publish()});
    partition.leo = *next;
  }

  ReadOutcome ReadNow(const ReadRequest& request) {
    const Partition& partition = partitions[request.tp];
    ReadOutcome outcome;
    outcome.error = partition.error;
    outcome.leader = partition.leader;
    outcome.leader_epoch = partition.epoch;
    outcome.log_start_offset = Offset(0);
    outcome.high_watermark = outcome.last_stable_offset = partition.visible;
    outcome.next_offset = request.offset;
    if (!outcome.error.ok()) return outcome;
    if (request.leader_epoch.value_or(partition.epoch) > partition.epoch) {
      outcome.error =
          api::ItemError(ErrorCode::kUnknownLeaderEpoch, "not known here yet");
      return outcome;
    }
    outcome.follower = partition.follower && !request.rack.empty();
    if (partition.follower && !outcome.follower) {
      outcome.error = api::ItemError(ErrorCode::kNotLeader, "a follower");
      return outcome;
    }
    if (!request.rack.empty() && partition.nearer.has_value()) {
      outcome.preferred_replica = partition.nearer;
      return outcome;
    }
    if (request.offset < Offset(0) || request.offset > partition.leo) {
      outcome.error = api::ItemError(ErrorCode::kOffsetOutOfRange, "range");
      return outcome;
    }
    if (!partition.offset_available && request.offset > partition.visible) {
      outcome.error = api::ItemError(ErrorCode::kOffsetNotAvailable, "soon");
      return outcome;
    }
    for (const Entry& entry : partition.log) {
      if (entry.next <= request.offset || entry.next > partition.visible) {
        continue;
      }
      if (outcome.batches_bytes > 0 &&
          outcome.batches_bytes + entry.batch.size() >
              static_cast<size_t>(request.max_bytes)) {
        break;
      }
      outcome.batches.push_back(entry.batch);
      outcome.batches_bytes += entry.batch.size();
      outcome.next_offset = entry.next;
    }
    return outcome;
  }

  void Wake() {
    for (auto it = waits_.begin(); it != waits_.end();) {
      const Partition& partition = partitions[it->second.tp];
      if (partition.visible > it->second.offset || !partition.error.ok()) {
        executor_->Post(std::move(it->second.wake));
        it = waits_.erase(it);
      } else {
        ++it;
      }
    }
  }

  std::unique_ptr<Executor> executor_;
  std::map<WaitId, Waiting> waits_;
  WaitId last_wait_ = 0;
};

// Two shards, a worker, and the metadata of topics "a" and "b" with four
// partitions each: even ones live on the first shard.
class FakeBroker : public PartitionHosts {
 public:
  FakeBroker()
      : worker(world.NewExecutor()), image(MetadataImage::Empty()) {
    cluster.StartAll(1);
    a = cluster.CreateOn("a", {1}, {}, 4).topic_id;
    b = cluster.CreateOn("b", {1}, {}, 4).topic_id;
    image.Store(cluster.shared());
  }

  PartitionHost* HostOf(const TopicPartition& tp) override {
    return &shard(tp);
  }
  FakeHost& shard(const TopicPartition& tp) {
    return tp.partition.value() % 2 == 0 ? even : odd;
  }
  FakeHost::Partition& partition(const TopicPartition& tp) {
    return shard(tp).partitions[tp];
  }
  TopicPartition A(int partition) const {
    return {a, PartitionIndex(partition)};
  }
  TopicPartition B(int partition) const {
    return {b, PartitionIndex(partition)};
  }
  void Store(const TopicPartition& tp, const TestBatch& what = {}) {
    shard(tp).Store(tp, what);
  }
  HandlerDeps deps() {
    HandlerDeps deps;
    deps.clock = &world;
    deps.worker = worker.get();
    deps.hosts = this;
    deps.image = &image;
    deps.configs = *ConfigRegistry::Make({});
    return deps;
  }
  void Run() { world.RunFor(1'000); }

  SimWorld world;
  std::unique_ptr<Executor> worker;
  FakeHost even{&world};
  FakeHost odd{&world};
  TestCluster cluster;
  TopicId a;
  TopicId b;
  Published<MetadataImage> image;
};

inline api::TopicRef Named(std::string name) {
  api::TopicRef ref;
  ref.name = std::move(name);
  return ref;
}
inline api::TopicRef ById(const TopicId& id) {
  api::TopicRef ref;
  ref.id = id;
  return ref;
}

// What a call was answered with, once.
template <class Response>
struct Answered {
  int times = 0;
  absl::Status status;
  Response response;

  api::Answer<Response> Expect() {
    return [this](absl::Status s, Response r) {
      ++times;
      status = std::move(s);
      response = std::move(r);
    };
  }
};

}  // namespace sluice
