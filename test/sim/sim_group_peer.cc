// Calls of groups to brokers: a client's, and those that a broker hands on.
#include <string>
#include <utility>

#include "broker/group_api.h"
#include "controller/metadata/image.h"
#include "test/sim/sim_call.h"
#include "test/sim/sim_network.h"

namespace sluice::sim {
namespace {

constexpr std::string_view kPublic = "public";

// One broker's GroupService: its public one, or, from a broker, the internal.
class SimGroupPeer final : public GroupPeer {
 public:
  SimGroupPeer(SimNetwork* network, LifePtr own, int forward_over,
               Executor* executor, api::Endpoint endpoint)
      : network_(network),
        own_(std::move(own)),
        forward_over_(forward_over),
        executor_(executor),
        endpoint_(std::move(endpoint)),
        is_public_(endpoint_.host.starts_with(kPublic)),
        to_(NodeId(std::stoi(
            endpoint_.host.substr(is_public_ ? kPublic.size() : 1)))) {}

  const api::Endpoint& endpoint() const override { return endpoint_; }

#define SLUICE_GROUP_CALL(Method)                                          \
  void Method(const v1::Method##Request& request, int64_t timeout_us,      \
              PeerReply<v1::Method##Response> reply) override {            \
    Call<v1::Method##Request, v1::Method##Response>(                       \
        MessageKind::k##Method, request, timeout_us, std::move(reply),     \
        &GroupApi::Method);                                                \
  }
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL

 private:
  template <class Request, class Response>
  void Call(MessageKind kind, const Request& request, int64_t timeout_us,
            PeerReply<Response> reply,
            void (GroupApi::*method)(const api::CallContext&, Request,
                                     PeerReply<Response>)) {
    std::make_shared<SimCall<Response>>(network_, own_, executor_,
                                        std::move(reply))
        ->Start(
            Whom(), kind, Wire<Request>::Encode(request), timeout_us,
            [](const Life& life) {
              return life.groups == nullptr ? nullptr : life.edge_executor;
            },
            [method, timeout_us,
             listener = is_public_ ? kPublicListener : kInternalListener](
                const Life& life, std::string_view bytes,
                PeerReply<Response> answer) -> CancelCall {
              api::CallContext context;
              context.client_id = "sim";
              context.listener = listener;
              context.deadline_us = life.clock->MonoMicros() + timeout_us;
              (life.groups->*method)(context, Wire<Request>::Decode(bytes),
                                     std::move(answer));
              return nullptr;
            });
  }

  // Who forwards goes to any broker, the right one too.
  NodeId Whom() const {
    if (forward_over_ == 0) return to_;
    return NodeId(
        static_cast<int32_t>(network_->random().Between(1, forward_over_)));
  }

  SimNetwork* const network_;
  const LifePtr own_;
  const int forward_over_;
  Executor* const executor_;
  const api::Endpoint endpoint_;
  const bool is_public_;
  const NodeId to_;
};

class SimGroupConnector final : public GroupConnector {
 public:
  SimGroupConnector(SimNetwork* network, LifePtr own, int forward_over)
      : network_(network), own_(std::move(own)), forward_over_(forward_over) {}
  std::shared_ptr<GroupPeer> ConnectGroups(const api::Endpoint& endpoint,
                                           Executor* executor) override {
    return std::make_shared<SimGroupPeer>(network_, own_, forward_over_,
                                          executor, endpoint);
  }

 private:
  SimNetwork* const network_;
  const LifePtr own_;
  const int forward_over_;
};

}  // namespace

std::unique_ptr<GroupConnector> SimNetwork::MakeGroupConnector(
    LifePtr own, int forward_over) {
  return std::make_unique<SimGroupConnector>(this, std::move(own),
                                             forward_over);
}

}  // namespace sluice::sim
