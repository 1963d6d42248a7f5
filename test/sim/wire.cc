#include "test/sim/wire.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <utility>
#include <vector>

#include "common/rpc/consume_wire.h"
#include "common/rpc/log_wire.h"
#include "common/rpc/replication_wire.h"
#include "controller/rpc/raft_wire.h"

namespace sluice::sim {
namespace {

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  const grpc::Status dumped = buffer.Dump(&slices);
  INVARIANT(dumped.ok(), "an encoded message has no bytes");
  std::string bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

grpc::ByteBuffer BufferOf(std::string_view bytes) {
  const grpc::Slice slice(bytes.data(), bytes.size());
  return grpc::ByteBuffer(&slice, 1);
}

// What one peer of ours encodes, the other must take.
template <class T>
T Sound(absl::StatusOr<T> decoded) {
  INVARIANT(decoded.ok(), decoded.status().ToString());
  return *std::move(decoded);
}

}  // namespace

std::string EncodeProto(const google::protobuf::MessageLite& message) {
  std::string bytes;
  bytes.reserve(message.ByteSizeLong());
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&out);
  }
  return bytes;
}

std::string Wire<raft::Message>::Encode(raft::Message message) {
  return EncodeProto(RaftMessageToProto(message));
}
raft::Message Wire<raft::Message>::Decode(std::string_view bytes) {
  return Sound(
      RaftMessageFromProto(Wire<internal::v1::RaftMessage>::Decode(bytes)));
}

std::string Wire<FollowerFrame>::Encode(FollowerFrame frame) {
  return BytesOf(rpc::EncodeFollowerFrame(frame));
}
FollowerFrame Wire<FollowerFrame>::Decode(std::string_view bytes) {
  grpc::ByteBuffer buffer = BufferOf(bytes);
  return Sound(rpc::DecodeFollowerFrame(&buffer));
}

std::string Wire<LeaderFrame>::Encode(LeaderFrame frame) {
  return BytesOf(rpc::EncodeLeaderFrame(std::move(frame)));
}
LeaderFrame Wire<LeaderFrame>::Decode(std::string_view bytes) {
  grpc::ByteBuffer buffer = BufferOf(bytes);
  return Sound(rpc::DecodeLeaderFrame(&buffer));
}

std::string Wire<api::ProduceRequest>::Encode(api::ProduceRequest request) {
  return BytesOf(rpc::EncodeProduceRequest(std::move(request), "sim"));
}
api::ProduceRequest Wire<api::ProduceRequest>::Decode(std::string_view bytes) {
  return Sound(rpc::ProduceRequestFromProto(
      Wire<v1::ProduceRequest>::Decode(bytes)));
}

std::string Wire<api::ProduceResponse>::Encode(api::ProduceResponse response) {
  return BytesOf(rpc::EncodeProduceResponse(response));
}
api::ProduceResponse Wire<api::ProduceResponse>::Decode(
    std::string_view bytes) {
  return Sound(rpc::ProduceResponseFromProto(
      Wire<v1::ProduceResponse>::Decode(bytes)));
}

std::string Wire<api::ProduceStreamRequest>::Encode(
    api::ProduceStreamRequest request) {
  return BytesOf(rpc::EncodeProduceStreamRequest(std::move(request), "sim"));
}
api::ProduceStreamRequest Wire<api::ProduceStreamRequest>::Decode(
    std::string_view bytes) {
  return Sound(rpc::ProduceStreamRequestFromProto(
      Wire<v1::ProduceStreamRequest>::Decode(bytes)));
}

std::string Wire<api::ProduceStreamResponse>::Encode(
    api::ProduceStreamResponse response) {
  return BytesOf(rpc::EncodeProduceStreamResponse(response));
}
api::ProduceStreamResponse Wire<api::ProduceStreamResponse>::Decode(
    std::string_view bytes) {
  return Sound(rpc::ProduceStreamResponseFromProto(
      Wire<v1::ProduceStreamResponse>::Decode(bytes)));
}

std::string Wire<api::SubscribeRequest>::Encode(
    api::SubscribeRequest request) {
  return BytesOf(rpc::EncodeSubscribeRequest(request, "sim"));
}
api::SubscribeRequest Wire<api::SubscribeRequest>::Decode(
    std::string_view bytes) {
  return Sound(rpc::SubscribeRequestFromProto(
      Wire<v1::SubscribeRequest>::Decode(bytes)));
}

