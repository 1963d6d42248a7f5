// The broker role of one process, put together: data directories, shards,
// replication streams, the control side and the request handlers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/broker_api.h"
#include "broker/broker_facts.h"
#include "broker/consume_api.h"
#include "broker/coordinator/view_store.h"
#include "broker/control/controller_directory.h"
#include "broker/control/liveness_session.h"
#include "broker/control/metadata_watch.h"
#include "broker/group_api.h"
#include "broker/memory_budgets.h"
#include "client/peers/leader_peer.h"
#include "client/peers/replication_stream.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "common/env/file_system.h"
#include "controller/metadata/config_registry.h"

namespace sluice {

class BrokerLifecycle;
class MetadataImage;
class Replicas;

// Open, then Start, then any number of requests, then RequestStop. It is
// destroyed when none of its executors runs any more (or, in simulation, on
// their one thread): a killed process. The executors outlive it.
class Broker final : public BrokerApi, public GroupApi, public ConsumeApi {
 public:
  static constexpr int64_t kTailCacheBytesPerShard = 64 << 20;

  struct DataDirectory {
    std::string path;
    Executor* sync_executor = nullptr;  // a thread of its own: it waits for
                                        // the disk
  };

  struct Deps {
    // ---- The world ----
    FileSystem* fs = nullptr;
    Clock* clock = nullptr;
    // Registration, metadata, ISR proposals, admin calls. The controllers'
    // peers reply here.
    Executor* control_executor = nullptr;
    // Streams between brokers; their events run here.
    Executor* replication_executor = nullptr;
    // Cold reads: its thread may wait for a disk.
    Executor* io_executor = nullptr;
    // Encodes and decodes typed records.
    Executor* worker_executor = nullptr;
    std::vector<Executor*> shard_executors;  // one a shard, at least one
    std::vector<DataDirectory> directories;  // at least one
    std::vector<ConfiguredController> controllers;  // at least one
    ReplicationConnector* replication_connector = nullptr;
    // To other brokers, for calls that are handed on; null: none are.
    LeaderConnector* leader_connector = nullptr;
    // Likewise, for calls of consumer groups; null: none are handed on.
    GroupConnector* group_connector = nullptr;
    // Of the views of __consumer_offsets.
    coordinator::ViewStoreFiles view_files;
    std::shared_ptr<const ConfigRegistry> configs;

    // ---- Who it is ----
    NodeId node_id;
    std::string cluster_name;
    api::Endpoint public_endpoint;    // as clients reach it
    api::Endpoint internal_endpoint;  // as brokers and controllers reach it
    std::string rack;
    // Of the kernel: the same again means that the page cache has lived on.
    std::string boot_id;
    // New with each process: the incarnation comes from it.
    uint64_t random_seed = 0;
    // 16 bytes that nobody can guess; null: from the seed, for tests.
    std::function<std::string()> new_secret;
    // All tail caches of a shard together.
    int64_t tail_cache_bytes_per_shard = kTailCacheBytesPerShard;
    LivenessTimes liveness;
    WatchLimits watch_limits;
    MemoryBudgets memory;
    // Of this process, as its operating system counts; null or -1:
    // not known.
    std::function<int64_t()> resident_bytes;

    // ---- What its owner is told; from any thread ----
    // Log, flush what can be flushed, end the process: a data directory is
    // lost, another process has this id, a committed record is unknown.
    // Nothing is acknowledged afterwards. May come more than once.
    std::function<void(absl::Status)> on_fatal;
    // Registered, unfenced and leading what it should lead, or not any more:
    // the gRPC health. False at first. May be null.
    std::function<void(bool serving)> on_serving;
  };

  // Locks and opens the data directories; blocks; nothing runs yet.
  // DATA_DIR_IN_USE, DATA_DIR_MISMATCH (of another node, or directories of two
  // clusters), UNSUPPORTED_FORMAT, STORAGE_ERROR.
  static absl::StatusOr<std::unique_ptr<Broker>> Open(Deps deps);
  ~Broker() override;
  Broker(const Broker&) = delete;

  // Any thread, once: recovers the logs, finds the cluster, registers.
  // Requests are answered from here on, with retriable errors at first.
  void Start();

  // Any thread, once: hands leaderships over (5 s at most, 1.5 s when no
  // controller answers), then closes the logs with a clean marker. `done` runs
  // on the control executor with what closing them said; the process may end
  // then.
  void RequestStop(absl::AnyInvocable<void(absl::Status)> done);

  // The internal listener's ReplicationService delivers here.
  ReplicationAcceptor& replication_acceptor();

