// sluice.v1.GroupService over a GroupApi: on the public listener for clients,
// on the internal one for calls that brokers hand on.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>

#include "broker/consume_api.h"
#include "broker/group_api.h"
#include "common/rpc/gate.h"
#include "sluice/v1/group.grpc.pb.h"

namespace sluice {

namespace group_service_internal {

// gRPC's generated layers take each other as their base.
template <class Base>
using Layer1 = v1::GroupService::WithRawCallbackMethod_FindCoordinator<
    v1::GroupService::WithRawCallbackMethod_JoinGroup<
        v1::GroupService::WithRawCallbackMethod_SyncGroup<
            v1::GroupService::WithRawCallbackMethod_Heartbeat<Base>>>>;
template <class Base>
using Layer2 = v1::GroupService::WithRawCallbackMethod_LeaveGroup<
    v1::GroupService::WithRawCallbackMethod_CommitOffsets<
        v1::GroupService::WithRawCallbackMethod_FetchOffsets<
            v1::GroupService::WithRawCallbackMethod_DeleteOffsets<Base>>>>;
template <class Base>
using Layer3 = v1::GroupService::WithRawCallbackMethod_ListGroups<
    v1::GroupService::WithRawCallbackMethod_DescribeGroups<
        v1::GroupService::WithRawCallbackMethod_DeleteGroups<
            v1::GroupService::WithRawCallbackMethod_Consume<Base>>>>;

using AllRaw = Layer1<Layer2<Layer3<v1::GroupService::Service>>>;

}  // namespace group_service_internal

class GroupService final : public group_service_internal::AllRaw {
 public:
  // Both outlive the service. Without `consumers` Consume is UNIMPLEMENTED.
  GroupService(GroupApi* groups, std::shared_ptr<rpc::Gate> gate,
               ConsumeApi* consumers)
      : groups_(groups), gate_(std::move(gate)), consumers_(consumers) {}

#define SLUICE_GROUP_CALL(Name)                                            \
  grpc::ServerUnaryReactor* Name(grpc::CallbackServerContext* context,     \
                                 const grpc::ByteBuffer* request,          \
                                 grpc::ByteBuffer* response) override;
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Consume(
      grpc::CallbackServerContext* context) override;

 private:
  GroupApi* const groups_;
  const std::shared_ptr<rpc::Gate> gate_;
  ConsumeApi* const consumers_;
};

}  // namespace sluice
