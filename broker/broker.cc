#include "broker/broker.h"

#include <algorithm>
#include <utility>

#include "broker/broker_opening.h"
#include "broker/control/control_side.h"
#include "broker/disk_watch.h"
#include "broker/handlers/delete_records_handler.h"
#include "broker/handlers/epoch_end_handler.h"
#include "broker/handlers/fetch_handler.h"
#include "broker/handlers/leader_calls.h"
#include "broker/handlers/list_offsets_handler.h"
#include "broker/handlers/produce_handler.h"
#include "broker/handlers/subscribe_handler.h"
#include "broker/io_watch.h"
#include "broker/log_directory.h"
#include "broker/replicas.h"
#include "broker/replication/follower_links.h"
#include "broker/replication/leader_sessions.h"
#include "broker/shard_facts.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/env/published.h"
#include "controller/metadata/image.h"

namespace sluice {
namespace {

std::vector<LogDirectory*> PointersTo(const Directories& directories) {
  std::vector<LogDirectory*> out;
  for (const auto& directory : directories) out.push_back(directory.get());
  return out;
}

}  // namespace

// Destroyed in the reverse order; nothing runs then any more.
struct Broker::Parts {
  Parts(Deps given, Directories opened, Random random);

  std::unique_ptr<LeaderCalls> MakeLeaderCalls() const;
  HandlerDeps ForHandlers();
  ControlSide::Deps ForControl();
  void AddShards();
  void WatchDisks();

  using Logs = absl::AnyInvocable<void(std::vector<v1::PartitionLog>)>;

  // On the control executor.
  void AdoptCluster(ClusterId cluster_id,
                    absl::AnyInvocable<void(absl::Status)> done);
  void OnImage(std::shared_ptr<const MetadataImage> image);
  void DescribeLogs(const std::vector<TopicPartition>& partitions,
                    Logs done);
  BrokerFacts ControlFacts() const;
  void AddMemory(v1::DescribeClusterResponse& response) const;
  // On the replication executor.
  absl::Status CheckSession(const OpenSession& open) const;

  const Deps deps;
  const Directories directories;
  const BrokerIdentity identity;
  Published<MetadataImage> image;

  IoWatch io_watch;
  ControlSide control;
  Replicas replicas;
  FollowerLinks links;
  LeaderSessions sessions;
  const std::unique_ptr<LeaderCalls> leaders;  // null: hands nothing on
  ProduceHandler produce;
  FetchHandler fetch;
  ListOffsetsHandler list_offsets;
  EpochEndHandler epoch_ends;
  DeleteRecordsHandler delete_records;
  SubscribeHandler subscribe;

  // On the control executor.
  std::vector<std::unique_ptr<DiskWatch>> disk_watches;
  ClusterId cluster_id;
  BrokerEpoch linked_epoch = kNoBrokerEpoch;  // known to `links`
  // On the replication executor.
  ClusterId sessions_cluster_id;
};

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
      replicas(deps.control_executor, PointersTo(directories)),
      links({deps.replication_executor, deps.replication_connector, &replicas,
             Random(random.Next64())}),
      sessions({deps.replication_executor, &replicas, deps.node_id,
                [this](const OpenSession& open) {
                  return CheckSession(open);
                }}),
      leaders(MakeLeaderCalls()),
      produce(ForHandlers(), deps.memory.produce_bytes),
      fetch(ForHandlers(), FetchHandler::kWaitingMax, deps.memory.fetch_bytes),
      list_offsets(ForHandlers()),
      epoch_ends(ForHandlers()),
      delete_records(ForHandlers()),
      subscribe(ForHandlers(), SubscribeHandler::kStreamsMax,
                deps.memory.subscribe_bytes) {
  AddShards();
}

std::unique_ptr<LeaderCalls> Broker::Parts::MakeLeaderCalls() const {
  if (deps.leader_connector == nullptr) return nullptr;
  return std::make_unique<LeaderCalls>(
      LeaderCalls::Deps{deps.node_id, deps.worker_executor, deps.clock,
                        deps.leader_connector});
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
    shard.context.failures = &control.replica_failures();
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
                                 commits.file_syncs(), commits.full_syncs()});
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

