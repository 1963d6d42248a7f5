// ControllerService of the internal listener over a ControllerApi.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <functional>
#include <memory>
#include <vector>

#include "controller/controller_api.h"
#include "common/rpc/async/completion_loop.h"
#include "sluice/internal/v1/controller.grpc.pb.h"

namespace sluice {

// Decides nothing: requests go to the api as they are, its errors travel as
// rich statuses. NOT_CONTROLLER carries the fact "controller_id" when the
// active controller is known. A client that goes away is answered nothing, and
// a reply that the api drops is SHUTTING_DOWN.
//
// Order: construct; pass service() to the internal listener
// (rpc::RpcServer::Start with a completion queue); Serve with the loop that
// has taken that queue. To stop: the api answers or drops what it has (it may
// do so later too), RpcServer::Shutdown, the loop's Stop, then destroy the
// listener, this, the api and its executor.
class ControllerRpcService {
 public:
  struct Deps {
    ControllerApi* api = nullptr;
  };

  explicit ControllerRpcService(Deps deps);
  ~ControllerRpcService();
  ControllerRpcService(const ControllerRpcService&) = delete;
  ControllerRpcService& operator=(const ControllerRpcService&) = delete;

  grpc::Service* service() { return &service_; }
  // Takes calls from now on. Once, after the listener has started.
  void Serve(rpc::CompletionLoop* loop);

 private:
  // Heartbeats come as bytes: of those that gRPC cannot decode a stream of
  // messages says no more than that it has ended.
  using Service = internal::v1::ControllerService::WithRawMethod_Liveness<
      internal::v1::ControllerService::AsyncService>;

  template <class Base, class Request, class Response>
  void ServeUnary(
      rpc::CompletionLoop* loop,
      void (Base::*request)(grpc::ServerContext*, Request*,
                            grpc::ServerAsyncResponseWriter<Response>*,
                            grpc::CompletionQueue*,
                            grpc::ServerCompletionQueue*, void*),
      void (ControllerApi::*handle)(Request, PeerReply<Response>));
  void ServeLiveness(rpc::CompletionLoop* loop);
  void ServeFollowMetadata(rpc::CompletionLoop* loop);

  const Deps deps_;
  Service service_;
  std::vector<std::shared_ptr<void>> methods_;
};

}  // namespace sluice
