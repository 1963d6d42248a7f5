#include "test/sim/sim_client.h"

#include <utility>

#include "test/sim/sim_call.h"

namespace sluice::sim {
namespace {

constexpr int kClientId = 1000;  // all clients share it: none is called

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
    Call<api::ProduceResponse>(
        timeout_us, std::move(reply),
        [request = std::move(request), context = Context(timeout_us)](
            BrokerApi& broker, PeerReply<api::ProduceResponse> answer) mutable {
          broker.Produce(context, std::move(request), [] {},
                         Answer(std::move(answer)));
        });
  }
  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    Call<api::FetchResponse>(
        timeout_us, std::move(reply),
        [request, context = Context(timeout_us)](
            BrokerApi& broker, PeerReply<api::FetchResponse> answer) {
          broker.Fetch(context, request, Answer(std::move(answer)));
        });
  }
  void ListOffsets(const api::ListOffsetsRequest& request, int64_t timeout_us,
                   PeerReply<api::ListOffsetsResponse> reply) override {
    Call<api::ListOffsetsResponse>(
        timeout_us, std::move(reply),
        [request, context = Context(timeout_us)](
            BrokerApi& broker, PeerReply<api::ListOffsetsResponse> answer) {
          broker.ListOffsets(context, request, Answer(std::move(answer)));
        });
  }
  void DescribeCluster(const v1::DescribeClusterRequest& request,
                       int64_t timeout_us,
                       PeerReply<v1::DescribeClusterResponse> reply) override {
    Control(request, timeout_us, std::move(reply), &BrokerApi::DescribeCluster);
  }
  void GetMetadata(const v1::GetMetadataRequest& request, int64_t timeout_us,
                   PeerReply<v1::GetMetadataResponse> reply) override {
    Control(request, timeout_us, std::move(reply), &BrokerApi::GetMetadata);
  }
  void DescribeQuorum(const v1::DescribeQuorumRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeQuorumResponse> reply) override {
    Control(request, timeout_us, std::move(reply), &BrokerApi::DescribeQuorum);
  }
  void CreateTopics(const v1::CreateTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::CreateTopicsResponse> reply) override {
    Control(request, timeout_us, std::move(reply), &BrokerApi::CreateTopics);
  }
  void DeleteTopics(const v1::DeleteTopicsRequest& request, int64_t timeout_us,
                    PeerReply<v1::DeleteTopicsResponse> reply) override {
    Control(request, timeout_us, std::move(reply), &BrokerApi::DeleteTopics);
  }
  void ListTopics(const v1::ListTopicsRequest& request, int64_t timeout_us,
                  PeerReply<v1::ListTopicsResponse> reply) override {
    Control(request, timeout_us, std::move(reply), &BrokerApi::ListTopics);
  }
  void DescribeTopics(const v1::DescribeTopicsRequest& request,
                      int64_t timeout_us,
                      PeerReply<v1::DescribeTopicsResponse> reply) override {
    Control(request, timeout_us, std::move(reply), &BrokerApi::DescribeTopics);
  }

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
  api::CallContext Context(int64_t timeout_us) const {
    api::CallContext context;
    context.listener = kPublicListener;
    context.deadline_us = network_->world()->MonoMicros() + timeout_us;
    return context;
  }
  template <class Response, class Body>
  void Call(int64_t timeout_us, PeerReply<Response> reply, Body body) {
    std::make_shared<SimCall<Response>>(network_, own_, executor_,
                                        std::move(reply))
        ->Start(
            to_, timeout_us,
            [](const Life& life) {
              return life.broker == nullptr ? nullptr : life.edge_executor;
            },
            [body = std::move(body)](const Life& life,
                                     PeerReply<Response> answer) mutable {
              body(*life.broker, std::move(answer));
            });
  }
  template <class Request, class Response>
  void Control(const Request& request, int64_t timeout_us,
               PeerReply<Response> reply,
               void (BrokerApi::*method)(const api::CallContext&, Request,
                                         PeerReply<Response>)) {
    Call<Response>(timeout_us, std::move(reply),
                   [request, method, context = Context(timeout_us)](
                       BrokerApi& broker, PeerReply<Response> answer) {
                     (broker.*method)(context, request, std::move(answer));
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
  life_->id = NodeId(kClientId);
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

SimClient::~SimClient() { life_->alive = false; }

}  // namespace sluice::sim
