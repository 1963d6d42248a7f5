// What a broker answers to clients, as its gRPC edge and the simulator call
// it: plain structs for data, public protobuf messages for control.
#pragma once

#include <memory>

#include "client/peers/controller_peer.h"
#include "common/api/log_api.h"
#include "sluice/v1/cluster.pb.h"
#include "sluice/v1/topic.pb.h"
#include "sluice/v1/transaction.pb.h"

namespace sluice {

// Where a stream's answers go. Thread-safe, never blocks; what is pushed beyond
// the wire's pace is bounded by the session (a subscriber's credit, a
// producer's requests in flight).
template <class Response>
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  virtual void Push(Response response) = 0;
  // Another request may be read: once for each, from a session that paces its
  // client (ProduceStream). The others' edge reads on by itself.
  virtual void Consumed() {}
  // Ends the stream. Nothing may be pushed afterwards.
  virtual void Finish(absl::Status status) = 0;
  // The same, and waits for nobody to read: what is not on the wire is let go.
  // A client in whose way that is learns only that it was cut off.
  virtual void Cut(absl::Status status) { Finish(std::move(status)); }
};

// The broker's half of one stream. Any thread.
template <class Request>
class StreamSession {
 public:
  virtual ~StreamSession() = default;
  // In the order received.
  virtual void OnRequest(Request request) = 0;
  // All that was pushed is on the wire.
  virtual void OnDrained() {}
  // No request follows: answers what it took, then finishes with `why` (OK:
  // the client half-closed; SHUTTING_DOWN: this broker stops).
  virtual void OnNoMore(absl::Status why) {}
  // The client is gone or, for a stream that owes no answers, has half-closed;
  // the sink is not used afterwards except, after a half-close, for Finish(OK).
  virtual void OnClosed() = 0;
};

// The broker's half of one watch. Any thread.
class WatchSession {
 public:
  virtual ~WatchSession() = default;
  // All that was pushed is on the wire.
  virtual void OnDrained() = 0;
  // The client is gone, or Finish was called; the sink is not used afterwards.
  virtual void OnClosed() = 0;
};

using WatchSink = StreamSink<v1::WatchMetadataResponse>;
using SubscribeSink = StreamSink<api::SubscribeResponse>;
using SubscribeSession = StreamSession<api::SubscribeRequest>;
using ProduceSink = StreamSink<api::ProduceStreamResponse>;
using ProduceSession = StreamSession<api::ProduceStreamRequest>;

// A waiting call that its caller gave up: releases what it holds. Calling it
// after the answer is harmless.
using CancelCall = absl::AnyInvocable<void()>;

// Methods may be called on any thread and never block. Each answer runs once,
// on a thread of the broker's. Per-partition failures are in the response;
// a non-OK status fails the whole request and carries an ErrorCode.
class BrokerApi {
 public:
  virtual ~BrokerApi() = default;

  // `order_fixed` runs once, when the next request of the same connection may
  // be taken without overtaking this one.
  virtual void Produce(const api::CallContext& context,
                       api::ProduceRequest request,
                       absl::AnyInvocable<void()> order_fixed,
                       api::Answer<api::ProduceResponse> done) = 0;
  // `first` is only looked at, to place the stream near what it writes; it
  // comes again in OnRequest.
  virtual std::shared_ptr<ProduceSession> ProduceStream(
      const api::CallContext& context, const api::ProduceStreamRequest& first,
      std::shared_ptr<ProduceSink> sink) = 0;
  virtual CancelCall Fetch(const api::CallContext& context,
                           api::FetchRequest request,
                           api::Answer<api::FetchResponse> done) = 0;
  virtual void ListOffsets(const api::CallContext& context,
                           api::ListOffsetsRequest request,
                           api::Answer<api::ListOffsetsResponse> done) = 0;
  virtual void OffsetForLeaderEpoch(
      const api::CallContext& context, api::OffsetForLeaderEpochRequest request,
      api::Answer<api::OffsetForLeaderEpochResponse> done) = 0;
  virtual void DeleteRecords(const api::CallContext& context,
                             api::DeleteRecordsRequest request,
                             api::Answer<api::DeleteRecordsResponse> done) = 0;
  virtual std::shared_ptr<SubscribeSession> Subscribe(
      const api::CallContext& context,
      std::shared_ptr<SubscribeSink> sink) = 0;

  virtual void DescribeCluster(const api::CallContext& context,
                               v1::DescribeClusterRequest request,
                               PeerReply<v1::DescribeClusterResponse> reply) = 0;
  virtual void GetMetadata(const api::CallContext& context,
                           v1::GetMetadataRequest request,
                           PeerReply<v1::GetMetadataResponse> reply) = 0;
  virtual std::shared_ptr<WatchSession> WatchMetadata(
      const api::CallContext& context, v1::WatchMetadataRequest request,
      std::shared_ptr<WatchSink> sink) = 0;
  virtual void DescribeQuorum(const api::CallContext& context,
                              v1::DescribeQuorumRequest request,
                              PeerReply<v1::DescribeQuorumResponse> reply) = 0;
  virtual void CreateTopics(const api::CallContext& context,
                            v1::CreateTopicsRequest request,
                            PeerReply<v1::CreateTopicsResponse> reply) = 0;
  virtual void CreatePartitions(
      const api::CallContext& context, v1::CreatePartitionsRequest request,
      PeerReply<v1::CreatePartitionsResponse> reply) = 0;
  virtual void DeleteTopics(const api::CallContext& context,
                            v1::DeleteTopicsRequest request,
                            PeerReply<v1::DeleteTopicsResponse> reply) = 0;
  virtual void ListTopics(const api::CallContext& context,
                          v1::ListTopicsRequest request,
                          PeerReply<v1::ListTopicsResponse> reply) = 0;
  virtual void DescribeTopics(const api::CallContext& context,
                              v1::DescribeTopicsRequest request,
                              PeerReply<v1::DescribeTopicsResponse> reply) = 0;
  virtual void DescribeConfigs(const api::CallContext& context,
                               v1::DescribeConfigsRequest request,
                               PeerReply<v1::DescribeConfigsResponse> reply) = 0;
  virtual void AlterConfigs(const api::CallContext& context,
                            v1::AlterConfigsRequest request,
                            PeerReply<v1::AlterConfigsResponse> reply) = 0;
  virtual void ElectLeaders(const api::CallContext& context,
                            v1::ElectLeadersRequest request,
                            PeerReply<v1::ElectLeadersResponse> reply) = 0;
  virtual void ResetReplica(const api::CallContext& context,
                            v1::ResetReplicaRequest request,
                            PeerReply<v1::ResetReplicaResponse> reply) = 0;
  virtual void InitProducerId(const api::CallContext& context,
                              v1::InitProducerIdRequest request,
                              PeerReply<v1::InitProducerIdResponse> reply) = 0;
};

}  // namespace sluice
