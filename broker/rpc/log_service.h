// sluice.v1.LogService over a BrokerApi.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "broker/broker_api.h"
#include "common/rpc/gate.h"
#include "sluice/v1/log.grpc.pb.h"

namespace sluice {

// Takes and gives bytes: the gate sees a request's size before anything is
// parsed, and record batches leave as the slices they are kept in. A client
// that goes away cancels its Fetch and ends its streams.
class LogService final
    : public v1::LogService::WithRawCallbackMethod_Produce<
          v1::LogService::WithRawCallbackMethod_ProduceStream<
              v1::LogService::WithRawCallbackMethod_Fetch<
                  v1::LogService::WithRawCallbackMethod_Subscribe<
                      v1::LogService::WithRawCallbackMethod_ListOffsets<
                          v1::LogService::
                              WithRawCallbackMethod_OffsetForLeaderEpoch<
                                  v1::LogService::
                                      WithRawCallbackMethod_DeleteRecords<
                                          v1::LogService::Service>>>>>>> {
 public:
  // `broker` outlives the service.
  LogService(BrokerApi* broker, std::shared_ptr<rpc::Gate> gate)
      : broker_(broker), gate_(std::move(gate)) {}

  grpc::ServerUnaryReactor* Produce(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ProduceStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Fetch(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListOffsets(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* OffsetForLeaderEpoch(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteRecords(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Subscribe(
      grpc::CallbackServerContext* context) override;

 private:
  BrokerApi* const broker_;
  const std::shared_ptr<rpc::Gate> gate_;
};

}  // namespace sluice
