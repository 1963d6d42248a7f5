#include "broker/process/node_listeners.h"

#include <utility>
#include <vector>

#include "broker/consume_driver/consume_handler.h"
#include "broker/rpc/group_service.h"
#include "broker/rpc/log_service.h"
#include "broker/rpc/public_edge.h"
#include "broker/rpc/replication_service.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/async/completion_loop.h"
#include "common/rpc/gate.h"
#include "common/rpc/server.h"
#include "controller/rpc/controller_service.h"
#include "controller/rpc/grpc_raft_transport.h"

namespace sluice {
namespace {

// Answers that are under way when a broker has stopped: refusals, mostly.
constexpr int64_t kPublicGraceMs = 200;

// Clients alone cannot keep brokers and controllers out.
constexpr int kInternalKeptBackPart = 16;

// What one broker hands on for all its clients goes by one connection: a stream
// for each Consume and each forwarded Subscribe, a call for each member that
// waits for its group. So many as a broker may have of the former (and of both
// fewer than the transport lets a connection have: it would let calls hang).
constexpr int kHandedStreamsMax = 20'000;
constexpr int kHandedCallsMax = 20'000;
constexpr int kInternalStreamsMax = 65'536;
static_assert(kHandedStreamsMax >= ConsumeHandler::kStreamsMax);
static_assert(kHandedStreamsMax + kHandedCallsMax < kInternalStreamsMax);

rpc::GateLimits LimitsOfHandedCalls() {
  rpc::GateLimits limits;
  limits.calls_per_connection_max = kHandedCallsMax;
  limits.streams_per_connection_max = kHandedStreamsMax;
  return limits;
}

}  // namespace

// Destroyed from the end: listeners before their services.
struct NodeListeners::Parts {
  std::unique_ptr<ControllerRpcService> controller;
  std::unique_ptr<ReplicationService> replication;
  std::shared_ptr<rpc::Gate> handed_gate;
  std::unique_ptr<LogService> handed;  // data calls that brokers hand on
  std::unique_ptr<GroupService> handed_groups;  // and those of groups
  std::unique_ptr<rpc::RpcServer> internal;
  std::unique_ptr<rpc::CompletionLoop> internal_loop;
  std::unique_ptr<PublicEdge> edge;
};

NodeListeners::NodeListeners(std::unique_ptr<Parts> parts)
    : parts_(std::move(parts)) {}

NodeListeners::~NodeListeners() { Stop(); }

absl::StatusOr<std::unique_ptr<NodeListeners>> NodeListeners::Start(
    Deps deps) {
  auto parts = std::make_unique<Parts>();
  Parts& p = *parts;
  std::vector<grpc::Service*> services;
  rpc::ListenerOptions options;
  options.name = "INTERNAL";
  options.kept_back_part = kInternalKeptBackPart;
  options.streams_per_connection_max = kInternalStreamsMax;
  options.bind = deps.config->internal_listen;
  options.message_bytes_max =
      rpc::kInternalRequestBytesMax + rpc::kMessageSlackBytes;
  if (deps.controller != nullptr) {
    p.controller = std::make_unique<ControllerRpcService>(
        ControllerRpcService::Deps{deps.controller});
    services.push_back(p.controller->service());
    services.push_back(deps.peers->raft_transport()->service());
    options.completion_queues = 1;
  }
  if (deps.broker != nullptr) {
    p.replication = std::make_unique<ReplicationService>(
        &deps.broker->replication_acceptor());
    services.push_back(p.replication.get());
    p.handed_gate = std::make_shared<rpc::Gate>(deps.clock, "INTERNAL",
                                                LimitsOfHandedCalls());
    p.handed = std::make_unique<LogService>(deps.broker, p.handed_gate);
    services.push_back(p.handed.get());
    p.handed_groups = std::make_unique<GroupService>(
        deps.broker, p.handed_gate, /*consumers=*/nullptr);
    services.push_back(p.handed_groups.get());
    options.on_tick = [gate = p.handed_gate] { gate->Sweep(); };
  }
  ASSIGN_OR_RETURN(p.internal,
                   rpc::RpcServer::Start(std::move(options), services));
  std::unique_ptr<NodeListeners> listeners(
      new NodeListeners(std::move(parts)));
  if (deps.controller != nullptr) {
    p.internal_loop = std::make_unique<rpc::CompletionLoop>(
        "internal-calls", std::move(p.internal->TakeQueues().front()));
    p.controller->Serve(p.internal_loop.get());
    deps.peers->raft_transport()->Serve(p.internal_loop.get());
  }
  if (deps.broker != nullptr) {
    PublicEdge::Options edge;
    edge.bind = deps.config->listen;
    edge.groups = deps.broker;
    edge.consumers = deps.broker;
    ASSIGN_OR_RETURN(p.edge, PublicEdge::Start(std::move(edge), deps.broker,
                                               deps.clock));
  }
  p.internal->SetServing(true);
  return listeners;
}

void NodeListeners::SetServing(bool serving) {
  if (parts_->edge != nullptr) parts_->edge->SetServing(serving);
}

void NodeListeners::DrainPublic() {
  if (parts_->edge != nullptr) parts_->edge->Drain();
  if (parts_->handed_gate != nullptr) {
    parts_->handed_gate->Drain(MakeError(
        ErrorCode::kShuttingDown, "the broker is stopping; ask another"));
  }
}

void NodeListeners::StopPublic() {
  DrainPublic();
  if (parts_->edge != nullptr) parts_->edge->Stop(kPublicGraceMs);
}

void NodeListeners::Stop() {
  StopPublic();
  if (parts_->internal != nullptr) parts_->internal->Shutdown(0);
  if (parts_->internal_loop != nullptr) parts_->internal_loop->Stop();
}

}  // namespace sluice
