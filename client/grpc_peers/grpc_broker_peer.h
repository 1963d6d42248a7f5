// A broker over gRPC, as its clients see it, and brokers that hand calls on.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>
#include <string>

#include "client/peers/leader_peer.h"
#include "common/rpc/client_calls.h"
#include "sluice/v1/cluster.grpc.pb.h"
#include "sluice/v1/log.grpc.pb.h"
#include "sluice/v1/topic.grpc.pb.h"
#include "sluice/v1/transaction.grpc.pb.h"

namespace sluice {

// Produce, Fetch and the streams have a channel of their own, everything else
// another: an answer of 8 MiB delays no metadata. Calls may be made on any
// thread. When it is destroyed the calls under way are answered with
// kUnavailable, and nothing is posted to the executor afterwards; a stream lives
// on until its owner lets go of it.
class GrpcBrokerPeer final : public BrokerPeer, public LeaderPeer {
 public:
  struct Deps {
    api::Endpoint endpoint;
    Executor* executor = nullptr;
    std::shared_ptr<grpc::Channel> data;
    std::shared_ptr<grpc::Channel> control;
    std::string client_id;
  };

  explicit GrpcBrokerPeer(Deps deps);

  const api::Endpoint& endpoint() const override { return deps_.endpoint; }

  void Produce(api::ProduceRequest request, int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override;
  std::shared_ptr<ProduceSender> OpenProduceStream(
      ProduceStreamEvents events) override;
  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override;
  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override;
  void DeleteRecords(const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override;

  // ---- LeaderPeer ----
  void Produce(const std::string& client_id, api::ProduceRequest request,
               int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override;
  std::shared_ptr<ProduceSender> OpenProduceStream(
      const std::string& client_id, ProduceStreamEvents events) override;
  void Fetch(const std::string& client_id, const api::FetchRequest& request,
             int64_t timeout_us, PeerReply<api::FetchResponse> reply) override;
  void ListOffsets(const std::string& client_id,
                   const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override;
  void DeleteRecords(const std::string& client_id,
                     const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override;
  void OffsetForLeaderEpoch(
      const std::string& client_id,
      const api::OffsetForLeaderEpochRequest& request, int64_t timeout_us,
      PeerReply<api::OffsetForLeaderEpochResponse> reply) override;
  std::shared_ptr<SubscribeSender> OpenSubscription(
      const std::string& client_id, SubscribeEvents events) override;

  void DescribeCluster(const v1::DescribeClusterRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeClusterResponse> reply) override;
  void GetMetadata(const v1::GetMetadataRequest& request, int64_t timeout_us,
                   PeerReply<v1::GetMetadataResponse> reply) override;
  std::shared_ptr<MetadataWatchSender> OpenMetadataWatch(
      MetadataWatchEvents events) override;
  void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override;
  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override;
  void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) override;
  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override;
  void ListTopics(const v1::ListTopicsRequest& request, int64_t timeout_us,
                  PeerReply<v1::ListTopicsResponse> reply) override;
  void DescribeTopics(const v1::DescribeTopicsRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeTopicsResponse> reply) override;
  void DescribeConfigs(const v1::DescribeConfigsRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeConfigsResponse> reply) override;
  void AlterConfigs(const v1::AlterConfigsRequest& request, int64_t timeout_us,
                    PeerReply<v1::AlterConfigsResponse> reply) override;
  void ElectLeaders(const v1::ElectLeadersRequest& request, int64_t timeout_us,
                    PeerReply<v1::ElectLeadersResponse> reply) override;
  void ResetReplica(const v1::ResetReplicaRequest& request, int64_t timeout_us,
                    PeerReply<v1::ResetReplicaResponse> reply) override;
  void InitProducerId(const v1::InitProducerIdRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::InitProducerIdResponse> reply) override;

 private:
  template <class Response>
  using RawStub = grpc::TemplatedGenericStub<grpc::ByteBuffer, Response>;

  // Who calls: the client that is named, or this side.
  const std::string& Known(const std::string& client_id) const {
    return client_id.empty() ? deps_.client_id : client_id;
  }

  const Deps deps_;
  // Requests are encoded here, so that record bytes are shared, not copied.
  RawStub<v1::ProduceResponse> produce_;
  RawStub<v1::FetchResponse> fetch_;
  RawStub<v1::ListOffsetsResponse> list_offsets_;
  RawStub<v1::DeleteRecordsResponse> delete_records_;
  RawStub<v1::OffsetForLeaderEpochResponse> epoch_ends_;
  v1::ClusterService::Stub cluster_;
  v1::TopicService::Stub topic_;
  v1::TransactionService::Stub transaction_;
  rpc::ClientCalls calls_;
};

}  // namespace sluice
