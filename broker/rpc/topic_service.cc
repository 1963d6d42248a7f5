#include "broker/rpc/topic_service.h"

#include <utility>

#include "broker/rpc/public_call.h"

namespace sluice {

// The calls differ in their types alone.
#define SLUICE_CONTROL_CALL(Name)                                          \
  grpc::ServerUnaryReactor* TopicService::Name(                             \
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
SLUICE_CONTROL_CALL(CreateTopics)
SLUICE_CONTROL_CALL(CreatePartitions)
SLUICE_CONTROL_CALL(DeleteTopics)
SLUICE_CONTROL_CALL(ListTopics)
SLUICE_CONTROL_CALL(DescribeTopics)
SLUICE_CONTROL_CALL(DescribeConfigs)
SLUICE_CONTROL_CALL(AlterConfigs)
SLUICE_CONTROL_CALL(ElectLeaders)
SLUICE_CONTROL_CALL(ResetReplica)
#undef SLUICE_CONTROL_CALL

}  // namespace sluice
