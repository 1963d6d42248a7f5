#include "broker/rpc/public_edge.h"

#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {

PublicEdge::PublicEdge(BrokerApi* broker, std::shared_ptr<rpc::Gate> gate)
    : gate_(std::move(gate)),
      log_(broker, gate_),
      cluster_(broker, gate_),
      topic_(broker, gate_),
      transaction_(broker, gate_) {}

absl::StatusOr<std::unique_ptr<PublicEdge>> PublicEdge::Start(
    Options options, BrokerApi* broker, const Clock* clock) {
  auto gate =
      std::make_shared<rpc::Gate>(clock, options.listener, options.limits);
  std::unique_ptr<PublicEdge> edge(new PublicEdge(broker, gate));
  rpc::ListenerOptions listener;
  listener.name = std::move(options.listener);
  listener.bind = std::move(options.bind);
  listener.message_bytes_max =
      options.limits.request_bytes_max + rpc::kMessageSlackBytes;
  listener.health_names = {v1::LogService::service_full_name(),
                           v1::ClusterService::service_full_name(),
                           v1::TopicService::service_full_name(),
                           v1::TransactionService::service_full_name()};
  std::vector<grpc::Service*> services = {&edge->log_, &edge->cluster_,
                                          &edge->topic_, &edge->transaction_};
  if (options.groups != nullptr) {
    edge->group_ = std::make_unique<GroupService>(options.groups, gate,
                                                  options.consumers);
    services.push_back(edge->group_.get());
    listener.health_names.push_back(v1::GroupService::service_full_name());
  }
  listener.on_tick = [gate] { gate->Sweep(); };
  ASSIGN_OR_RETURN(edge->server_,
                   rpc::RpcServer::Start(std::move(listener),
                                         std::move(services)));
  return edge;
}

PublicEdge::~PublicEdge() {
  if (server_ != nullptr) Stop(0);
}

void PublicEdge::SetServing(bool serving) {
  std::lock_guard lock(mutex_);
  server_->SetServing(serving && !draining_);
}

void PublicEdge::Drain() {
  {
    std::lock_guard lock(mutex_);
    draining_ = true;
    server_->SetServing(false);
  }
  gate_->Drain(MakeError(ErrorCode::kShuttingDown,
                         "this broker is stopping; ask another one"));
}

void PublicEdge::Stop(int64_t grace_ms) {
  Drain();
  // gRPC's own grace is of no use here: it would also wait for watchers of the
  // health, and not every transport has one.
  gate_->AwaitIdle(grace_ms);
  server_->Shutdown(/*grace_ms=*/0);
}

}  // namespace sluice
