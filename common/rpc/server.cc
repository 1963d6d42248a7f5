#include "common/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/keep_awake.h"

namespace sluice::rpc {
namespace {

// Pings that a client may send: a replication link's every 2 s.
constexpr int kPingIntervalMinMs = 1'000;
constexpr int kPingTimeMs = 10'000;
constexpr int kPingTimeoutMs = 5'000;
// Only reflection still runs on gRPC's synchronous threads.
constexpr int kSyncThreadsMax = 8;

// Process-wide switches of gRPC's; before the first server is built.
void InitPlugins() {
  static std::once_flag once;
  std::call_once(once, [] {
    PinCallbackThreads();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void SetLimits(const ListenerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(options.message_bytes_max));
  // Answers are bounded by the requests' max_bytes and one batch.
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             options.streams_per_connection_max);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      kPingIntervalMinMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  grpc::ResourceQuota quota(options.name);
  quota.Resize(static_cast<size_t>(options.memory_bytes_max));
  quota.SetMaxThreads(kSyncThreadsMax);
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS,
                              1);
  builder.SetSyncServerOption(
      grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
}

}  // namespace

RpcServer::RpcServer() = default;

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(
    ListenerOptions options, const std::vector<grpc::Service*>& services) {
  InitPlugins();
  std::unique_ptr<RpcServer> server(new RpcServer());
  grpc::ServerBuilder builder;
  SetLimits(options, builder);
  if (!options.bind.host.empty()) {
    ASSIGN_OR_RETURN(server->accept_loop_,
                     AcceptLoop::Listen({options.name, options.bind,
                                         options.kept_back_part}));
    server->acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        grpc::InsecureServerCredentials());
  }
  for (grpc::Service* service : services) builder.RegisterService(service);
  for (int i = 0; i < options.completion_queues; ++i) {
    server->queues_.push_back(builder.AddCompletionQueue());
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) {
    return MakeError(ErrorCode::kInvalidConfig, "listener ", options.name,
                     ": gRPC does not start; its log says why");
  }
  server->shut_down_ = false;
  server->keep_awake_ = std::make_unique<KeepAwake>(options.on_tick);
  server->options_ = std::move(options);
  server->SetServing(false);
  server->StartAccepting();
  return server;
}

void RpcServer::StartAccepting() {
  if (accept_loop_ == nullptr) return;
  accept_loop_->Start([acceptor = acceptor_.get()](int listener,
                                                   int connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
        given;
    given.listener_fd = listener;
    given.fd = connection;
    acceptor->HandleNewConnection(&given);
  });
}

int RpcServer::port() const {
  return accept_loop_ == nullptr ? 0 : accept_loop_->port();
}

RpcServer::~RpcServer() {
  Shutdown(0);
  for (auto& queue : queues_) {
    queue->Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok)) {
    }
  }
}

void RpcServer::SetServing(bool serving) {
  auto* health = server_->GetHealthCheckService();
  health->SetServingStatus("", serving);
  for (const std::string& name : options_.health_names) {
    health->SetServingStatus(name, serving);
  }
}

std::vector<std::unique_ptr<grpc::ServerCompletionQueue>>
RpcServer::TakeQueues() {
  return std::exchange(queues_, {});
}

std::shared_ptr<grpc::Channel> RpcServer::InProcessChannel(
    const grpc::ChannelArguments& arguments) {
  return server_->InProcessChannel(arguments);
}

void RpcServer::Shutdown(int64_t grace_ms) {
  if (std::exchange(shut_down_, true)) return;
  server_->GetHealthCheckService()->Shutdown();
  if (accept_loop_ != nullptr) accept_loop_->Stop();
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::milliseconds(grace_ms));
  keep_awake_.reset();
}

}  // namespace sluice::rpc
