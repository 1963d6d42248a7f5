#include "broker/handlers/delete_records_handler.h"

#include <algorithm>

#include "broker/handlers/partition_calls.h"
#include "common/base/error.h"

namespace sluice {

void DeleteRecordsHandler::DeleteRecords(
    const api::CallContext& context, const api::DeleteRecordsRequest& request,
    api::Answer<api::DeleteRecordsResponse> done) {
  if (request.timeout_ms < 0) {
    deps_.worker->Post([done = std::move(done),
                        timeout_ms = request.timeout_ms]() mutable {
      done(MakeError(ErrorCode::kInvalidRequest, "timeout_ms is ", timeout_ms,
                     "; 0 means ", kTimeoutDefaultMs),
           {});
    });
    return;
  }
  const int64_t timeout_ms =
      request.timeout_ms == 0 ? kTimeoutDefaultMs
                              : std::min(request.timeout_ms, kTimeoutMaxMs);
  const int64_t deadline_us =
      std::min(deps_.clock->MonoMicros() + timeout_ms * 1000,
               context.deadline_us - kDeadlineMarginUs);
  using Calls = PartitionCalls<api::DeleteRecordsPartition, TrimRequest,
                               TrimOutcome, api::DeleteRecordsResponse>;
  Calls::Steps steps;
  steps.writes = true;
  steps.make = [deadline_us, validate_only = request.validate_only](
                   const api::DeleteRecordsPartition& asked,
                   const TopicPartition& tp) {
    return TrimRequest{tp, asked.before_offset, asked.leader_epoch, deadline_us,
                       validate_only};
  };
  steps.ask = [](PartitionHost& host, const TrimRequest& ask, auto take) {
    host.Trim(ask, std::move(take));
  };
  steps.put = [](TrimOutcome outcome, api::DeleteRecordsResult& result) {
    result.log_start_offset = outcome.log_start_offset;
    result.high_watermark = outcome.high_watermark;
  };
  if (request.route == api::Route::kForward) {
    steps.deadline_us = deadline_us + kDeadlineMarginUs;
    steps.lost = ErrorCode::kRequestTimedOut;
    steps.forward = [client_id = context.client_id,
                     validate_only = request.validate_only](
                        LeaderPeer& leader,
                        std::vector<api::DeleteRecordsPartition> partitions,
                        int64_t timeout_us,
                        PeerReply<api::DeleteRecordsResponse> reply) {
      api::DeleteRecordsRequest handed;
      handed.partitions = std::move(partitions);
      handed.timeout_ms = static_cast<int32_t>(std::max<int64_t>(
          (timeout_us - LeaderCalls::kMarginUs) / 1000, 1));
      handed.validate_only = validate_only;
      leader.DeleteRecords(client_id, handed, timeout_us, std::move(reply));
    };
  }
  Calls::Start(deps_, request.partitions, std::move(steps), std::move(done));
}

}  // namespace sluice
