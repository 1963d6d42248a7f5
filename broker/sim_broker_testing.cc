#include "broker/sim_broker_testing.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {

TimerId SlowExecutor::PostAfter(int64_t delay_us, Task task) {
  const int64_t now_us = world_->MonoMicros();
  int64_t at_us = now_us + delay_us + random_.Between(us_min_, us_max_);
  if (delay_us == 0) {
    // What is posted stays in order; a timer is overtaken.
    at_us = std::max(at_us, last_us_);
    last_us_ = at_us;
  }
  return inner_->PostAfter(at_us - now_us, std::move(task));
}

SimBroker::SimBroker(Deps deps) : deps_(std::move(deps)) {
  SimWorld* world = deps_.world;
  control_ = world->NewExecutor();
  replication_ = world->NewExecutor();
  io_ = std::make_unique<SlowExecutor>(world, deps_.seed + 1,
                                       deps_.disk_us_min, deps_.disk_us_max);
  worker_ = std::make_unique<SlowExecutor>(world, deps_.seed + 2, 1, 100);
  sync_ = std::make_unique<SlowExecutor>(world, deps_.seed + 3,
                                         deps_.disk_us_min, deps_.disk_us_max);
  auto directory = LogDirectory::Open({.fs = deps_.fs,
                                       .sync_executor = sync_.get(),
                                       .io_executor = io_.get(),
                                       .on_fatal = deps_.on_fatal,
                                       .random_seed = deps_.seed + 4,
                                       .clock = world},
                                      "/data", {}, deps_.boot_id);
  INVARIANT(directory.ok(), "broker ", deps_.id, ": ",
            directory.status().ToString());
  directory_ = *std::move(directory);
  replicas_ = std::make_unique<Replicas>(
      control_.get(), std::vector<LogDirectory*>{directory_.get()});
  connector_ = deps_.network->ConnectorFor(deps_.id);
  links_ = std::make_unique<FollowerLinks>(
      FollowerLinks::Deps{replication_.get(), connector_.get(),
                          replicas_.get(), Random(deps_.seed + 5)});
  sessions_ = std::make_unique<LeaderSessions>(LeaderSessions::Deps{
      replication_.get(), replicas_.get(), deps_.id,
      [this](const OpenSession& open) { return CheckSession(open); },
      Budget::Of(deps_.replication_bytes)});
  std::vector<Executor*> shards;
  for (int i = 0; i < deps_.shards; ++i) {
    // Not at once: what a sync was asked for and what is appended before it
    // is heard of differ.
    shard_executors_.push_back(std::make_unique<SlowExecutor>(
        world, deps_.seed + 10 + static_cast<uint64_t>(i), 0,
        deps_.shard_us_max));
    shards.push_back(shard_executors_.back().get());
  }
  AddCoordinators(std::move(shards));
  for (int i = 0; i < deps_.shards; ++i) {
    Shard::Deps shard;
    shard.index = static_cast<size_t>(i);
    shard.shard_count = static_cast<size_t>(deps_.shards);
    shard.directories = {directory_.get()};
    shard.configs = deps_.configs;
    shard.tail_cache_bytes = deps_.tail_cache_bytes;
    shard.context.self = deps_.id;
    shard.context.executor = shard_executors_[static_cast<size_t>(i)].get();
    shard.context.clock = world;
    shard.context.fs = deps_.fs;
    shard.context.io_executor = io_.get();
    shard.context.worker_executor = worker_.get();
    shard.context.links = links_.get();
    shard.context.isr_proposals = deps_.isr_proposals;
    shard.context.log_starts = deps_.log_starts;
    shard.context.failures = deps_.failures;
    shard.context.observers = coordinators_.get();
    shard.context.on_fatal = deps_.on_fatal;
    replicas_->Add(std::make_unique<Shard>(std::move(shard)));
  }
  deps_.network->Listen(deps_.id, deps_.endpoint, sessions_.get());
}

SimBroker::~SimBroker() {
  sessions_.reset();
  links_.reset();
  replicas_.reset();
  coordinators_.reset();
  directory_.reset();
}

void SimBroker::AddCoordinators(std::vector<Executor*> shards) {
  coordinator::GroupCoordinators::Deps deps;
  deps.clock = deps_.world;
  deps.fs = deps_.fs;
  deps.io_executor = io_.get();
  deps_.views->SetFiles(deps_.fs);
  deps.files.open = [this](const std::string&)
      -> absl::StatusOr<std::unique_ptr<KvStore>> {
    return std::make_unique<MountedKvStore>(deps_.views);
  };
  deps.files.set_aside = [this](const std::string&) {
    deps_.views->Wipe();
    return absl::OkStatus();
  };
  deps.files.open_checkpoint = [this](const std::string& path)
      -> absl::StatusOr<std::unique_ptr<KvStore>> {
    return MemKvStore::OpenCheckpoint(*deps_.fs, path);
  };
  deps.config.view_checkpoint_bytes = deps_.view_checkpoint_bytes;
  deps.directories = {directory_->path()};
  deps.shards = std::move(shards);
  deps.self = deps_.id;
  deps.random_seed = deps_.seed + 6;
  coordinators_ =
      std::make_unique<coordinator::GroupCoordinators>(std::move(deps));
}

coordinator::GroupCoordinator* SimBroker::CoordinatorOf(
    const TopicPartition& tp) {
  return coordinators_->Find(ShardOf(tp).executor(), tp);
}

Shard& SimBroker::ShardOf(const TopicPartition& tp) {
  return *replicas_->shards()[replicas_->IndexOf(tp)];
}

const Partition* SimBroker::Find(const TopicPartition& tp) {
  return std::as_const(ShardOf(tp)).Find(tp);
}

ShardCounters SimBroker::Counters() const {
  ShardCounters sum;
  for (const auto& shard : replicas_->shards()) sum += shard->counters();
  return sum;
}

void SimBroker::ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                              const MetadataChanges& changes,
                              BrokerEpoch own_epoch) {
  const bool first = image_ == nullptr;
  image_ = image;
  if (first) {
    OpenSession identity;
    identity.cluster_id = deps_.cluster_id;
    identity.broker_id = deps_.id;
    identity.broker_epoch = own_epoch;
    identity.incarnation_id = deps_.incarnation;
    links_->SetIdentity(identity);
  }
  replicas_->ApplyMetadata(std::move(image), changes, own_epoch);
}

absl::Status SimBroker::CheckSession(const OpenSession& open) const {
  if (open.cluster_id != deps_.cluster_id) {
    return MakeError(ErrorCode::kInconsistentClusterId, "foreign cluster");
  }
  const BrokerImage* known =
      image_ == nullptr ? nullptr : image_->FindBroker(open.broker_id);
  if (known == nullptr || known->epoch != open.broker_epoch) {
    return MakeError(ErrorCode::kStaleBrokerEpoch, "broker ", open.broker_id,
                     " has another epoch here");
  }
  return absl::OkStatus();
}

}  // namespace sluice
