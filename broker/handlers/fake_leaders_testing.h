// Other brokers, for tests of what is handed on to them: every call waits until
// the test answers it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/peers/leader_peer.h"

namespace sluice {

class FakeLeader final : public LeaderPeer {
 public:
  template <class Request, class Response>
  struct Call {
    std::string client_id;
    Request request;
    int64_t timeout_us = 0;
    PeerReply<Response> reply;
  };
  struct ProduceStreamCall {
    std::string client_id;
    std::vector<api::ProduceStreamRequest> sent;
    ProduceStreamEvents events;
    bool closed = false;
  };
  struct SubscribeCall {
    std::string client_id;
    std::vector<api::SubscribeRequest> sent;
    SubscribeEvents events;
    bool closed = false;
  };

  std::vector<Call<api::ProduceRequest, api::ProduceResponse>> produces;
  std::vector<Call<api::FetchRequest, api::FetchResponse>> fetches;
  std::vector<Call<api::ListOffsetsRequest, api::ListOffsetsResponse>> lists;
  std::vector<Call<api::OffsetForLeaderEpochRequest,
                   api::OffsetForLeaderEpochResponse>>
      epochs;
  std::vector<Call<api::DeleteRecordsRequest, api::DeleteRecordsResponse>>
      deletes;
  std::vector<std::shared_ptr<ProduceStreamCall>> produce_streams;
  std::vector<std::shared_ptr<SubscribeCall>> subscriptions;

  void Produce(const std::string& client_id, api::ProduceRequest request,
               int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    produces.push_back(
        {client_id, std::move(request), timeout_us, std::move(reply)});
  }
  std::shared_ptr<ProduceSender> OpenProduceStream(
      const std::string& client_id, ProduceStreamEvents events) override {
    produce_streams.push_back(std::make_shared<ProduceStreamCall>());
    produce_streams.back()->client_id = client_id;
    produce_streams.back()->events = std::move(events);
    return std::make_shared<Sender<api::ProduceStreamRequest,
                                   ProduceStreamCall>>(produce_streams.back());
  }
  std::shared_ptr<SubscribeSender> OpenSubscription(
      const std::string& client_id, SubscribeEvents events) override {
    subscriptions.push_back(std::make_shared<SubscribeCall>());
    subscriptions.back()->client_id = client_id;
    subscriptions.back()->events = std::move(events);
    return std::make_shared<Sender<api::SubscribeRequest, SubscribeCall>>(
        subscriptions.back());
  }
  void Fetch(const std::string& client_id, const api::FetchRequest& request,
             int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    fetches.push_back({client_id, request, timeout_us, std::move(reply)});
  }
  void ListOffsets(const std::string& client_id,
                   const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    lists.push_back({client_id, request, timeout_us, std::move(reply)});
  }
  void OffsetForLeaderEpoch(
      const std::string& client_id,
      const api::OffsetForLeaderEpochRequest& request, int64_t timeout_us,
      PeerReply<api::OffsetForLeaderEpochResponse> reply) override {
    epochs.push_back({client_id, request, timeout_us, std::move(reply)});
  }
  void DeleteRecords(const std::string& client_id,
                     const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override {
    deletes.push_back({client_id, request, timeout_us, std::move(reply)});
  }

 private:
  template <class Out, class Stream>
  class Sender final : public FrameSender<Out> {
   public:
    explicit Sender(std::shared_ptr<Stream> stream)
        : stream_(std::move(stream)) {}
    ~Sender() override { stream_->closed = true; }
    void Send(Out frame) override { stream_->sent.push_back(std::move(frame)); }
    void Close() override { stream_->closed = true; }

   private:
    const std::shared_ptr<Stream> stream_;
  };
};

class FakeLeaders final : public LeaderConnector {
 public:
  std::shared_ptr<LeaderPeer> Connect(const api::Endpoint& endpoint,
                                      Executor*) override {
    auto& leader = leaders_[endpoint.host];
    if (leader == nullptr) leader = std::make_shared<FakeLeader>();
    return leader;
  }
  // As TestCluster names the hosts: "b2".
  FakeLeader& at(const std::string& host) {
    auto& leader = leaders_[host];
    if (leader == nullptr) leader = std::make_shared<FakeLeader>();
    return *leader;
  }

 private:
  std::map<std::string, std::shared_ptr<FakeLeader>> leaders_;
};

}  // namespace sluice
