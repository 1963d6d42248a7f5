#include "client/grpc_peers/grpc_broker_peer.h"

#include <utility>

#include "client/grpc_peers/frame_call.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/log_wire.h"
#include "common/rpc/slice_writer.h"

namespace sluice {
namespace {

using rpc::ClientCalls;

// A call of LogService whose request is encoded already.
template <class Response, class Result>
void StartEncoded(ClientCalls& calls, const std::string& client_id,
                  grpc::TemplatedGenericStub<grpc::ByteBuffer, Response>& stub,
                  const char* method, grpc::ByteBuffer request,
                  int64_t timeout_us,
                  absl::StatusOr<Result> (*decode)(Response),
                  PeerReply<Result> reply) {
  // gRPC has its own references to the slices when UnaryCall returns.
  calls.StartFor<Response, Result>(
      client_id, timeout_us,
      [&](grpc::ClientContext* context, Response* response,
          ClientCalls::Done done) {
        stub.UnaryCall(context, method, grpc::StubOptions(), &request,
                       response, std::move(done));
      },
      decode, std::move(reply));
}

absl::StatusOr<api::ListOffsetsResponse> DecodeListOffsets(
    v1::ListOffsetsResponse message) {
  return rpc::ListOffsetsResponseFromProto(message);
}

absl::StatusOr<api::DeleteRecordsResponse> DecodeDeleteRecords(
    v1::DeleteRecordsResponse message) {
  return rpc::DeleteRecordsResponseFromProto(message);
}

absl::StatusOr<api::OffsetForLeaderEpochResponse> DecodeEpochEnds(
    v1::OffsetForLeaderEpochResponse message) {
  return rpc::OffsetForLeaderEpochResponseFromProto(message);
}

template <class Message>
absl::Status Parse(grpc::ByteBuffer* bytes, Message* message) {
  if (rpc::ParseMessage(bytes, message)) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest, "the broker's answer is no ",
                   message->GetTypeName());
}

struct ProduceStreamCodec {
  using In = api::ProduceStreamResponse;
  using Out = api::ProduceStreamRequest;
  static constexpr char kMethod[] = "/sluice.v1.LogService/ProduceStream";
  std::string client_id;

  absl::StatusOr<In> Decode(grpc::ByteBuffer* bytes) const {
    v1::ProduceStreamResponse message;
    RETURN_IF_ERROR(Parse(bytes, &message));
    return rpc::ProduceStreamResponseFromProto(std::move(message));
  }
  grpc::ByteBuffer Encode(Out request) const {
    return rpc::EncodeProduceStreamRequest(std::move(request), client_id);
  }
};

struct SubscribeCodec {
  using In = api::SubscribeResponse;
  using Out = api::SubscribeRequest;
  static constexpr char kMethod[] = "/sluice.v1.LogService/Subscribe";
  std::string client_id;

  absl::StatusOr<In> Decode(grpc::ByteBuffer* bytes) const {
    v1::SubscribeResponse message;
    RETURN_IF_ERROR(Parse(bytes, &message));
    return rpc::SubscribeResponseFromProto(std::move(message));
  }
  grpc::ByteBuffer Encode(const Out& request) const {
    return rpc::EncodeSubscribeRequest(request, client_id);
  }
};

// A server-streaming call looks the same on the wire.
struct WatchCodec {
  using In = v1::WatchMetadataResponse;
  using Out = v1::WatchMetadataRequest;
  static constexpr char kMethod[] = "/sluice.v1.ClusterService/WatchMetadata";
  std::string client_id;

  absl::StatusOr<In> Decode(grpc::ByteBuffer* bytes) const {
    v1::WatchMetadataResponse message;
    RETURN_IF_ERROR(Parse(bytes, &message));
    return message;
  }
  grpc::ByteBuffer Encode(Out request) const {
    request.set_client_id(client_id);
    return rpc::ToByteBuffer(request);
  }
};

}  // namespace

GrpcBrokerPeer::GrpcBrokerPeer(Deps deps)
    : deps_(std::move(deps)),
      produce_(deps_.data),
      fetch_(deps_.data),
      list_offsets_(deps_.control),
      delete_records_(deps_.control),
      epoch_ends_(deps_.control),
      cluster_(deps_.control),
      topic_(deps_.control),
      transaction_(deps_.control),
      calls_(deps_.executor, deps_.client_id) {}

void GrpcBrokerPeer::Produce(const std::string& client_id,
                             api::ProduceRequest request, int64_t timeout_us,
                             PeerReply<api::ProduceResponse> reply) {
  const std::string& id = Known(client_id);
  StartEncoded(calls_, id, produce_, "/sluice.v1.LogService/Produce",
               rpc::EncodeProduceRequest(std::move(request), id), timeout_us,
               &rpc::ProduceResponseFromProto, std::move(reply));
}

std::shared_ptr<MetadataWatchSender> GrpcBrokerPeer::OpenMetadataWatch(
    MetadataWatchEvents events) {
  return OpenFrameCall(deps_.control, deps_.executor, std::move(events),
                       WatchCodec{deps_.client_id});
}

std::shared_ptr<ProduceSender> GrpcBrokerPeer::OpenProduceStream(
    const std::string& client_id, ProduceStreamEvents events) {
  return OpenFrameCall(deps_.data, deps_.executor, std::move(events),
                       ProduceStreamCodec{Known(client_id)});
}

