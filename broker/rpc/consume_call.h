// GroupService.Consume at the edge.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "broker/consume_api.h"
#include "broker/rpc/session_call.h"
#include "common/rpc/consume_wire.h"

namespace sluice {

struct ConsumeProtocol {
  using Message = v1::ConsumeRequest;
  using Request = v1::ConsumeRequest;
  using Response = ConsumePush;
  using Api = ConsumeApi;
  // A client that says nothing has ten seconds.
  static constexpr bool kOpensAtOnce = true;
  static constexpr rpc::Method kMethod = rpc::Method::kConsume;
  // Records are bounded by the client's credit, as those of Subscribe.
  static constexpr rpc::StreamLimits kLimits = {
      .queue_bytes_max = int64_t{128} << 20};
  static constexpr bool kSessionConsumes = false;
  static constexpr int kDrainsAt = 1;
  // The last acknowledgements are committed, and the member leaves.
  static constexpr bool kOwesAnswers = true;

  static const std::string& ClientIdOf(const Message& message) {
    return message.open().client_id();
  }
  static absl::StatusOr<Request> Decode(Message message) { return message; }
  static grpc::ByteBuffer Encode(Response response) {
    return rpc::EncodeConsumeResponse(std::move(response.message),
                                      std::move(response.batches),
                                      std::move(response.records));
  }
  static std::shared_ptr<ConsumeSession> Open(
      ConsumeApi& broker, const api::CallContext& context, const Request&,
      std::shared_ptr<ConsumeSink> sink) {
    return broker.Consume(context, std::move(sink));
  }
};

using ConsumeCall = SessionCall<ConsumeProtocol>;

}  // namespace sluice