// ---- Broker ----

Broker::Broker(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Broker::~Broker() = default;

absl::StatusOr<std::unique_ptr<Broker>> Broker::Open(Deps deps) {
  Random random(deps.random_seed);
  ASSIGN_OR_RETURN(Directories directories, OpenDirectories(deps, random));
  return std::unique_ptr<Broker>(new Broker(std::make_unique<Parts>(
      std::move(deps), std::move(directories), random)));
}

void Broker::Start() {
  parts_->deps.control_executor->Post(
      [parts = parts_.get()] {
        parts->WatchDisks();
        parts->control.Start(&parts->replicas);
      });
}

void Broker::RequestStop(absl::AnyInvocable<void(absl::Status)> done) {
  parts_->deps.control_executor->Post(
      [parts = parts_.get(), done = std::move(done)]() mutable {
        parts->control.RequestStop(
            [parts, done = std::move(done)](absl::Status status) mutable {
              parts->links.Stop();
              parts->sessions.Stop();
              done(std::move(status));
            });
      });
}

ReplicationAcceptor& Broker::replication_acceptor() {
  return parts_->sessions;
}

const Replicas& Broker::replicas() const { return parts_->replicas; }

const BrokerLifecycle& Broker::lifecycle() const {
  return parts_->control.lifecycle();
}

IncarnationId Broker::incarnation() const {
  return parts_->identity.incarnation;
}

const std::shared_ptr<const MetadataImage>& Broker::image() const {
  return parts_->control.image();
}

void Broker::CollectFacts(Executor* executor,
                          absl::AnyInvocable<void(BrokerFacts)> done) {
  struct Gather {
    size_t missing;
    BrokerFacts facts;
    absl::AnyInvocable<void(BrokerFacts)> done;
  };
  Parts* parts = parts_.get();
  parts->deps.control_executor->Post([parts, executor,
                                      done = std::move(done)]() mutable {
    auto gather = std::make_shared<Gather>();
    gather->missing = parts->replicas.shards().size();
    gather->facts = parts->ControlFacts();
    gather->done = std::move(done);
    for (const auto& shard : parts->replicas.shards()) {
      shard->executor()->Post([shard = shard.get(), executor, gather] {
        executor->Post([gather, now = shard->CollectFacts(),
                        counters = shard->counters()] {
          AddShard(now, counters, gather->facts);
          if (--gather->missing == 0) gather->done(std::move(gather->facts));
        });
      });
    }
  });
}

void Broker::Produce(const api::CallContext& context,
                     api::ProduceRequest request,
                     absl::AnyInvocable<void()> order_fixed,
                     api::Answer<api::ProduceResponse> done) {
  parts_->produce.Produce(context, std::move(request), std::move(order_fixed),
                          std::move(done));
}

std::shared_ptr<ProduceSession> Broker::ProduceStream(
    const api::CallContext& context, const api::ProduceStreamRequest& first,
    std::shared_ptr<ProduceSink> sink) {
  return parts_->produce.ProduceStream(context, first, std::move(sink));
}

CancelCall Broker::Fetch(const api::CallContext& context,
                         api::FetchRequest request,
                         api::Answer<api::FetchResponse> done) {
  return parts_->fetch.Fetch(context, std::move(request), std::move(done));
}

void Broker::ListOffsets(const api::CallContext& context,
                         api::ListOffsetsRequest request,
                         api::Answer<api::ListOffsetsResponse> done) {
  parts_->list_offsets.ListOffsets(context, request, std::move(done));
}

void Broker::OffsetForLeaderEpoch(
    const api::CallContext& context, api::OffsetForLeaderEpochRequest request,
    api::Answer<api::OffsetForLeaderEpochResponse> done) {
  parts_->epoch_ends.OffsetForLeaderEpoch(context, request, std::move(done));
}

void Broker::DeleteRecords(const api::CallContext& context,
                           api::DeleteRecordsRequest request,
                           api::Answer<api::DeleteRecordsResponse> done) {
  parts_->delete_records.DeleteRecords(context, request, std::move(done));
}

std::shared_ptr<SubscribeSession> Broker::Subscribe(
    const api::CallContext& context, std::shared_ptr<SubscribeSink> sink) {
  return parts_->subscribe.Subscribe(context, std::move(sink));
}

void Broker::DescribeCluster(const api::CallContext& context,
                             v1::DescribeClusterRequest request,
                             PeerReply<v1::DescribeClusterResponse> reply) {
  parts_->control.admin().DescribeCluster(context, std::move(request),
                                          std::move(reply));
}

void Broker::GetMetadata(const api::CallContext& context,
                         v1::GetMetadataRequest request,
                         PeerReply<v1::GetMetadataResponse> reply) {
  parts_->control.admin().GetMetadata(context, std::move(request),
                                      std::move(reply));
}

std::shared_ptr<WatchSession> Broker::WatchMetadata(
    const api::CallContext& context, v1::WatchMetadataRequest request,
    std::shared_ptr<WatchSink> sink) {
  return parts_->control.watches().Watch(context, std::move(request),
                                         std::move(sink));
}

void Broker::DescribeQuorum(const api::CallContext& context,
                            v1::DescribeQuorumRequest request,
                            PeerReply<v1::DescribeQuorumResponse> reply) {
  parts_->control.admin().DescribeQuorum(context, std::move(request),
                                         std::move(reply));
}

void Broker::CreateTopics(const api::CallContext& context,
                          v1::CreateTopicsRequest request,
                          PeerReply<v1::CreateTopicsResponse> reply) {
  parts_->control.admin().CreateTopics(context, std::move(request),
                                       std::move(reply));
}

void Broker::DeleteTopics(const api::CallContext& context,
                          v1::DeleteTopicsRequest request,
                          PeerReply<v1::DeleteTopicsResponse> reply) {
  parts_->control.admin().DeleteTopics(context, std::move(request),
                                       std::move(reply));
}

void Broker::ListTopics(const api::CallContext& context,
                        v1::ListTopicsRequest request,
                        PeerReply<v1::ListTopicsResponse> reply) {
  parts_->control.admin().ListTopics(context, std::move(request),
                                     std::move(reply));
}

void Broker::DescribeTopics(const api::CallContext& context,
                            v1::DescribeTopicsRequest request,
                            PeerReply<v1::DescribeTopicsResponse> reply) {
  parts_->control.admin().DescribeTopics(context, std::move(request),
                                         std::move(reply));
}

void Broker::DescribeConfigs(const api::CallContext& context,
                             v1::DescribeConfigsRequest request,
                             PeerReply<v1::DescribeConfigsResponse> reply) {
  parts_->control.admin().DescribeConfigs(context, std::move(request),
                                          std::move(reply));
}

void Broker::AlterConfigs(const api::CallContext& context,
                          v1::AlterConfigsRequest request,
                          PeerReply<v1::AlterConfigsResponse> reply) {
  parts_->control.admin().AlterConfigs(context, std::move(request),
                                       std::move(reply));
}

void Broker::ElectLeaders(const api::CallContext& context,
                          v1::ElectLeadersRequest request,
                          PeerReply<v1::ElectLeadersResponse> reply) {
  parts_->control.admin().ElectLeaders(context, std::move(request),
                                       std::move(reply));
}

void Broker::ResetReplica(const api::CallContext& context,
                          v1::ResetReplicaRequest request,
                          PeerReply<v1::ResetReplicaResponse> reply) {
  parts_->control.admin().ResetReplica(context, std::move(request),
                                       std::move(reply));
}

void Broker::InitProducerId(const api::CallContext& context,
                            v1::InitProducerIdRequest request,
                            PeerReply<v1::InitProducerIdResponse> reply) {
  parts_->control.producer_ids().Init(context, std::move(request),
                                      std::move(reply));
}

}  // namespace sluice
