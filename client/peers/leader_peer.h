// A broker's view of another that leads partitions: for calls that it hands on
// (Route::kForward).
#pragma once

#include <memory>
#include <string>

#include "client/peers/broker_peer.h"

namespace sluice {

using SubscribeSender = FrameSender<api::SubscribeRequest>;
using SubscribeEvents = StreamEvents<api::SubscribeResponse>;

// The data calls, as BrokerPeer has them. `client_id` is the client's who called
// first: the leader shall know the call by it, not by the broker between. Empty:
// the client has none, and the broker's stands for it.
class LeaderPeer {
 public:
  virtual ~LeaderPeer() = default;
  virtual void Produce(const std::string& client_id,
                       api::ProduceRequest request, int64_t timeout_us,
                       PeerReply<api::ProduceResponse> reply) = 0;
  virtual std::shared_ptr<ProduceSender> OpenProduceStream(
      const std::string& client_id, ProduceStreamEvents events) = 0;
  virtual void Fetch(const std::string& client_id,
                     const api::FetchRequest& request, int64_t timeout_us,
                     PeerReply<api::FetchResponse> reply) = 0;
  virtual void ListOffsets(const std::string& client_id,
                           const api::ListOffsetsRequest& request,
                           int64_t timeout_us,
                           PeerReply<api::ListOffsetsResponse> reply) = 0;
  virtual void DeleteRecords(const std::string& client_id,
                             const api::DeleteRecordsRequest& request,
                             int64_t timeout_us,
                             PeerReply<api::DeleteRecordsResponse> reply) = 0;
  virtual void OffsetForLeaderEpoch(
      const std::string& client_id,
      const api::OffsetForLeaderEpochRequest& request, int64_t timeout_us,
      PeerReply<api::OffsetForLeaderEpochResponse> reply) = 0;
  // Never fails at once, as OpenProduceStream.
  virtual std::shared_ptr<SubscribeSender> OpenSubscription(
      const std::string& client_id, SubscribeEvents events) = 0;
};

// Makes peers by address of the internal listener.
class LeaderConnector {
 public:
  virtual ~LeaderConnector() = default;
  virtual std::shared_ptr<LeaderPeer> Connect(const api::Endpoint& endpoint,
                                              Executor* executor) = 0;
};

}  // namespace sluice