  // Any thread. `done` runs once on `executor`, never when a shard has ended.
  void CollectFacts(Executor* executor,
                    absl::AnyInvocable<void(BrokerFacts)> done);

  // ---- For inspection: what a debugger would show. Read by checks where all
  // ---- executors share one thread (the simulator) or none runs ----
  const Replicas& replicas() const;
  const BrokerLifecycle& lifecycle() const;
  IncarnationId incarnation() const;
  const std::shared_ptr<const MetadataImage>& image() const;

  // ---- BrokerApi ----
  void Produce(const api::CallContext& context, api::ProduceRequest request,
               absl::AnyInvocable<void()> order_fixed,
               api::Answer<api::ProduceResponse> done) override;
  std::shared_ptr<ProduceSession> ProduceStream(
      const api::CallContext& context, const api::ProduceStreamRequest& first,
      std::shared_ptr<ProduceSink> sink) override;
  CancelCall Fetch(const api::CallContext& context, api::FetchRequest request,
                   api::Answer<api::FetchResponse> done) override;
  void ListOffsets(const api::CallContext& context,
                   api::ListOffsetsRequest request,
                   api::Answer<api::ListOffsetsResponse> done) override;
  void OffsetForLeaderEpoch(
      const api::CallContext& context, api::OffsetForLeaderEpochRequest request,
      api::Answer<api::OffsetForLeaderEpochResponse> done) override;
  void DeleteRecords(const api::CallContext& context,
                     api::DeleteRecordsRequest request,
                     api::Answer<api::DeleteRecordsResponse> done) override;
  std::shared_ptr<SubscribeSession> Subscribe(
      const api::CallContext& context,
      std::shared_ptr<SubscribeSink> sink) override;
  void DescribeCluster(const api::CallContext& context,
                       v1::DescribeClusterRequest request,
                       PeerReply<v1::DescribeClusterResponse> reply) override;
  void GetMetadata(const api::CallContext& context,
                   v1::GetMetadataRequest request,
                   PeerReply<v1::GetMetadataResponse> reply) override;
  std::shared_ptr<WatchSession> WatchMetadata(
      const api::CallContext& context, v1::WatchMetadataRequest request,
      std::shared_ptr<WatchSink> sink) override;
  void DescribeQuorum(const api::CallContext& context,
                      v1::DescribeQuorumRequest request,
                      PeerReply<v1::DescribeQuorumResponse> reply) override;
  void CreateTopics(const api::CallContext& context,
                    v1::CreateTopicsRequest request,
                    PeerReply<v1::CreateTopicsResponse> reply) override;
  void CreatePartitions(
      const api::CallContext& context, v1::CreatePartitionsRequest request,
      PeerReply<v1::CreatePartitionsResponse> reply) override;
  void DeleteTopics(const api::CallContext& context,
                    v1::DeleteTopicsRequest request,
                    PeerReply<v1::DeleteTopicsResponse> reply) override;
  void ListTopics(const api::CallContext& context,
                  v1::ListTopicsRequest request,
                  PeerReply<v1::ListTopicsResponse> reply) override;
  void DescribeTopics(const api::CallContext& context,
                      v1::DescribeTopicsRequest request,
                      PeerReply<v1::DescribeTopicsResponse> reply) override;
  void DescribeConfigs(const api::CallContext& context,
                       v1::DescribeConfigsRequest request,
                       PeerReply<v1::DescribeConfigsResponse> reply) override;
  void AlterConfigs(const api::CallContext& context,
                    v1::AlterConfigsRequest request,
                    PeerReply<v1::AlterConfigsResponse> reply) override;
  void ElectLeaders(const api::CallContext& context,
                    v1::ElectLeadersRequest request,
                    PeerReply<v1::ElectLeadersResponse> reply) override;
  void ResetReplica(const api::CallContext& context,
                    v1::ResetReplicaRequest request,
                    PeerReply<v1::ResetReplicaResponse> reply) override;
  void InitProducerId(const api::CallContext& context,
                      v1::InitProducerIdRequest request,
                      PeerReply<v1::InitProducerIdResponse> reply) override;

  // ---- GroupApi ----
#define SLUICE_GROUP_CALL(Name)                                           \
  void Name(const api::CallContext& context, v1::Name##Request request,   \
            PeerReply<v1::Name##Response> reply) override;
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL

  // ---- ConsumeApi ----
  std::shared_ptr<ConsumeSession> Consume(
      const api::CallContext& context,
      std::shared_ptr<ConsumeSink> sink) override;

 private:
  struct Parts;

  explicit Broker(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice
