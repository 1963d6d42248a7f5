// LogService.Subscribe at the edge.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "broker/rpc/session_call.h"
#include "common/rpc/log_wire.h"

namespace sluice {

struct SubscribeProtocol {
  using Message = v1::SubscribeRequest;
  using Request = api::SubscribeRequest;
  using Response = api::SubscribeResponse;
  using Api = BrokerApi;
  static constexpr bool kOpensAtOnce = false;
  static constexpr rpc::Method kMethod = rpc::Method::kSubscribe;
  // Pushes are bounded by the client's credit, at most 64 MiB (SubscribeStream).
  static constexpr rpc::StreamLimits kLimits = {
      .queue_bytes_max = int64_t{128} << 20};
  static constexpr bool kSessionConsumes = false;
  static constexpr int kDrainsAt = 1;
  static constexpr bool kOwesAnswers = false;

  static const std::string& ClientIdOf(const Message& message) {
    return message.client_id();
  }
  static absl::StatusOr<Request> Decode(Message message) {
    return rpc::SubscribeRequestFromProto(message);
  }
  static grpc::ByteBuffer Encode(Response response) {
    return rpc::EncodeSubscribeResponse(std::move(response));
  }
  static std::shared_ptr<SubscribeSession> Open(
      BrokerApi& broker, const api::CallContext& context, const Request&,
      std::shared_ptr<SubscribeSink> sink) {
    return broker.Subscribe(context, std::move(sink));
  }
};

using SubscribeCall = SessionCall<SubscribeProtocol>;

}  // namespace sluice
