#include "broker/handlers/subscribe_handler.h"

#include <optional>
#include <utility>

#include "broker/handlers/refused_session.h"
#include "broker/handlers/subscribe_stream.h"
#include "common/base/error.h"

namespace sluice {

SubscribeHandler::SubscribeHandler(HandlerDeps deps, int64_t streams_max,
                                   int64_t memory_bytes)
    : deps_(std::move(deps)),
      memory_(std::make_shared<SubscribeMemory>(deps_.worker, deps_.clock,
                                                memory_bytes)),
      streams_(Budget::Of(streams_max)) {}

std::shared_ptr<SubscribeSession> SubscribeHandler::Subscribe(
    const api::CallContext& context, std::shared_ptr<SubscribeSink> sink) {
  std::optional<Budget::Share> share = streams_->TryTake(1);
  if (share.has_value()) {
    return std::make_shared<SubscribeStream>(
        deps_, context.client_id, memory_, *std::move(share),
        std::move(sink));
  }
  deps_.worker->Post([sink = std::move(sink), taken = streams_->taken()] {
    sink->Finish(MakeError(ErrorCode::kBusy, taken,
                           " subscriptions are open on this broker, the "
                           "limit; try again later or on another broker"));
  });
  return std::make_shared<RefusedSession<api::SubscribeRequest>>();
}

}  // namespace sluice
