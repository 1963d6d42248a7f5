// A broker's calls and streams to a controller.
#include <utility>

#include "common/base/error.h"
#include "test/sim/sim_call.h"
#include "test/sim/sim_network.h"
#include "test/sim/sim_pipe.h"

namespace sluice::sim {
namespace {

template <class A, class B>
class OpenerStream final : public PeerStream<A> {
 public:
  explicit OpenerStream(std::shared_ptr<SimPipe<A, B>> pipe)
      : half_(std::move(pipe)) {}
  ~OpenerStream() override { half_.Close(absl::CancelledError("gone")); }
  void Send(const A& message) override { half_.Send(message); }
  void Close(absl::Status why) override { half_.Close(why); }

 private:
  OpenerHalf<A, B> half_;
};

template <class A, class B>
class AcceptorStream final : public PeerStream<B> {
 public:
  explicit AcceptorStream(std::shared_ptr<SimPipe<A, B>> pipe)
      : half_(std::move(pipe)) {}
  ~AcceptorStream() override { half_.Close(absl::CancelledError("gone")); }
  void Send(const B& message) override { half_.Send(message); }
  void Close(absl::Status why) override { half_.Close(why); }

 private:
  AcceptorHalf<A, B> half_;
};

class SimControllerPeer final : public ControllerPeer {
 public:
  SimControllerPeer(SimNetwork* network, LifePtr own, NodeId to,
                    Executor* executor)
      : network_(network), own_(std::move(own)), to_(to), executor_(executor) {}

  NodeId id() const override { return to_; }

#define CALL(Method, Kind, Request, Response)                                 \
  void Method(const Request& request, int64_t timeout_us,                     \
              PeerReply<Response> reply) override {                           \
    std::make_shared<SimCall<Response>>(network_, own_, executor_,            \
                                        std::move(reply))                     \
        ->Start(                                                              \
            to_, MessageKind::k##Kind, Wire<Request>::Encode(request),        \
            timeout_us,                                                       \
            [](const Life& life) {                                            \
              return life.controller == nullptr ? nullptr                     \
                                                : life.controller_executor;   \
            },                                                                \
            [](const Life& life, std::string_view bytes,                      \
               PeerReply<Response> answer) -> CancelCall {                    \
              life.controller->Method(Wire<Request>::Decode(bytes),           \
                                      std::move(answer));                     \
              return nullptr;                                                 \
            });                                                               \
  }
  CALL(Hello, Hello, internal::v1::HelloRequest, internal::v1::HelloResponse)
  CALL(RegisterBroker, RegisterBroker, internal::v1::RegisterBrokerRequest,
       internal::v1::RegisterBrokerResponse)
  CALL(ReportReplicas, ReportReplicas, internal::v1::ReportReplicasRequest,
       internal::v1::ReportReplicasResponse)
  CALL(AlterPartitions, AlterPartitions, internal::v1::AlterPartitionsRequest,
       internal::v1::AlterPartitionsResponse)
  CALL(AllocateProducerIds, AllocateProducerIds,
       internal::v1::AllocateProducerIdsRequest,
       internal::v1::AllocateProducerIdsResponse)
  CALL(CreateTopics, ForwardCreateTopics, v1::CreateTopicsRequest,
       v1::CreateTopicsResponse)
  CALL(CreatePartitions, ForwardCreatePartitions, v1::CreatePartitionsRequest,
       v1::CreatePartitionsResponse)
  CALL(EnsureInternalTopic, EnsureInternalTopic,
       internal::v1::EnsureInternalTopicRequest,
       internal::v1::EnsureInternalTopicResponse)
  CALL(DeleteTopics, ForwardDeleteTopics, v1::DeleteTopicsRequest,
       v1::DeleteTopicsResponse)
  CALL(AlterConfigs, ForwardAlterConfigs, v1::AlterConfigsRequest,
       v1::AlterConfigsResponse)
  CALL(ElectLeaders, ForwardElectLeaders, v1::ElectLeadersRequest,
       v1::ElectLeadersResponse)
  CALL(DescribeQuorum, ForwardDescribeQuorum, v1::DescribeQuorumRequest,
       v1::DescribeQuorumResponse)
#undef CALL

  std::shared_ptr<LivenessStream> OpenLiveness(
      PeerStreamEvents<internal::v1::LivenessResponse> events) override {
    return Open<internal::v1::LivenessRequest>(
        MessageKind::kLiveness, MessageKind::kLivenessReply,
        MessageKind::kStreamOpen, "", std::move(events),
        [](ControllerApi* api, std::string_view, auto stream) {
          return api->AcceptLiveness(std::move(stream));
        });
  }
  std::shared_ptr<MetadataStream> FollowMetadata(
      const internal::v1::FollowMetadataRequest& request,
      PeerStreamEvents<internal::v1::FollowMetadataResponse> events) override {
    using Request = internal::v1::FollowMetadataRequest;
    return Open<Request>(
        MessageKind::kFollowMetadata, MessageKind::kMetadataRecords,
        MessageKind::kFollowMetadata, Wire<Request>::Encode(request),
        std::move(events),
        [](ControllerApi* api, std::string_view bytes, auto stream) {
          return api->AcceptMetadataFollower(Wire<Request>::Decode(bytes),
                                             std::move(stream));
        });
  }

 private:
  template <class A, class B, class Accept>
  std::shared_ptr<PeerStream<A>> Open(MessageKind a_kind, MessageKind b_kind,
                                      MessageKind open_kind, std::string bytes,
                                      PeerStreamEvents<B> events,
                                      Accept accept) {
    auto pipe = std::make_shared<SimPipe<A, B>>();
    pipe->network = network_;
    pipe->a_kind = a_kind;
    pipe->b_kind = b_kind;
    const auto opener = std::make_shared<OpenerStream<A, B>>(pipe);
    const LifePtr server = network_->Find(to_);
    if (server == nullptr || server->controller == nullptr) {
      ConnectPipe(pipe, std::move(events), own_, executor_, own_, executor_);
      pipe->b_open = false;
      network_->CloseEnd(pipe->stream, Side::kAcceptor);
      executor_->PostAfter(network_->Latency(), [pipe, to = to_] {
        pipe->EndA(Unreachable(to));
      });
      return opener;
    }
    ConnectPipe(pipe, std::move(events), own_, executor_, server,
                server->controller_executor);
    network_->Send(pipe->stream, Side::kAcceptor, open_kind, std::move(bytes),
                   [pipe, server, accept](const Parcel& parcel) {
                     pipe->SetAcceptorEvents(
                         accept(server->controller, parcel.bytes,
                                std::make_shared<AcceptorStream<A, B>>(pipe)));
                   });
    return opener;
  }

  SimNetwork* const network_;
  const LifePtr own_;
  const NodeId to_;
  Executor* const executor_;
};

}  // namespace

std::unique_ptr<ControllerPeer> SimNetwork::MakeControllerPeer(
    LifePtr own, NodeId to, Executor* executor) {
  return std::make_unique<SimControllerPeer>(this, std::move(own), to,
                                             executor);
}

}  // namespace sluice::sim