void GrpcBrokerPeer::Fetch(const std::string& client_id,
                           const api::FetchRequest& request,
                           int64_t timeout_us,
                           PeerReply<api::FetchResponse> reply) {
  const std::string& id = Known(client_id);
  StartEncoded(calls_, id, fetch_, "/sluice.v1.LogService/Fetch",
               rpc::EncodeFetchRequest(request, id), timeout_us,
               &rpc::FetchResponseFromProto, std::move(reply));
}

void GrpcBrokerPeer::ListOffsets(const std::string& client_id,
                                 const api::ListOffsetsRequest& request,
                                 int64_t timeout_us,
                                 PeerReply<api::ListOffsetsResponse> reply) {
  StartEncoded(calls_, Known(client_id), list_offsets_,
               "/sluice.v1.LogService/ListOffsets",
               rpc::EncodeListOffsetsRequest(request), timeout_us,
               &DecodeListOffsets, std::move(reply));
}

void GrpcBrokerPeer::DeleteRecords(
    const std::string& client_id, const api::DeleteRecordsRequest& request,
    int64_t timeout_us, PeerReply<api::DeleteRecordsResponse> reply) {
  StartEncoded(calls_, Known(client_id), delete_records_,
               "/sluice.v1.LogService/DeleteRecords",
               rpc::EncodeDeleteRecordsRequest(request), timeout_us,
               &DecodeDeleteRecords, std::move(reply));
}

void GrpcBrokerPeer::OffsetForLeaderEpoch(
    const std::string& client_id,
    const api::OffsetForLeaderEpochRequest& request, int64_t timeout_us,
    PeerReply<api::OffsetForLeaderEpochResponse> reply) {
  StartEncoded(calls_, Known(client_id), epoch_ends_,
               "/sluice.v1.LogService/OffsetForLeaderEpoch",
               rpc::EncodeOffsetForLeaderEpochRequest(request), timeout_us,
               &DecodeEpochEnds, std::move(reply));
}

std::shared_ptr<SubscribeSender> GrpcBrokerPeer::OpenSubscription(
    const std::string& client_id, SubscribeEvents events) {
  return OpenFrameCall(deps_.data, deps_.executor, std::move(events),
                       SubscribeCodec{Known(client_id)});
}

// ---- As a client, for itself ----

void GrpcBrokerPeer::Produce(api::ProduceRequest request, int64_t timeout_us,
                             PeerReply<api::ProduceResponse> reply) {
  Produce(deps_.client_id, std::move(request), timeout_us, std::move(reply));
}

std::shared_ptr<ProduceSender> GrpcBrokerPeer::OpenProduceStream(
    ProduceStreamEvents events) {
  return OpenProduceStream(deps_.client_id, std::move(events));
}

void GrpcBrokerPeer::Fetch(const api::FetchRequest& request,
                           int64_t timeout_us,
                           PeerReply<api::FetchResponse> reply) {
  Fetch(deps_.client_id, request, timeout_us, std::move(reply));
}

void GrpcBrokerPeer::ListOffsets(const api::ListOffsetsRequest& request,
                                 int64_t timeout_us,
                                 PeerReply<api::ListOffsetsResponse> reply) {
  ListOffsets(deps_.client_id, request, timeout_us, std::move(reply));
}

void GrpcBrokerPeer::DeleteRecords(
    const api::DeleteRecordsRequest& request, int64_t timeout_us,
    PeerReply<api::DeleteRecordsResponse> reply) {
  DeleteRecords(deps_.client_id, request, timeout_us, std::move(reply));
}

// The control calls differ in their types alone.
#define SLUICE_CONTROL_CALL(Method, stub)                                  \
  void GrpcBrokerPeer::Method(const v1::Method##Request& request,          \
                              int64_t timeout_us,                          \
                              PeerReply<v1::Method##Response> reply) {     \
    calls_.Start<v1::Method##Response>(                                    \
        timeout_us,                                                        \
        [&](grpc::ClientContext* context, v1::Method##Response* response,  \
            ClientCalls::Done done) {                                      \
          stub.async()->Method(context, &request, response,                \
                               std::move(done));                           \
        },                                                                 \
        std::move(reply));                                                 \
  }
SLUICE_CONTROL_CALL(DescribeCluster, cluster_)
SLUICE_CONTROL_CALL(GetMetadata, cluster_)
SLUICE_CONTROL_CALL(DescribeQuorum, cluster_)
SLUICE_CONTROL_CALL(CreateTopics, topic_)
SLUICE_CONTROL_CALL(CreatePartitions, topic_)
SLUICE_CONTROL_CALL(DeleteTopics, topic_)
SLUICE_CONTROL_CALL(ListTopics, topic_)
SLUICE_CONTROL_CALL(DescribeTopics, topic_)
SLUICE_CONTROL_CALL(DescribeConfigs, topic_)
SLUICE_CONTROL_CALL(AlterConfigs, topic_)
SLUICE_CONTROL_CALL(ElectLeaders, topic_)
SLUICE_CONTROL_CALL(ResetReplica, topic_)
SLUICE_CONTROL_CALL(InitProducerId, transaction_)
#undef SLUICE_CONTROL_CALL

}  // namespace sluice