std::string Wire<api::SubscribeResponse>::Encode(
    api::SubscribeResponse response) {
  return BytesOf(rpc::EncodeSubscribeResponse(std::move(response)));
}
api::SubscribeResponse Wire<api::SubscribeResponse>::Decode(
    std::string_view bytes) {
  return Sound(rpc::SubscribeResponseFromProto(
      Wire<v1::SubscribeResponse>::Decode(bytes)));
}

std::string Wire<ConsumePush>::Encode(ConsumePush push) {
  return BytesOf(rpc::EncodeConsumeResponse(std::move(push.message),
                                            std::move(push.batches),
                                            std::move(push.records)));
}
ConsumePush Wire<ConsumePush>::Decode(std::string_view bytes) {
  return {Wire<v1::ConsumeResponse>::Decode(bytes), {}, {}};
}

std::string Wire<api::OffsetForLeaderEpochRequest>::Encode(
    api::OffsetForLeaderEpochRequest request) {
  return BytesOf(rpc::EncodeOffsetForLeaderEpochRequest(request));
}
api::OffsetForLeaderEpochRequest
Wire<api::OffsetForLeaderEpochRequest>::Decode(std::string_view bytes) {
  return Sound(rpc::OffsetForLeaderEpochRequestFromProto(
      Wire<v1::OffsetForLeaderEpochRequest>::Decode(bytes)));
}

std::string Wire<api::OffsetForLeaderEpochResponse>::Encode(
    api::OffsetForLeaderEpochResponse response) {
  return BytesOf(rpc::EncodeOffsetForLeaderEpochResponse(response));
}
api::OffsetForLeaderEpochResponse
Wire<api::OffsetForLeaderEpochResponse>::Decode(std::string_view bytes) {
  return Sound(rpc::OffsetForLeaderEpochResponseFromProto(
      Wire<v1::OffsetForLeaderEpochResponse>::Decode(bytes)));
}

std::string Wire<api::FetchRequest>::Encode(api::FetchRequest request) {
  return BytesOf(rpc::EncodeFetchRequest(request, "sim"));
}
api::FetchRequest Wire<api::FetchRequest>::Decode(std::string_view bytes) {
  return Sound(
      rpc::FetchRequestFromProto(Wire<v1::FetchRequest>::Decode(bytes)));
}

std::string Wire<api::FetchResponse>::Encode(api::FetchResponse response) {
  return BytesOf(rpc::EncodeFetchResponse(std::move(response)));
}
api::FetchResponse Wire<api::FetchResponse>::Decode(std::string_view bytes) {
  return Sound(
      rpc::FetchResponseFromProto(Wire<v1::FetchResponse>::Decode(bytes)));
}

std::string Wire<api::ListOffsetsRequest>::Encode(
    api::ListOffsetsRequest request) {
  return BytesOf(rpc::EncodeListOffsetsRequest(request));
}
api::ListOffsetsRequest Wire<api::ListOffsetsRequest>::Decode(
    std::string_view bytes) {
  return Sound(rpc::ListOffsetsRequestFromProto(
      Wire<v1::ListOffsetsRequest>::Decode(bytes)));
}

std::string Wire<api::ListOffsetsResponse>::Encode(
    api::ListOffsetsResponse response) {
  return BytesOf(rpc::EncodeListOffsetsResponse(response));
}
api::ListOffsetsResponse Wire<api::ListOffsetsResponse>::Decode(
    std::string_view bytes) {
  return Sound(rpc::ListOffsetsResponseFromProto(
      Wire<v1::ListOffsetsResponse>::Decode(bytes)));
}

std::string Wire<api::DeleteRecordsRequest>::Encode(
    api::DeleteRecordsRequest request) {
  return BytesOf(rpc::EncodeDeleteRecordsRequest(request));
}
api::DeleteRecordsRequest Wire<api::DeleteRecordsRequest>::Decode(
    std::string_view bytes) {
  return Sound(rpc::DeleteRecordsRequestFromProto(
      Wire<v1::DeleteRecordsRequest>::Decode(bytes)));
}

std::string Wire<api::DeleteRecordsResponse>::Encode(
    api::DeleteRecordsResponse response) {
  return BytesOf(rpc::EncodeDeleteRecordsResponse(response));
}
api::DeleteRecordsResponse Wire<api::DeleteRecordsResponse>::Decode(
    std::string_view bytes) {
  return Sound(rpc::DeleteRecordsResponseFromProto(
      Wire<v1::DeleteRecordsResponse>::Decode(bytes)));
}

}  // namespace sluice::sim
