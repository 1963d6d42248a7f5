#include "broker/rpc/transaction_service.h"

#include <utility>

#include "broker/rpc/public_call.h"

namespace sluice {

grpc::ServerUnaryReactor* TransactionService::InitProducerId(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return ServeCall<v1::InitProducerIdRequest>(
      *gate_, rpc::Method::kInitProducerId, context, request, response,
      [this](PendingCall pending, v1::InitProducerIdRequest message) {
        pending.set_client_id(message.client_id());
        const api::CallContext caller = pending.context();
        broker_->InitProducerId(
            caller, std::move(message),
            ReplyTo<v1::InitProducerIdResponse>(std::move(pending)));
      });
}

}  // namespace sluice
