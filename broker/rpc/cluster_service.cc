#include "broker/rpc/cluster_service.h"

#include <utility>

#include "broker/rpc/public_call.h"
#include "broker/rpc/watch_call.h"

namespace sluice {

// The calls differ in their types alone.
#define SLUICE_CONTROL_CALL(Name)                                          \
  grpc::ServerUnaryReactor* ClusterService::Name(                             \
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request, \
      grpc::ByteBuffer* response) {                                        \
    return ServeCall<v1::Name##Request>(                                   \
        *gate_, rpc::Method::k##Name, context, request, response,          \
        [this](PendingCall pending, v1::Name##Request message) {           \
          const api::CallContext caller = pending.context();               \
          broker_->Name(caller, std::move(message),                        \
                        ReplyTo<v1::Name##Response>(std::move(pending)));  \
        });                                                                \
  }
SLUICE_CONTROL_CALL(DescribeCluster)
SLUICE_CONTROL_CALL(GetMetadata)
SLUICE_CONTROL_CALL(DescribeQuorum)
#undef SLUICE_CONTROL_CALL

grpc::ServerWriteReactor<grpc::ByteBuffer>* ClusterService::WatchMetadata(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return WatchCall::Serve(broker_, gate_.get(), *context, *request);
}

}  // namespace sluice
