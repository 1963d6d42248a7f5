// LogService.Subscribe: streams on which the broker pushes records.
#pragma once

#include <memory>

#include "broker/broker_api.h"
#include "broker/handlers/handler_deps.h"
#include "broker/handlers/subscribe_memory.h"
#include "common/env/budget.h"

namespace sluice {

class SubscribeHandler {
 public:
  static constexpr int64_t kStreamsMax = 20000;  // of the whole broker

  // Of what is pushed and not on the wire, of the whole broker.
  static constexpr int64_t kMemoryBytes = 128 << 20;

  explicit SubscribeHandler(HandlerDeps deps,
                            int64_t streams_max = kStreamsMax,
                            int64_t memory_bytes = kMemoryBytes);

  // As BrokerApi::Subscribe. Any thread. A stream beyond kStreamsMax is
  // finished with BUSY.
  std::shared_ptr<SubscribeSession> Subscribe(
      const api::CallContext& context, std::shared_ptr<SubscribeSink> sink);

  int64_t streams() const { return streams_->taken(); }
  const Budget& memory() const { return memory_->budget(); }

 private:
  HandlerDeps deps_;
  std::shared_ptr<SubscribeMemory> memory_;  // on the worker
  std::shared_ptr<Budget> streams_;
};

}  // namespace sluice
