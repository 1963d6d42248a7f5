// LogService's messages and the plain structs of common/api/log_api.h, in both
// directions, for brokers and clients. Pure; any thread.
//
// Structure is checked here, meaning by the handlers: a decoder fails the
// whole request with INVALID_REQUEST for an id that is not 16 bytes, a payload
// that is not there, an enum value it does not know; a number out of range
// goes through and is answered per partition.
//
// Record batches are never copied on the way out: the ByteBuffer shares them.
// On the way in protobuf copies them once, out of gRPC's slices.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "sluice/v1/log.pb.h"

namespace sluice::rpc {

// ---- The broker's side ----

absl::StatusOr<api::ProduceRequest> ProduceRequestFromProto(
    v1::ProduceRequest message);
absl::StatusOr<api::ProduceStreamRequest> ProduceStreamRequestFromProto(
    v1::ProduceStreamRequest message);
absl::StatusOr<api::FetchRequest> FetchRequestFromProto(
    const v1::FetchRequest& message);
absl::StatusOr<api::ListOffsetsRequest> ListOffsetsRequestFromProto(
    const v1::ListOffsetsRequest& message);
absl::StatusOr<api::OffsetForLeaderEpochRequest>
OffsetForLeaderEpochRequestFromProto(
    const v1::OffsetForLeaderEpochRequest& message);
absl::StatusOr<api::DeleteRecordsRequest> DeleteRecordsRequestFromProto(
    const v1::DeleteRecordsRequest& message);
absl::StatusOr<api::SubscribeRequest> SubscribeRequestFromProto(
    const v1::SubscribeRequest& message);

grpc::ByteBuffer EncodeProduceResponse(const api::ProduceResponse& response);
grpc::ByteBuffer EncodeProduceStreamResponse(
    const api::ProduceStreamResponse& response);
// A result with records is sent in the RECORDS form, else in BATCHES.
grpc::ByteBuffer EncodeFetchResponse(api::FetchResponse response);
grpc::ByteBuffer EncodeListOffsetsResponse(
    const api::ListOffsetsResponse& response);
grpc::ByteBuffer EncodeOffsetForLeaderEpochResponse(
    const api::OffsetForLeaderEpochResponse& response);
grpc::ByteBuffer EncodeDeleteRecordsResponse(
    const api::DeleteRecordsResponse& response);
grpc::ByteBuffer EncodeSubscribeResponse(api::SubscribeResponse response);

// ---- The client's side ----

// Publishes the request's payload buffers.
grpc::ByteBuffer EncodeProduceRequest(api::ProduceRequest request,
                                      const std::string& client_id);
grpc::ByteBuffer EncodeProduceStreamRequest(api::ProduceStreamRequest request,
                                            const std::string& client_id);
grpc::ByteBuffer EncodeFetchRequest(const api::FetchRequest& request,
                                    const std::string& client_id);
grpc::ByteBuffer EncodeListOffsetsRequest(
    const api::ListOffsetsRequest& request);
grpc::ByteBuffer EncodeDeleteRecordsRequest(
    const api::DeleteRecordsRequest& request);
grpc::ByteBuffer EncodeOffsetForLeaderEpochRequest(
    const api::OffsetForLeaderEpochRequest& request);
grpc::ByteBuffer EncodeSubscribeRequest(const api::SubscribeRequest& request,
                                        const std::string& client_id);

// INVALID_REQUEST names what a broker's answer must not be.
absl::StatusOr<api::ProduceResponse> ProduceResponseFromProto(
    v1::ProduceResponse message);
absl::StatusOr<api::ProduceStreamResponse> ProduceStreamResponseFromProto(
    v1::ProduceStreamResponse message);
absl::StatusOr<api::FetchResponse> FetchResponseFromProto(
    v1::FetchResponse message);
absl::StatusOr<api::ListOffsetsResponse> ListOffsetsResponseFromProto(
    const v1::ListOffsetsResponse& message);
absl::StatusOr<api::DeleteRecordsResponse> DeleteRecordsResponseFromProto(
    const v1::DeleteRecordsResponse& message);
absl::StatusOr<api::OffsetForLeaderEpochResponse>
OffsetForLeaderEpochResponseFromProto(
    const v1::OffsetForLeaderEpochResponse& message);
absl::StatusOr<api::SubscribeResponse> SubscribeResponseFromProto(
    v1::SubscribeResponse message);

}  // namespace sluice::rpc
