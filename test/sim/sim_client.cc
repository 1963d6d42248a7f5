#include "test/sim/sim_client.h"

#include <utility>

#include "test/sim/sim_call.h"
#include "test/sim/sim_produce_stream.h"

namespace sluice::sim {
namespace {

class SimBrokerPeer final : public BrokerPeer {
 public:
  SimBrokerPeer(SimNetwork* network, LifePtr own, Executor* executor,
                api::Endpoint endpoint)
      : network_(network),
        own_(std::move(own)),
        executor_(executor),
        endpoint_(std::move(endpoint)),
        to_(NodeId(std::stoi(endpoint_.host.substr(6)))) {}

  const api::Endpoint& endpoint() const override { return endpoint_; }

  void Produce(api::ProduceRequest request, int64_t timeout_us,
               PeerReply<api::ProduceResponse> reply) override {
    using Request = api::ProduceRequest;
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
    return OpenSimProduceStream(network_, own_, executor_, to_,
                                std::move(events));
  }
  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    using Request = api::FetchRequest;
    Call<api::FetchResponse>(
        MessageKind::kFetch, Wire<Request>::Encode(request), timeout_us,
        std::move(reply),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes, PeerReply<api::FetchResponse> answer) {
          return broker.Fetch(context, Wire<Request>::Decode(bytes),
                              Answer(std::move(answer)));
        });
  }
  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    using Request = api::ListOffsetsRequest;
    Call<api::ListOffsetsResponse>(
        MessageKind::kListOffsets, Wire<Request>::Encode(request), timeout_us,
        std::move(reply),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes,
           PeerReply<api::ListOffsetsResponse> answer) -> CancelCall {
          broker.ListOffsets(context, Wire<Request>::Decode(bytes),
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
  CONTROL(DeleteTopics)
  CONTROL(ListTopics)
  CONTROL(DescribeTopics)
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
  template <class Response, class Serve>
  void Call(MessageKind kind, std::string request, int64_t timeout_us,
            PeerReply<Response> reply, Serve serve) {
    std::make_shared<SimCall<Response>>(network_, own_, executor_,
                                        std::move(reply))
        ->Start(
            to_, kind, std::move(request), timeout_us,
            [](const Life& life) {
              return life.broker == nullptr ? nullptr : life.edge_executor;
            },
            [serve, timeout_us](const Life& life, std::string_view bytes,
                                PeerReply<Response> answer) -> CancelCall {
              api::CallContext context;
              context.client_id = "sim";
              context.listener = kPublicListener;
              context.deadline_us = life.clock->MonoMicros() + timeout_us;
              return serve(*life.broker, context, bytes, std::move(answer));
            });
  }

  SimNetwork* const network_;
  const LifePtr own_;
  Executor* const executor_;
  const api::Endpoint endpoint_;
  const NodeId to_;
};

class SimBrokerConnector final : public BrokerConnector {
 public:
  SimBrokerConnector(SimNetwork* network, LifePtr own)
      : network_(network), own_(std::move(own)) {}
  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return std::make_shared<SimBrokerPeer>(network_, own_, executor, endpoint);
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
};

}  // namespace

std::unique_ptr<BrokerConnector> SimNetwork::MakeBrokerConnector(LifePtr own) {
  return std::make_unique<SimBrokerConnector>(this, std::move(own));
}

SimClient::SimClient(SimCluster* cluster, ProducerOptions producer,
                     ConsumerOptions consumer)
    : cluster_(cluster), life_(std::make_shared<Life>()) {
  life_->id = NodeId(kFirstClientId + cluster->NextClient());
  life_->clock = &cluster->world();
  executor_ = cluster->world().NewExecutor();
  connector_ = cluster->network().MakeBrokerConnector(life_);
  ClientDeps deps;
  deps.executor = executor_.get();
  deps.clock = &cluster->world();
  deps.connector = connector_.get();
  deps.seed = cluster->random().Next64();
  ClientOptions options;
  for (int id = 1; id <= cluster->broker_count(); ++id) {
    options.bootstrap.push_back(SimNetwork::PublicEndpointOf(NodeId(id)));
  }
  metadata_ = std::make_unique<MetadataCache>(deps, options);
  producer_ =
      std::make_unique<Producer>(deps, options, producer, metadata_.get());
  consumer_ =
      std::make_unique<Consumer>(deps, options, consumer, metadata_.get());
  admin_ = std::make_unique<Admin>(deps, options, metadata_.get());
}

SimClient::~SimClient() { cluster_->network().Down(life_); }

}  // namespace sluice::sim
