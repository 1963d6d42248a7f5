// Calls and streams to brokers: a client's, and those that a broker hands on.
#include <map>
#include <string>
#include <utility>

#include "client/peers/leader_peer.h"
#include "controller/metadata/image.h"
#include "test/sim/sim_call.h"
#include "test/sim/sim_network.h"
#include "test/sim/sim_sessions.h"

namespace sluice::sim {
namespace {

// The requests of one stream that are not answered whole: in which epoch each
// partition was asked. A broker answers for no other.
class OpenProduces {
 public:
  // `observer` may be null.
  OpenProduces(ClientObserver* observer, api::Route route)
      : observer_(observer), route_(route) {}

  void OnSent(api::ProduceStreamRequest& frame) {
    frame.request.route = route_;
    Epochs& epochs = open_[frame.correlation_id];
    for (const api::ProducePartition& asked : frame.request.partitions) {
      epochs[{asked.topic.name, *asked.partition}] =
          asked.leader_epoch.value_or(kNoLeaderEpoch);
    }
  }
  void OnAnswer(const api::ProduceStreamResponse& frame) {
    const auto found = open_.find(frame.correlation_id);
    if (found == open_.end()) return;
    for (const api::ProduceResult& result : frame.results) {
      const auto epoch =
          found->second.find({result.topic.name, result.partition});
      if (!result.error.ok() || epoch == found->second.end()) continue;
      if (observer_ != nullptr) observer_->OnProduced(result, epoch->second);
    }
    if (frame.complete) open_.erase(found);
  }

 private:
  using Epochs = std::map<std::pair<std::string, PartitionIndex>, LeaderEpoch>;
  ClientObserver* const observer_;
  const api::Route route_;
  std::map<int64_t, Epochs> open_;  // by correlation id
};

class ObservedProduceSender final : public ProduceSender {
 public:
  ObservedProduceSender(std::shared_ptr<OpenProduces> open,
                        std::shared_ptr<ProduceSender> sender)
      : open_(std::move(open)), sender_(std::move(sender)) {}
  void Send(api::ProduceStreamRequest frame) override {
    open_->OnSent(frame);
    sender_->Send(std::move(frame));
  }
  void Close() override { sender_->Close(); }

 private:
  const std::shared_ptr<OpenProduces> open_;
  const std::shared_ptr<ProduceSender> sender_;
};

// A broker's public services, or, from a broker, its internal ones.
class SimBrokerPeer final : public BrokerPeer {
 public:
  SimBrokerPeer(SimNetwork* network, LifePtr own, BrokerUse use,
                Executor* executor, api::Endpoint endpoint)
      : network_(network),
        own_(std::move(own)),
        observer_(use.observer),
        forward_over_(use.forward_over),
        executor_(executor),
        endpoint_(std::move(endpoint)),
        is_public_(endpoint_.host.starts_with(kPublic)),
        to_(NodeId(std::stoi(
            endpoint_.host.substr(is_public_ ? kPublic.size() : 1)))) {}

  const api::Endpoint& endpoint() const override { return endpoint_; }

