// sluice.v1.TopicService over a BrokerApi.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "broker/broker_api.h"
#include "common/rpc/gate.h"
#include "sluice/v1/topic.grpc.pb.h"

namespace sluice {

class TopicService final
    : public v1::TopicService::WithRawCallbackMethod_CreateTopics<
          v1::TopicService::WithRawCallbackMethod_CreatePartitions<
          v1::TopicService::WithRawCallbackMethod_DeleteTopics<
              v1::TopicService::WithRawCallbackMethod_ListTopics<
                  v1::TopicService::WithRawCallbackMethod_DescribeTopics<
                      v1::TopicService::WithRawCallbackMethod_DescribeConfigs<
                          v1::TopicService::WithRawCallbackMethod_AlterConfigs<
                          v1::TopicService::WithRawCallbackMethod_ElectLeaders<
                          v1::TopicService::WithRawCallbackMethod_ResetReplica<
                              v1::TopicService::Service>>>>>>>>> {
 public:
  // `broker` outlives the service.
  TopicService(BrokerApi* broker, std::shared_ptr<rpc::Gate> gate)
      : broker_(broker), gate_(std::move(gate)) {}

  grpc::ServerUnaryReactor* CreateTopics(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CreatePartitions(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteTopics(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListTopics(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DescribeTopics(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DescribeConfigs(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* AlterConfigs(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ElectLeaders(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ResetReplica(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;

 private:
  BrokerApi* const broker_;
  const std::shared_ptr<rpc::Gate> gate_;
};

}  // namespace sluice
