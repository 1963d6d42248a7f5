#include "common/rpc/server.h"

#include <arpa/inet.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>

#include "common/base/error.h"
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

// gRPC does not say why it cannot listen: ask the kernel.
std::string WhyCannotListen(const api::Endpoint& endpoint) {
  std::string host = endpoint.host;
  if (host.size() > 2 && host.front() == '[') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int rc = getaddrinfo(host.c_str(), StrCat(endpoint.port).c_str(),
                             &hints, &found);
  if (rc != 0) return gai_strerror(rc);
  std::string why = "gRPC refused it; see the log";
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    const int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 ||
        listen(fd, 1) != 0) {
      why = std::strerror(errno);
    }
    close(fd);
  }
  freeaddrinfo(found);
  return why;
}

void SetLimits(const ListenerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(options.message_bytes_max));
  // Answers are bounded by the requests' max_bytes and one batch.
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             options.streams_per_connection_max);
  // Else a second process could listen on the same port and take half of the
  // connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
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
  const bool listens = !options.bind.host.empty();
  if (listens) {
    builder.AddListeningPort(options.bind.ToString(),
                             grpc::InsecureServerCredentials(),
                             &server->port_);
  }
  for (grpc::Service* service : services) builder.RegisterService(service);
  for (int i = 0; i < options.completion_queues; ++i) {
    server->queues_.push_back(builder.AddCompletionQueue());
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || (listens && server->port_ == 0)) {
    server->shut_down_ = server->server_ == nullptr;
    return MakeError(ErrorCode::kInvalidConfig, "listener ", options.name,
                     ": cannot listen on ", options.bind.ToString(), ": ",
                     WhyCannotListen(options.bind),
                     "; choose another address or end the process that has "
                     "it");
  }
  server->keep_awake_ = std::make_unique<KeepAwake>(options.on_tick);
  server->options_ = std::move(options);
  server->SetServing(false);
  return server;
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
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::milliseconds(grace_ms));
  keep_awake_.reset();
}

}  // namespace sluice::rpc