  void Produce(api::ProduceRequest request, int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    using Request = api::ProduceRequest;
    request.route = route();
    Call<api::ProduceResponse>(
        MessageKind::kProduce, Wire<Request>::Encode(std::move(request)),
        timeout_us, std::move(reply),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes,
           PeerReply<api::ProduceResponse> answer) -> CancelCall {
          broker.Produce(context, Wire<Request>::Decode(bytes), [] {},
                         Answer(std::move(answer)));
          return nullptr;
        });
  }
  std::shared_ptr<ProduceSender> OpenProduceStream(
      ProduceStreamEvents events) override {
    if (observer_ == nullptr && forward_over_ == 0) {
      return OpenSimProduceStream(Dial(), std::move(events));
    }
    auto open = std::make_shared<OpenProduces>(observer_, route());
    events.on_frame = [open, on_frame = std::move(events.on_frame)](
                          api::ProduceStreamResponse frame) mutable {
      open->OnAnswer(frame);
      on_frame(std::move(frame));
    };
    auto sender = OpenSimProduceStream(Dial(), std::move(events));
    return std::make_shared<ObservedProduceSender>(std::move(open),
                                                   std::move(sender));
  }
  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    using Request = api::FetchRequest;
    Request routed = request;
    if (forward_over_ > 0) routed.route = api::Route::kForward;
    Call<api::FetchResponse>(
        MessageKind::kFetch, Wire<Request>::Encode(std::move(routed)),
        timeout_us,
        Observed<api::FetchResponse>(
            std::move(reply),
            [](ClientObserver& observer, const api::FetchResponse& answer,
               int64_t began_us) { observer.OnFetched(answer, began_us); }),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes, PeerReply<api::FetchResponse> answer) {
          return broker.Fetch(context, Wire<Request>::Decode(bytes),
                              Answer(std::move(answer)));
        });
  }
  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    using Request = api::ListOffsetsRequest;
    Request routed = request;
    if (forward_over_ > 0) routed.route = api::Route::kForward;
    Call<api::ListOffsetsResponse>(
        MessageKind::kListOffsets, Wire<Request>::Encode(std::move(routed)),
        timeout_us,
        Observed<api::ListOffsetsResponse>(
            std::move(reply),
            [request](ClientObserver& observer,
                      const api::ListOffsetsResponse& answer,
                      int64_t began_us) {
              observer.OnListed(request, answer, began_us);
            }),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes,
           PeerReply<api::ListOffsetsResponse> answer) -> CancelCall {
          broker.ListOffsets(context, Wire<Request>::Decode(bytes),
                             Answer(std::move(answer)));
          return nullptr;
        });
  }
  void DeleteRecords(const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override {
    using Request = api::DeleteRecordsRequest;
    Request routed = request;
    if (forward_over_ > 0) routed.route = api::Route::kForward;
    Call<api::DeleteRecordsResponse>(
        MessageKind::kDeleteRecords, Wire<Request>::Encode(std::move(routed)),
        timeout_us, std::move(reply),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes,
           PeerReply<api::DeleteRecordsResponse> answer) -> CancelCall {
          broker.DeleteRecords(context, Wire<Request>::Decode(bytes),
                               Answer(std::move(answer)));
          return nullptr;
        });
  }

  // What is watched is this broker's metadata, whoever else is asked.
  std::shared_ptr<MetadataWatchSender> OpenMetadataWatch(
      MetadataWatchEvents events) override {
    if (!network_->watches()) return nullptr;
    return OpenSimWatch({network_, own_, executor_, to_, listener()},
                        std::move(events));
  }
  // As LeaderPeer has it.
  std::shared_ptr<SubscribeSender> OpenSubscription(SubscribeEvents events) {
    return OpenSimSubscription(Dial(), std::move(events));
  }
  void OffsetForLeaderEpoch(
      const api::OffsetForLeaderEpochRequest& request, int64_t timeout_us,
      PeerReply<api::OffsetForLeaderEpochResponse> reply) {
    using Request = api::OffsetForLeaderEpochRequest;
    Request routed = request;
    if (forward_over_ > 0) routed.route = api::Route::kForward;
    Call<api::OffsetForLeaderEpochResponse>(
        MessageKind::kOffsetForLeaderEpoch,
        Wire<Request>::Encode(std::move(routed)), timeout_us, std::move(reply),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes,
           PeerReply<api::OffsetForLeaderEpochResponse> answer) -> CancelCall {
          broker.OffsetForLeaderEpoch(context, Wire<Request>::Decode(bytes),
                                      Answer(std::move(answer)));
          return nullptr;
        });
  }

#define CONTROL(Method)                                                    \
  void Method(const v1::Method##Request& request, int64_t timeout_us,      \
              PeerReply<v1::Method##Response> reply) override {            \
    using Request = v1::Method##Request;                                   \
    Call<v1::Method##Response>(                                            \
        MessageKind::k##Method, Wire<Request>::Encode(request),            \
        timeout_us, std::move(reply),                                      \
        [](BrokerApi& broker, const api::CallContext& context,             \
           std::string_view bytes,                                         \
           PeerReply<v1::Method##Response> answer) -> CancelCall {         \
          broker.Method(context, Wire<Request>::Decode(bytes),             \
                        std::move(answer));                                \
          return nullptr;                                                  \
        });                                                                \
  }
  CONTROL(DescribeCluster)
  CONTROL(GetMetadata)
  CONTROL(DescribeQuorum)
  CONTROL(CreateTopics)
  CONTROL(CreatePartitions)
  CONTROL(DeleteTopics)
  CONTROL(ListTopics)
  CONTROL(DescribeTopics)
  CONTROL(DescribeConfigs)
  CONTROL(AlterConfigs)
  CONTROL(ElectLeaders)
  CONTROL(ResetReplica)
  CONTROL(InitProducerId)
