// LogService.ListOffsets: where partitions begin and end.
#pragma once

#include "broker/handlers/handler_deps.h"
#include "common/api/log_api.h"

namespace sluice {

// Whole-request errors: INVALID_REQUEST (too many or no partitions, one named
// twice). Everything else is in the results: the errors of topic_resolver.h
// and what the partition answers.
class ListOffsetsHandler {
 public:
  explicit ListOffsetsHandler(HandlerDeps deps) : deps_(std::move(deps)) {}

  // As BrokerApi::ListOffsets. Any thread.
  void ListOffsets(const api::CallContext& context,
                   const api::ListOffsetsRequest& request,
                   api::Answer<api::ListOffsetsResponse> done);

 private:
  HandlerDeps deps_;
};

}  // namespace sluice
