// LogService.DeleteRecords: moves the start of logs up.
#pragma once

#include <cstdint>
#include <utility>

#include "broker/handlers/handler_deps.h"
#include "common/api/log_api.h"

namespace sluice {

// Whole-request errors: INVALID_REQUEST (too many or no partitions, one named
// twice, a negative timeout). Everything else is in the results: the errors of
// topic_resolver.h and what the partition answers.
class DeleteRecordsHandler {
 public:
  static constexpr int32_t kTimeoutDefaultMs = 30'000;
  static constexpr int32_t kTimeoutMaxMs = 300'000;

  explicit DeleteRecordsHandler(HandlerDeps deps) : deps_(std::move(deps)) {}

  // As BrokerApi::DeleteRecords. Any thread.
  void DeleteRecords(const api::CallContext& context,
                     const api::DeleteRecordsRequest& request,
                     api::Answer<api::DeleteRecordsResponse> done);

 private:
  HandlerDeps deps_;
};

}  // namespace sluice