#undef CONTROL

 private:
  template <class Response>
  static api::Answer<Response> Answer(PeerReply<Response> reply) {
    return [reply = std::move(reply)](absl::Status status,
                                      Response response) mutable {
      if (status.ok()) {
        reply(std::move(response));
      } else {
        reply(std::move(status));
      }
    };
  }
  template <class Response, class Tell>
  PeerReply<Response> Observed(PeerReply<Response> reply, Tell tell) {
    if (observer_ == nullptr) return reply;
    return [observer = observer_, tell = std::move(tell),
            began_us = network_->world()->MonoMicros(),
            reply = std::move(reply)](
               absl::StatusOr<Response> answer) mutable {
      if (answer.ok()) tell(*observer, *answer, began_us);
      reply(std::move(answer));
    };
  }
  template <class Response, class Serve>
  void Call(MessageKind kind, std::string request, int64_t timeout_us,
            PeerReply<Response> reply, Serve serve) {
    std::make_shared<SimCall<Response>>(network_, own_, executor_,
                                        std::move(reply))
        ->Start(
            Whom(), kind, std::move(request), timeout_us,
            [](const Life& life) {
              return life.broker == nullptr ? nullptr : life.edge_executor;
            },
            [serve, timeout_us, listener = listener()](
                const Life& life, std::string_view bytes,
                PeerReply<Response> answer) -> CancelCall {
              api::CallContext context;
              context.client_id = "sim";
              context.listener = listener;
              context.deadline_us = life.clock->MonoMicros() + timeout_us;
              return serve(*life.broker, context, bytes, std::move(answer));
            });
  }

  api::Route route() const {
    return forward_over_ > 0 ? api::Route::kForward : api::Route::kDirect;
  }
  std::string listener() const {
    return is_public_ ? kPublicListener : kInternalListener;
  }
  SimDial Dial() const {
    return {network_, own_, executor_, Whom(), listener()};
  }
  // Who forwards goes to any broker, the right one too.
  NodeId Whom() const {
    if (forward_over_ == 0) return to_;
    return NodeId(
        static_cast<int32_t>(network_->random().Between(1, forward_over_)));
  }

  static constexpr std::string_view kPublic = "public";

  SimNetwork* const network_;
  const LifePtr own_;
  ClientObserver* const observer_;
  const int forward_over_;
  Executor* const executor_;
  const api::Endpoint endpoint_;
  const bool is_public_;
  const NodeId to_;
};

class SimBrokerConnector final : public BrokerConnector {
 public:
  SimBrokerConnector(SimNetwork* network, LifePtr own, BrokerUse use)
      : network_(network), own_(std::move(own)), use_(use) {}
  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return std::make_shared<SimBrokerPeer>(network_, own_, use_, executor,
                                           endpoint);
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
  const BrokerUse use_;
};

// What a broker hands on. Whose call it is needs no saying: every client here
// is called alike.
class SimLeaderPeer final : public LeaderPeer {
 public:
  SimLeaderPeer(SimNetwork* network, LifePtr own, Executor* executor,
                const api::Endpoint& endpoint)
      : broker_(network, std::move(own), BrokerUse(), executor, endpoint) {}

  void Produce(const std::string&, api::ProduceRequest request,
               int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    broker_.Produce(std::move(request), timeout_us, std::move(reply));
  }
  std::shared_ptr<ProduceSender> OpenProduceStream(
      const std::string&, ProduceStreamEvents events) override {
    return broker_.OpenProduceStream(std::move(events));
  }
  void Fetch(const std::string&, const api::FetchRequest& request,
             int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    broker_.Fetch(request, timeout_us, std::move(reply));
  }
  void ListOffsets(const std::string&, const api::ListOffsetsRequest& request,
                   int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    broker_.ListOffsets(request, timeout_us, std::move(reply));
  }
  void DeleteRecords(const std::string&,
                     const api::DeleteRecordsRequest& request,
                     int64_t timeout_us,
                     PeerReply<api::DeleteRecordsResponse> reply) override {
    broker_.DeleteRecords(request, timeout_us, std::move(reply));
  }
  void OffsetForLeaderEpoch(
      const std::string&, const api::OffsetForLeaderEpochRequest& request,
      int64_t timeout_us,
      PeerReply<api::OffsetForLeaderEpochResponse> reply) override {
    broker_.OffsetForLeaderEpoch(request, timeout_us, std::move(reply));
  }
  std::shared_ptr<SubscribeSender> OpenSubscription(
      const std::string&, SubscribeEvents events) override {
    return broker_.OpenSubscription(std::move(events));
  }

 private:
  SimBrokerPeer broker_;
};

class SimLeaderConnector final : public LeaderConnector {
 public:
  SimLeaderConnector(SimNetwork* network, LifePtr own)
      : network_(network), own_(std::move(own)) {}
  std::shared_ptr<LeaderPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return std::make_shared<SimLeaderPeer>(network_, own_, executor, endpoint);
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
};

}  // namespace

std::unique_ptr<BrokerConnector> SimNetwork::MakeBrokerConnector(
    LifePtr own, BrokerUse use) {
  return std::make_unique<SimBrokerConnector>(this, std::move(own), use);
}

std::unique_ptr<LeaderConnector> SimNetwork::MakeLeaderConnector(LifePtr own) {
  return std::make_unique<SimLeaderConnector>(this, std::move(own));
}

}  // namespace sluice::sim
