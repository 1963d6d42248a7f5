#include "broker/rpc/group_service.h"

#include <utility>

#include "broker/rpc/consume_call.h"
#include "broker/rpc/public_call.h"

namespace sluice {

#define SLUICE_GROUP_CALL(Name)                                              \
  grpc::ServerUnaryReactor* GroupService::Name(                              \
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request, \
      grpc::ByteBuffer* response) {                                          \
    return ServeCall<v1::Name##Request>(                                     \
        *gate_, rpc::Method::k##Name, context, request, response,            \
        [this](PendingCall pending, v1::Name##Request message) {             \
          const api::CallContext caller = pending.context();                 \
          groups_->Name(caller, std::move(message),                          \
                        ReplyTo<v1::Name##Response>(std::move(pending)));    \
        });                                                                  \
  }
SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
GroupService::Consume(grpc::CallbackServerContext* context) {
  if (consumers_ == nullptr) return nullptr;  // gRPC answers UNIMPLEMENTED
  return ConsumeCall::Serve(consumers_, gate_, *context);
}

}  // namespace sluice
