// sluice.v1.TransactionService over a BrokerApi.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "broker/broker_api.h"
#include "common/rpc/gate.h"
#include "sluice/v1/transaction.grpc.pb.h"

namespace sluice {

class TransactionService final
    : public v1::TransactionService::WithRawCallbackMethod_InitProducerId<
          v1::TransactionService::Service> {
 public:
  // `broker` outlives the service.
  TransactionService(BrokerApi* broker, std::shared_ptr<rpc::Gate> gate)
      : broker_(broker), gate_(std::move(gate)) {}

  grpc::ServerUnaryReactor* InitProducerId(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;

 private:
  BrokerApi* const broker_;
  const std::shared_ptr<rpc::Gate> gate_;
};

}  // namespace sluice
