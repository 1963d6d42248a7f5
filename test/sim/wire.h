// Messages as bytes, by the codecs of the gRPC edge: sender and receiver never
// share an object, and what a codec loses is lost here too.
#pragma once

#include <string>
#include <string_view>

#include "broker/consume_api.h"
#include "client/peers/replication_stream.h"
#include "common/api/log_api.h"
#include "common/base/invariant.h"
#include "controller/raft/types.h"
#include "google/protobuf/message_lite.h"

namespace sluice::sim {

// The same bytes for the same message, map fields included.
std::string EncodeProto(const google::protobuf::MessageLite& message);

template <class T>
struct Wire {  // protobuf messages
  static std::string Encode(const T& message) { return EncodeProto(message); }
  static T Decode(std::string_view bytes) {
    T message;
    const bool parsed =
        message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    INVARIANT(parsed, "the simulated wire damaged a message");
    return message;
  }
};

#define SLUICE_WIRE(Type)                          \
  template <>                                      \
  struct Wire<Type> {                              \
    static std::string Encode(Type message);       \
    static Type Decode(std::string_view bytes);    \
  };
SLUICE_WIRE(raft::Message)
SLUICE_WIRE(FollowerFrame)
SLUICE_WIRE(LeaderFrame)
SLUICE_WIRE(api::ProduceRequest)
SLUICE_WIRE(api::ProduceResponse)
SLUICE_WIRE(api::ProduceStreamRequest)
SLUICE_WIRE(api::ProduceStreamResponse)
SLUICE_WIRE(api::SubscribeRequest)
SLUICE_WIRE(api::SubscribeResponse)
// What is decoded has its payload inside the message.
SLUICE_WIRE(ConsumePush)
SLUICE_WIRE(api::OffsetForLeaderEpochRequest)
SLUICE_WIRE(api::OffsetForLeaderEpochResponse)
SLUICE_WIRE(api::FetchRequest)
SLUICE_WIRE(api::FetchResponse)
SLUICE_WIRE(api::ListOffsetsRequest)
SLUICE_WIRE(api::ListOffsetsResponse)
SLUICE_WIRE(api::DeleteRecordsRequest)
SLUICE_WIRE(api::DeleteRecordsResponse)
#undef SLUICE_WIRE

}  // namespace sluice::sim
