// LogService.Fetch: reads of many partitions, with waiting for data.
#pragma once

#include <memory>

#include "broker/broker_api.h"
#include "broker/handlers/handler_deps.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Whole-request errors: INVALID_REQUEST (too many or no partitions, one named
// twice, a negative wait, a rack of more than kRackBytesMax), BUSY (kWaitingMax
// fetches wait already, or the answers under way take all the memory there is
// for them and nothing could be read). Everything
// else is in the results: the errors of topic_resolver.h and what the
// partition answers; any of them ends the waiting at once. Sizes out of range
// are clamped.
class FetchHandler {
 public:
  static constexpr int32_t kMaxBytesDefault = 8 << 20;
  static constexpr int32_t kMaxBytesMax = 16 << 20;
  static constexpr int32_t kPartitionBytesDefault = 1 << 20;
  static constexpr int32_t kMaxWaitMsMax = 60000;
  static constexpr int64_t kWaitingMax = 20000;  // of the whole broker

  // Of what is read, from then until it is on the wire, of the whole broker.
  static constexpr int64_t kMemoryBytes = 256 << 20;

  explicit FetchHandler(HandlerDeps deps, int64_t waiting_max = kWaitingMax,
                        int64_t memory_bytes = kMemoryBytes);

  // As BrokerApi::Fetch. Any thread.
  CancelCall Fetch(const api::CallContext& context, api::FetchRequest request,
                   api::Answer<api::FetchResponse> done);

  // The same, of what this broker may answer itself.
  CancelCall FetchHere(const api::CallContext& context,
                       api::FetchRequest request,
                       api::Answer<api::FetchResponse> done);

  int64_t waiting() const { return waiting_->taken(); }
  const Budget& memory() const { return *memory_; }

 private:
  HandlerDeps deps_;
  std::shared_ptr<Budget> waiting_;
  std::shared_ptr<Budget> memory_;
};

}  // namespace sluice
