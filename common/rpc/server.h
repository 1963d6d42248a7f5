// A gRPC listener. Every listener of a node is made here and nowhere else, so
// that all have the same limits, and none of gRPC's accept loops.
#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "common/rpc/accept_loop.h"
#include "common/rpc/channels.h"

namespace sluice::rpc {

struct ListenerOptions {
  std::string name;  // "PUBLIC", "INTERNAL"; in every error
  // Port 0 takes a free one. No address at all, with only InProcessChannel()
  // to reach it, when the host is empty.
  api::Endpoint bind;
  // Beyond it gRPC itself answers with a bare RESOURCE_EXHAUSTED.
  int64_t message_bytes_max = kPublicRequestBytesMax + kMessageSlackBytes;
  // Of one connection, at the transport. The gate's limits are lower and say
  // what is wrong.
  int streams_per_connection_max = 1024;
  // gRPC's buffers of all connections; past it gRPC reads less and refuses
  // new connections.
  int64_t memory_bytes_max = int64_t{256} << 20;
  // One part in so many of RLIMIT_NOFILE is not for its connections
  // (AcceptLoop).
  int kept_back_part = 8;
  // Queues for services on the completion-queue API.
  int completion_queues = 0;
  // What health checks may ask for besides "": "sluice.v1.LogService".
  std::vector<std::string> health_names;
  // Called once a period on a thread of gRPC's; for the gate's deadlines.
  std::function<void()> on_tick;
};

class KeepAwake;

// Health (grpc.health.v1) and reflection are always on; the health of "" and
// of the named services starts as NOT_SERVING. Methods may be called from any
// thread, Shutdown and the destructor from one.
class RpcServer {
 public:
  // The services outlive the server. INVALID_CONFIG names host and port when
  // they cannot be listened on, and why: fix the flag, or end the process that
  // has the port.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(
      ListenerOptions options, const std::vector<grpc::Service*>& services);
  // Shutdown(0) if it was not called.
  ~RpcServer();
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  int port() const;

  // What health checks are told.
  void SetServing(bool serving);

  // The options' queues, once. The caller drains each on a thread of its own:
  // after Shutdown() returned it calls the queue's Shutdown() and reads it
  // until it is empty. Queues that were not taken are drained here.
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> TakeQueues();

  // Does not touch a port.
  std::shared_ptr<grpc::Channel> InProcessChannel(
      const grpc::ChannelArguments& arguments);

  // NOT_SERVING, no new call, `grace_ms` for the calls in flight, then they
  // are cancelled. Returns when all of them are over: a handler that never
  // answers does not hold it up, because a cancelled call is finished by its
  // reactor. Never on a thread of gRPC's.
  void Shutdown(int64_t grace_ms);

 private:
  RpcServer();
  void StartAccepting();

  ListenerOptions options_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<AcceptLoop> accept_loop_;
  std::unique_ptr<KeepAwake> keep_awake_;
  bool shut_down_ = true;  // until it has started
};

}  // namespace sluice::rpc
