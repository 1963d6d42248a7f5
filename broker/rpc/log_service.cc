#include "broker/rpc/log_service.h"

#include <utility>

#include "broker/rpc/produce_stream_call.h"
#include "broker/rpc/public_call.h"
#include "broker/rpc/subscribe_call.h"
#include "common/rpc/log_wire.h"

namespace sluice {

grpc::ServerUnaryReactor* LogService::Produce(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return ServeCall<v1::ProduceRequest>(
      *gate_, rpc::Method::kProduce, context, request, response,
      [this](PendingCall pending, v1::ProduceRequest message) {
        pending.set_client_id(message.client_id());
        auto decoded = rpc::ProduceRequestFromProto(std::move(message));
        if (!decoded.ok()) return pending.Fail(decoded.status());
        const api::CallContext caller = pending.context();
        // Unary calls have no order among each other.
        broker_->Produce(
            caller, *std::move(decoded), /*order_fixed=*/[] {},
            [pending = std::move(pending)](
                absl::Status status, api::ProduceResponse response) mutable {
              if (!status.ok()) return pending.Fail(status);
              pending.Answer(rpc::EncodeProduceResponse(response));
            });
      });
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
LogService::ProduceStream(grpc::CallbackServerContext* context) {
  return ProduceStreamCall::Serve(broker_, gate_, *context);
}

grpc::ServerUnaryReactor* LogService::Fetch(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return ServeCall<v1::FetchRequest>(
      *gate_, rpc::Method::kFetch, context, request, response,
      [this](PendingCall pending, v1::FetchRequest message) {
        pending.set_client_id(message.client_id());
        auto decoded = rpc::FetchRequestFromProto(message);
        if (!decoded.ok()) return pending.Fail(decoded.status());
        const api::CallContext caller = pending.context();
        const auto call = pending.call();
        call->OnGiveUp(broker_->Fetch(
            caller, *std::move(decoded),
            [pending = std::move(pending)](
                absl::Status status, api::FetchResponse response) mutable {
              if (!status.ok()) return pending.Fail(status);
              auto held = std::move(response.held);
              pending.Answer(rpc::EncodeFetchResponse(std::move(response)),
                             std::move(held));
            }));
      });
}

grpc::ServerUnaryReactor* LogService::ListOffsets(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return ServeCall<v1::ListOffsetsRequest>(
      *gate_, rpc::Method::kListOffsets, context, request, response,
      [this](PendingCall pending, v1::ListOffsetsRequest message) {
        auto decoded = rpc::ListOffsetsRequestFromProto(message);
        if (!decoded.ok()) return pending.Fail(decoded.status());
        const api::CallContext caller = pending.context();
        broker_->ListOffsets(
            caller, *std::move(decoded),
            [pending = std::move(pending)](
                absl::Status status,
                api::ListOffsetsResponse response) mutable {
              if (!status.ok()) return pending.Fail(status);
              pending.Answer(rpc::EncodeListOffsetsResponse(response));
            });
      });
}

grpc::ServerUnaryReactor* LogService::OffsetForLeaderEpoch(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return ServeCall<v1::OffsetForLeaderEpochRequest>(
      *gate_, rpc::Method::kOffsetForLeaderEpoch, context, request, response,
      [this](PendingCall pending, v1::OffsetForLeaderEpochRequest message) {
        auto decoded = rpc::OffsetForLeaderEpochRequestFromProto(message);
        if (!decoded.ok()) return pending.Fail(decoded.status());
        const api::CallContext caller = pending.context();
        broker_->OffsetForLeaderEpoch(
            caller, *std::move(decoded),
            [pending = std::move(pending)](
                absl::Status status,
                api::OffsetForLeaderEpochResponse response) mutable {
              if (!status.ok()) return pending.Fail(status);
              pending.Answer(rpc::EncodeOffsetForLeaderEpochResponse(response));
            });
      });
}

grpc::ServerUnaryReactor* LogService::DeleteRecords(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return ServeCall<v1::DeleteRecordsRequest>(
      *gate_, rpc::Method::kDeleteRecords, context, request, response,
      [this](PendingCall pending, v1::DeleteRecordsRequest message) {
        auto decoded = rpc::DeleteRecordsRequestFromProto(message);
        if (!decoded.ok()) return pending.Fail(decoded.status());
        const api::CallContext caller = pending.context();
        broker_->DeleteRecords(
            caller, *std::move(decoded),
            [pending = std::move(pending)](
                absl::Status status,
                api::DeleteRecordsResponse response) mutable {
              if (!status.ok()) return pending.Fail(status);
              pending.Answer(rpc::EncodeDeleteRecordsResponse(response));
            });
      });
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
LogService::Subscribe(grpc::CallbackServerContext* context) {
  return SubscribeCall::Serve(broker_, gate_, *context);
}

}  // namespace sluice
