// LogService.OffsetForLeaderEpoch: where leader epochs end in the logs.
#pragma once

#include <utility>

#include "broker/handlers/handler_deps.h"
#include "common/api/log_api.h"

namespace sluice {

// Whole-request errors: INVALID_REQUEST (too many or no partitions, one named
// twice). Everything else is in the results: the errors of topic_resolver.h
// and what the partition answers.
class EpochEndHandler {
 public:
  explicit EpochEndHandler(HandlerDeps deps) : deps_(std::move(deps)) {}

  // As BrokerApi::OffsetForLeaderEpoch. Any thread.
  void OffsetForLeaderEpoch(
      const api::CallContext& context,
      const api::OffsetForLeaderEpochRequest& request,
      api::Answer<api::OffsetForLeaderEpochResponse> done);

 private:
  HandlerDeps deps_;
};

}  // namespace sluice
