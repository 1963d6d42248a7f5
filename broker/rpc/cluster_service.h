// sluice.v1.ClusterService over a BrokerApi.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "broker/broker_api.h"
#include "common/rpc/gate.h"
#include "sluice/v1/cluster.grpc.pb.h"

namespace sluice {

class ClusterService final
    : public v1::ClusterService::WithRawCallbackMethod_DescribeCluster<
          v1::ClusterService::WithRawCallbackMethod_GetMetadata<
              v1::ClusterService::WithRawCallbackMethod_WatchMetadata<
                  v1::ClusterService::WithRawCallbackMethod_DescribeQuorum<
                      v1::ClusterService::Service>>>> {
 public:
  // `broker` outlives the service.
  ClusterService(BrokerApi* broker, std::shared_ptr<rpc::Gate> gate)
      : broker_(broker), gate_(std::move(gate)) {}

  grpc::ServerUnaryReactor* DescribeCluster(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetMetadata(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchMetadata(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* DescribeQuorum(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;

 private:
  BrokerApi* const broker_;
  const std::shared_ptr<rpc::Gate> gate_;
};

}  // namespace sluice
