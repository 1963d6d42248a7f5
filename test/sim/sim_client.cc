#include "test/sim/sim_client.h"

#include <map>
#include <string>
#include <utility>

#include "test/sim/sim_call.h"
#include "test/sim/sim_produce_stream.h"

namespace sluice::sim {
namespace {

// The requests of one stream that are not answered whole: in which epoch each
// partition was asked. A broker answers for no other.
class OpenProduces {
 public:
  explicit OpenProduces(ClientObserver* observer) : observer_(*observer) {}

  void OnSent(const api::ProduceStreamRequest& frame) {
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
      observer_.OnProduced(result, epoch->second);
    }
    if (frame.complete) open_.erase(found);
  }

 private:
  using Epochs = std::map<std::pair<std::string, PartitionIndex>, LeaderEpoch>;
  ClientObserver& observer_;
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

class SimBrokerPeer final : public BrokerPeer {
 public:
  SimBrokerPeer(SimNetwork* network, LifePtr own, ClientObserver* observer,
                Executor* executor, api::Endpoint endpoint)
      : network_(network),
        own_(std::move(own)),
        observer_(observer),
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
    if (observer_ == nullptr) {
      return OpenSimProduceStream(network_, own_, executor_, to_,
                                  std::move(events));
    }
    auto open = std::make_shared<OpenProduces>(observer_);
    events.on_frame = [open, on_frame = std::move(events.on_frame)](
                          api::ProduceStreamResponse frame) mutable {
      open->OnAnswer(frame);
      on_frame(std::move(frame));
    };
    auto sender = OpenSimProduceStream(network_, own_, executor_, to_,
                                       std::move(events));
    return std::make_shared<ObservedProduceSender>(std::move(open),
                                                   std::move(sender));
  }
  void Fetch(const api::FetchRequest& request, int64_t timeout_us,
             PeerReply<api::FetchResponse> reply) override {
    using Request = api::FetchRequest;
    Call<api::FetchResponse>(
        MessageKind::kFetch, Wire<Request>::Encode(request), timeout_us,
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
    Call<api::ListOffsetsResponse>(
        MessageKind::kListOffsets, Wire<Request>::Encode(request), timeout_us,
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
    Call<api::DeleteRecordsResponse>(
        MessageKind::kDeleteRecords, Wire<Request>::Encode(request), timeout_us,
        std::move(reply),
        [](BrokerApi& broker, const api::CallContext& context,
           std::string_view bytes,
           PeerReply<api::DeleteRecordsResponse> answer) -> CancelCall {
          broker.DeleteRecords(context, Wire<Request>::Decode(bytes),
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
  ClientObserver* const observer_;
  Executor* const executor_;
  const api::Endpoint endpoint_;
  const NodeId to_;
};

class SimBrokerConnector final : public BrokerConnector {
 public:
  SimBrokerConnector(SimNetwork* network, LifePtr own, ClientObserver* observer)
      : network_(network), own_(std::move(own)), observer_(observer) {}
  std::shared_ptr<BrokerPeer> Connect(const api::Endpoint& endpoint,
                                      Executor* executor) override {
    return std::make_shared<SimBrokerPeer>(network_, own_, observer_, executor,
                                           endpoint);
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
  ClientObserver* const observer_;
};

}  // namespace

std::unique_ptr<BrokerConnector> SimNetwork::MakeBrokerConnector(
    LifePtr own, ClientObserver* observer) {
  return std::make_unique<SimBrokerConnector>(this, std::move(own), observer);
}

SimClient::SimClient(SimCluster* cluster, ProducerOptions producer,
                     ConsumerOptions consumer, ClientObserver* observer)
    : cluster_(cluster), life_(std::make_shared<Life>()) {
  life_->id = NodeId(kFirstClientId + cluster->NextClient());
  life_->clock = &cluster->world();
  executor_ = cluster->world().NewExecutor();
  connector_ = cluster->network().MakeBrokerConnector(life_, observer);
  deps_.executor = executor_.get();
  deps_.clock = &cluster->world();
  deps_.connector = connector_.get();
  deps_.seed = cluster->random().Next64();
  for (int id = 1; id <= cluster->broker_count(); ++id) {
    options_.bootstrap.push_back(SimNetwork::PublicEndpointOf(NodeId(id)));
  }
  metadata_ = std::make_unique<MetadataCache>(deps_, options_);
  producer_ =
      std::make_unique<Producer>(deps_, options_, producer, metadata_.get());
  consumer_ =
      std::make_unique<Consumer>(deps_, options_, consumer, metadata_.get());
  admin_ = std::make_unique<Admin>(deps_, options_, metadata_.get());
}

void SimClient::ListOffsets(std::vector<NamedPartition> partitions,
                            api::OffsetPosition position, int64_t timeout_us,
                            OffsetLookup::Done done) {
  OffsetLookup::Start(deps_, options_, metadata_.get(), std::move(partitions),
                      position, timeout_us, std::move(done));
}

void SimClient::InitProducerId(NodeId broker, int64_t timeout_us,
                               PeerReply<v1::InitProducerIdResponse> reply) {
  connector_->Connect(SimNetwork::PublicEndpointOf(broker), executor_.get())
      ->InitProducerId(v1::InitProducerIdRequest(), timeout_us,
                       std::move(reply));
}

void SimClient::DeleteRecords(std::map<NamedPartition, Offset> before,
                              int64_t timeout_us, RecordDeletion::Done done) {
  RecordDeletion::Start(deps_, options_, metadata_.get(), std::move(before),
                        /*validate_only=*/false, timeout_us, std::move(done));
}

SimClient::~SimClient() { cluster_->network().Down(life_); }

}  // namespace sluice::sim
