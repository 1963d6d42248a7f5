// A client's view of one broker's public services, without a transport: data
// calls in plain structs, control calls in the public protobuf messages.
#pragma once

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "client/peers/controller_peer.h"
#include "client/peers/frame_stream.h"
#include "common/api/log_api.h"
#include "common/env/executor.h"
#include "sluice/v1/cluster.pb.h"
#include "sluice/v1/topic.pb.h"
#include "sluice/v1/transaction.pb.h"

namespace sluice {

using ProduceSender = FrameSender<api::ProduceStreamRequest>;
using ProduceStreamEvents = StreamEvents<api::ProduceStreamResponse>;
// One request is sent, once.
using MetadataWatchSender = FrameSender<v1::WatchMetadataRequest>;
using MetadataWatchEvents = StreamEvents<v1::WatchMetadataResponse>;

// Replies run on the executor the peer was made with, each exactly once. A
// transport error (kUnavailable, kDeadlineExceeded) leaves the outcome of a
// produce unknown.
class BrokerPeer {
 public:
  virtual ~BrokerPeer() = default;

  virtual const api::Endpoint& endpoint() const = 0;

  virtual void Produce(api::ProduceRequest request, int64_t timeout_us,
                       PeerReply<api::ProduceResponse> reply) = 0;
  // Never fails at once: a broker that cannot be reached shows as on_closed.
  // What was sent and not answered by then has an unknown outcome.
  virtual std::shared_ptr<ProduceSender> OpenProduceStream(
      ProduceStreamEvents events) = 0;
  virtual void Fetch(const api::FetchRequest& request, int64_t timeout_us,
                     PeerReply<api::FetchResponse> reply) = 0;
  virtual void ListOffsets(const api::ListOffsetsRequest& request,
                           int64_t timeout_us,
                           PeerReply<api::ListOffsetsResponse> reply) = 0;
  virtual void DeleteRecords(const api::DeleteRecordsRequest& request,
                             int64_t timeout_us,
                             PeerReply<api::DeleteRecordsResponse> reply) = 0;

  virtual void DescribeCluster(const v1::DescribeClusterRequest& request,
                               int64_t timeout_us,
                               PeerReply<v1::DescribeClusterResponse> reply) = 0;
  virtual void GetMetadata(const v1::GetMetadataRequest& request,
                           int64_t timeout_us,
                           PeerReply<v1::GetMetadataResponse> reply) = 0;
  // Never fails at once: what goes wrong shows as on_closed. Null: there are no
  // watches this way.
  virtual std::shared_ptr<MetadataWatchSender> OpenMetadataWatch(
      MetadataWatchEvents events) {
    static_cast<void>(events);
    return nullptr;
  }
  virtual void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                              int64_t timeout_us,
                              PeerReply<v1::DescribeQuorumResponse> reply) = 0;
  virtual void CreateTopics(const v1::CreateTopicsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::CreateTopicsResponse> reply) = 0;
  virtual void CreatePartitions(
      const v1::CreatePartitionsRequest& request, int64_t timeout_us,
      PeerReply<v1::CreatePartitionsResponse> reply) = 0;
  virtual void DeleteTopics(const v1::DeleteTopicsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::DeleteTopicsResponse> reply) = 0;
  virtual void ListTopics(const v1::ListTopicsRequest& request,
                          int64_t timeout_us,
                          PeerReply<v1::ListTopicsResponse> reply) = 0;
  virtual void DescribeTopics(const v1::DescribeTopicsRequest& request,
                              int64_t timeout_us,
                              PeerReply<v1::DescribeTopicsResponse> reply) = 0;
  virtual void DescribeConfigs(
      const v1::DescribeConfigsRequest& request, int64_t timeout_us,
      PeerReply<v1::DescribeConfigsResponse> reply) = 0;
  virtual void AlterConfigs(const v1::AlterConfigsRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::AlterConfigsResponse> reply) = 0;
  virtual void ElectLeaders(const v1::ElectLeadersRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::ElectLeadersResponse> reply) = 0;
  virtual void ResetReplica(const v1::ResetReplicaRequest& request,
                            int64_t timeout_us,
                            PeerReply<v1::ResetReplicaResponse> reply) = 0;
  virtual void InitProducerId(const v1::InitProducerIdRequest& request,
                              int64_t timeout_us,
                              PeerReply<v1::InitProducerIdResponse> reply) = 0;
};

// Makes peers by address; asked once per address by a client's connection
// table.
class BrokerConnector {
 public:
  virtual ~BrokerConnector() = default;
  virtual std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                              Executor* executor) = 0;
};

}  // namespace sluice
