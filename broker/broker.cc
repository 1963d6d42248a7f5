#include "broker/broker.h"

#include <utility>

#include "broker/broker_parts.h"
#include "broker/shard_facts.h"
#include "common/base/status_macros.h"

namespace sluice {

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
  parts_->consume.BeginStop();
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
    gather->missing = parts->replicas.shards().size() + 1;
    gather->facts = parts->ControlFacts();
    gather->done = std::move(done);
    parts->deps.worker_executor->Post([parts, executor, gather] {
      executor->Post([gather, lags = parts->lag_monitor.lags(),
                      consume = parts->consume.facts()] {
        if (lags != nullptr) AddLags(*lags, gather->facts);
        gather->facts.consume = consume;
        if (--gather->missing == 0) gather->done(std::move(gather->facts));
      });
    });
    for (const auto& shard : parts->replicas.shards()) {
      shard->executor()->Post([parts, shard = shard.get(), executor, gather] {
        executor->Post([gather, now = shard->CollectFacts(),
                        counters = shard->counters(),
                        groups = parts->coordinators.CollectFacts(
                            shard->executor())] {
          AddShard(now, counters, gather->facts);
          AddGroups(groups, gather->facts);
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

void Broker::CreatePartitions(const api::CallContext& context,
                              v1::CreatePartitionsRequest request,
                              PeerReply<v1::CreatePartitionsResponse> reply) {
  parts_->control.admin().CreatePartitions(context, std::move(request),
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

#define SLUICE_GROUP_CALL(Name)                                          \
  void Broker::Name(const api::CallContext& context,                     \
                    v1::Name##Request request,                           \
                    PeerReply<v1::Name##Response> reply) {               \
    parts_->groups.Name(context, std::move(request), std::move(reply));  \
  }
SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL

std::shared_ptr<ConsumeSession> Broker::Consume(
    const api::CallContext& context, std::shared_ptr<ConsumeSink> sink) {
  return parts_->consume.Consume(context, std::move(sink));
}

}  // namespace sluice
