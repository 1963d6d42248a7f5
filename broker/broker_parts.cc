#include "broker/broker_parts.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "controller/metadata/internal_topics.h"

namespace sluice {
namespace {

std::vector<LogDirectory*> PointersTo(const Directories& directories) {
  std::vector<LogDirectory*> out;
  for (const auto& directory : directories) out.push_back(directory.get());
  return out;
}

}  // namespace

// The parts know each other by address: those that are made later are used
// only once everything runs.
Broker::Parts::Parts(Deps given, Directories opened, Random random)
    : deps(std::move(given)),
      directories(std::move(opened)),
      identity(IdentityOf(deps, directories, random)),
      image(MetadataImage::Empty()),
      io_watch({deps.control_executor, deps.clock, PointersTo(directories),
                deps.shard_executors}),
      control(ForControl()),
      coordinators(ForCoordinators(random)),
      replicas(deps.control_executor, PointersTo(directories)),
      links({deps.replication_executor, deps.replication_connector, &replicas,
             Random(random.Next64())}),
      sessions({deps.replication_executor, &replicas, deps.node_id,
                [this](const OpenSession& open) {
                  return CheckSession(open);
                },
                Budget::Of(deps.memory.replication_bytes)}),
      leaders(MakeLeaderCalls()),
      produce(ForHandlers(), deps.memory.produce_bytes),
      fetch(ForHandlers(), FetchHandler::kWaitingMax, deps.memory.fetch_bytes),
      list_offsets(ForHandlers()),
      epoch_ends(ForHandlers()),
      delete_records(ForHandlers()),
      subscribe(ForHandlers(), SubscribeHandler::kStreamsMax,
                deps.memory.subscribe_bytes),
      groups(ForGroups()),
      consume(ForConsume(random)),
      lag_monitor({ForLag(), &coordinators, deps.shard_executors}) {
  AddShards();
}

std::unique_ptr<LeaderCalls> Broker::Parts::MakeLeaderCalls() const {
  if (deps.leader_connector == nullptr) return nullptr;
  return std::make_unique<LeaderCalls>(
      LeaderCalls::Deps{deps.node_id, deps.worker_executor, deps.clock,
                        deps.leader_connector});
}

coordinator::GroupCoordinators::Deps Broker::Parts::ForCoordinators(
    Random& random) {
  coordinator::GroupCoordinators::Deps out;
  out.clock = deps.clock;
  out.fs = deps.fs;
  out.io_executor = deps.io_executor;
  out.files = deps.view_files;
  for (const auto& directory : directories) {
    out.directories.push_back(directory->path());
  }
  out.shards = deps.shard_executors;
  out.self = deps.node_id;
  out.config = coordinator::CoordinatorConfigFrom(*deps.configs);
  out.random_seed = random.Next64();
  out.on_watch = [this] { lag_monitor.Wake(); };
  return out;
}

coordinator::LagSources Broker::Parts::ForLag() {
  coordinator::LagSources out;
  out.clock = deps.clock;
  out.worker = deps.worker_executor;
  out.list_offsets = [this](const api::CallContext& context,
                            const api::ListOffsetsRequest& request,
                            api::Answer<api::ListOffsetsResponse> done) {
    list_offsets.ListOffsets(context, request, std::move(done));
  };
  out.fetch = [this](const api::CallContext& context,
                     api::FetchRequest request,
                     api::Answer<api::FetchResponse> done) {
    fetch.Fetch(context, std::move(request), std::move(done));
  };
  return out;
}

coordinator::GroupHandlers::Deps Broker::Parts::ForGroups() {
  coordinator::GroupHandlers::Deps out;
  out.self = deps.node_id;
  out.clock = deps.clock;
  out.worker = deps.worker_executor;
  out.hosts = &replicas;
  out.image = &image;
  out.coordinators = &coordinators;
  out.connector = deps.group_connector;
  out.lag = ForLag();
  out.ensure_topic = [this](int64_t deadline_us,
                            absl::AnyInvocable<void(absl::Status)> done) {
    control.admin().EnsureInternalTopic(
        kConsumerOffsetsTopic, deadline_us,
        [done = std::move(done)](
            const absl::StatusOr<internal::v1::EnsureInternalTopicResponse>&
                made) mutable { done(made.status()); });
  };
  return out;
}

ConsumeDeps Broker::Parts::ForConsume(Random& random) {
  ConsumeDeps out;
  out.self = deps.node_id;
  out.clock = deps.clock;
  out.worker = deps.worker_executor;
  out.image = &image;
  out.groups = &groups;
  out.subscribe = [this](const api::CallContext& context,
                         std::shared_ptr<SubscribeSink> sink) {
    return subscribe.Subscribe(context, std::move(sink));
  };
  out.list_offsets = ForLag().list_offsets;
  out.epoch_ends = [this](const api::CallContext& context,
                          const api::OffsetForLeaderEpochRequest& request,
                          api::Answer<api::OffsetForLeaderEpochResponse> done) {
    epoch_ends.OffsetForLeaderEpoch(context, request, std::move(done));
  };
  out.random_seed = random.Next64();
  out.new_secret = deps.new_secret;
  if (out.new_secret == nullptr) {
    const auto guessable = std::make_shared<Random>(random.Next64());
    out.new_secret = [guessable] { return guessable->NextUuid().ToBytes(); };
  }
  return out;
}

HandlerDeps Broker::Parts::ForHandlers() {
  HandlerDeps out;
  out.clock = deps.clock;
  out.worker = deps.worker_executor;
  out.hosts = &replicas;
  out.image = &image;
  out.configs = deps.configs;
  out.leaders = leaders.get();
  return out;
}

ControlSide::Deps Broker::Parts::ForControl() {
  ControlSide::Deps out;
  out.executor = deps.control_executor;
  out.clock = deps.clock;
  out.controllers = deps.controllers;
  out.configs = deps.configs;
  out.identity = identity;
  out.random_seed = deps.random_seed;
  out.liveness = deps.liveness;
  out.watch_limits = deps.watch_limits;
  out.adopt_cluster = [this](ClusterId id,
                             absl::AnyInvocable<void(absl::Status)> done) {
    AdoptCluster(id, std::move(done));
  };
  out.describe_logs =
      [this](std::vector<TopicPartition> partitions,
             Logs done) {
        DescribeLogs(partitions, std::move(done));
      };
  out.reset_replica = [this](const ReplicaReset& order,
                             AdminHandlers::ResetDone done) {
    replicas.ResetReplica(order, std::move(done));
  };
  out.add_memory = [this](v1::DescribeClusterResponse& response) {
    AddMemory(response);
  };
  out.full_directories = [this] { return io_watch.FullDirectories(); };
  out.closed_views = [this] { return coordinators.ClosedViews(); };
  out.fill_latencies = [this](internal::v1::LivenessRequest& heartbeat) {
    io_watch.Fill(heartbeat);
  };
  out.probe_disks = [this] { io_watch.ProbeDisks(); };
  out.on_image = [this](std::shared_ptr<const MetadataImage> newest) {
    OnImage(std::move(newest));
  };
  out.on_serving = deps.on_serving;
  out.on_fatal = deps.on_fatal;
  return out;
}

void Broker::Parts::AddShards() {
  for (size_t i = 0; i < deps.shard_executors.size(); ++i) {
    Shard::Deps shard;
    shard.index = i;
    shard.shard_count = deps.shard_executors.size();
    shard.directories = PointersTo(directories);
    shard.configs = deps.configs;
    shard.tail_cache_bytes = deps.tail_cache_bytes_per_shard;
    shard.context.self = deps.node_id;
    shard.context.executor = deps.shard_executors[i];
    shard.context.clock = deps.clock;
    shard.context.fs = deps.fs;
    shard.context.io_executor = deps.io_executor;
    shard.context.worker_executor = deps.worker_executor;
    shard.context.links = &links;
    shard.context.isr_proposals = &control.isr_proposals();
    shard.context.log_starts = &control.log_starts();
    shard.context.failures = &control.replica_failures();
    shard.context.observers = &coordinators;
    shard.context.on_fatal = deps.on_fatal;
    replicas.Add(std::make_unique<Shard>(std::move(shard)));
  }
}

// ---- Control ----

void Broker::Parts::WatchDisks() {
  for (const DataDirectory& directory : deps.directories) {
    disk_watches.push_back(std::make_unique<DiskWatch>(
        DiskWatch::Deps{deps.control_executor, directory.sync_executor,
                        directory.path, deps.on_fatal}));
    disk_watches.back()->Start();
  }
}

void Broker::Parts::AdoptCluster(ClusterId id,
                                 absl::AnyInvocable<void(absl::Status)> done) {
  struct Gather {
    size_t missing;
    absl::Status worst;
    absl::AnyInvocable<void(absl::Status)> done;
  };
  cluster_id = id;
  deps.replication_executor->Post([this, id] { sessions_cluster_id = id; });
  auto gather = std::make_shared<Gather>();
  gather->missing = directories.size();
  gather->done = std::move(done);
  for (const auto& directory : directories) {
    directory->SetIdentity(id, deps.node_id, deps.control_executor,
                           [gather](absl::Status status) {
                             if (!status.ok()) gather->worst = status;
                             if (--gather->missing > 0) return;
                             gather->done(gather->worst);
                           });
  }
}

void Broker::Parts::OnImage(std::shared_ptr<const MetadataImage> newest) {
  const BrokerImage* own = newest->FindBroker(deps.node_id);
  image.Store(newest);
  if (own == nullptr || own->incarnation != identity.incarnation ||
      own->epoch == linked_epoch) {
    return;
  }
  // A follower speaks for the registration that the metadata shows.
  linked_epoch = own->epoch;
  OpenSession open;
  open.cluster_id = cluster_id;
  open.broker_id = deps.node_id;
  open.broker_epoch = own->epoch;
  open.incarnation_id = identity.incarnation;
  links.SetIdentity(std::move(open));
}

void Broker::Parts::DescribeLogs(
    const std::vector<TopicPartition>& partitions, Logs done) {
  struct Gather {
    size_t missing;
    std::vector<v1::PartitionLog> logs;
    Logs done;
  };
  using Asked = std::vector<std::pair<size_t, TopicPartition>>;
  std::vector<Asked> by_shard(replicas.shards().size());
  for (size_t i = 0; i < partitions.size(); ++i) {
    by_shard[replicas.IndexOf(partitions[i])].emplace_back(i, partitions[i]);
  }
  auto gather = std::make_shared<Gather>();
  gather->missing = by_shard.size();
  gather->logs.resize(partitions.size());
  gather->done = std::move(done);
  for (size_t s = 0; s < by_shard.size(); ++s) {
    Shard* shard = replicas.shards()[s].get();
    shard->executor()->Post([this, shard, gather,
                             asked = std::move(by_shard[s])] {
      std::vector<std::pair<size_t, v1::PartitionLog>> found;
      for (const auto& [place, tp] : asked) {
        found.emplace_back(place, shard->DescribeLog(tp));
      }
      deps.control_executor->Post([gather, found = std::move(found)]() mutable {
        for (auto& [place, log] : found) gather->logs[place] = std::move(log);
        if (--gather->missing == 0) gather->done(std::move(gather->logs));
      });
    });
  }
}

BrokerFacts Broker::Parts::ControlFacts() const {
  BrokerFacts facts;
  const BrokerLifecycle& life = control.lifecycle();
  facts.state = BrokerLifecycle::NameOf(life.state());
  facts.serving = life.serving();
  facts.fenced = life.fenced();
  facts.broker_epoch = life.epoch();
  facts.metadata_offset = control.image()->offset();
  facts.active_controller = control.directory().active();
  facts.produce_bytes_in_flight = produce.memory().taken();
  facts.fetches_waiting = fetch.waiting();
  facts.subscriptions = subscribe.streams();
  for (const auto& directory : directories) {
    const GroupCommit& commits = directory->group_commit();
    facts.directories.push_back({directory->path(), commits.rounds(),
                                 commits.file_syncs(), commits.full_syncs(),
                                 !directory->has_room()});
  }
  return facts;
}

void Broker::Parts::AddMemory(v1::DescribeClusterResponse& response) const {
  const auto add = [&](const char* name, const char* flag,
                       const Budget& budget) {
    v1::MemoryBudget* out = response.add_memory_budgets();
    out->set_name(name);
    out->set_flag(flag);
    out->set_used_bytes(budget.taken());
    out->set_max_bytes(budget.max());
    out->set_refused(budget.refused());
  };
  add("produce", "--produce_memory_bytes", produce.memory());
  add("fetch", "--fetch_memory_bytes", fetch.memory());
  add("subscribe", "--subscribe_memory_bytes", subscribe.memory());
  add("replication", "--replication_memory_bytes", sessions.memory());
  if (deps.resident_bytes) {
    response.set_resident_bytes(std::max<int64_t>(deps.resident_bytes(), 0));
  }
}

absl::Status Broker::Parts::CheckSession(const OpenSession& open) const {
  if (open.cluster_id != sessions_cluster_id) {
    return MakeError(ErrorCode::kInconsistentClusterId, "broker ",
                     open.broker_id, " is of cluster ", open.cluster_id,
                     ", broker ", deps.node_id, " of cluster ",
                     sessions_cluster_id, "; check the listeners");
  }
  const std::shared_ptr<const MetadataImage> now = image.Load();
  const BrokerImage* broker = now->FindBroker(open.broker_id);
  if (broker == nullptr || broker->epoch < open.broker_epoch) {
    return MakeError(ErrorCode::kBrokerIdNotRegistered, "broker ",
                     deps.node_id, " does not know epoch ", open.broker_epoch,
                     " of broker ", open.broker_id, " at metadata offset ",
                     now->offset(), " (yet); try again");
  }
  if (broker->epoch > open.broker_epoch ||
      broker->incarnation != open.incarnation_id) {
    return MakeError(ErrorCode::kStaleBrokerEpoch, "broker ", open.broker_id,
                     " has epoch ", broker->epoch, " now, not ",
                     open.broker_epoch, "; it must register again");
  }
  return absl::OkStatus();
}

}  // namespace sluice
