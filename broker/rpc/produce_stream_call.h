// LogService.ProduceStream at the edge.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "broker/rpc/session_call.h"
#include "common/rpc/log_wire.h"

namespace sluice {

struct ProduceStreamProtocol {
  using Message = v1::ProduceStreamRequest;
  using Request = api::ProduceStreamRequest;
  using Response = api::ProduceStreamResponse;
  using Api = BrokerApi;
  static constexpr bool kOpensAtOnce = false;
  static constexpr rpc::Method kMethod = rpc::Method::kProduceStream;
  // Two messages beyond what the session lets in: one is decoded while the
  // other is on its way to it. Answers are bounded by the requests in flight.
  static constexpr rpc::StreamLimits kLimits = {.unconsumed_max = 2};
  static constexpr bool kSessionConsumes = true;
  // Of the 1,000 that it lets in.
  static constexpr int kDrainsAt = 100;
  static constexpr bool kOwesAnswers = true;

  static const std::string& ClientIdOf(const Message& message) {
    return message.request().client_id();
  }
  static absl::StatusOr<Request> Decode(Message message) {
    return rpc::ProduceStreamRequestFromProto(std::move(message));
  }
  static grpc::ByteBuffer Encode(Response response) {
    return rpc::EncodeProduceStreamResponse(response);
  }
  static std::shared_ptr<ProduceSession> Open(
      BrokerApi& broker, const api::CallContext& context, const Request& first,
      std::shared_ptr<ProduceSink> sink) {
    return broker.ProduceStream(context, first, std::move(sink));
  }
};

using ProduceStreamCall = SessionCall<ProduceStreamProtocol>;

}  // namespace sluice
