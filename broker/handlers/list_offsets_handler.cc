#include "broker/handlers/list_offsets_handler.h"

#include <utility>

#include "broker/handlers/partition_calls.h"

namespace sluice {

void ListOffsetsHandler::ListOffsets(
    const api::CallContext& context, const api::ListOffsetsRequest& request,
    api::Answer<api::ListOffsetsResponse> done) {
  using Calls = PartitionCalls<api::ListOffsetsPartition, OffsetRequest,
                               OffsetOutcome, api::ListOffsetsResponse>;
  Calls::Steps steps;
  steps.make = [isolation = request.isolation,
                deadline_us = context.deadline_us](
                   const api::ListOffsetsPartition& asked,
                   const TopicPartition& tp) {
    return OffsetRequest{tp,        asked.position,     asked.leader_epoch,
                         isolation, asked.timestamp_ms, deadline_us};
  };
  steps.ask = [](PartitionHost& host, const OffsetRequest& ask, auto take) {
    if (ask.position == api::OffsetPosition::kTimestamp ||
        ask.position == api::OffsetPosition::kMaxTimestamp) {
      return host.FindOffsetByTime(ask, std::move(take));
    }
    take(host.FindOffset(ask));
  };
  steps.put = [](OffsetOutcome outcome, api::ListOffsetsResult& result) {
    result.offset = outcome.offset;
    result.leader_epoch = outcome.leader_epoch;
    result.high_watermark = outcome.high_watermark;
    result.last_stable_offset = outcome.last_stable_offset;
    result.timestamp_ms = outcome.timestamp_ms;
  };
  if (request.route == api::Route::kForward) {
    steps.deadline_us = context.deadline_us;
    steps.forward = [client_id = context.client_id,
                     isolation = request.isolation](
                        LeaderPeer& leader,
                        std::vector<api::ListOffsetsPartition> partitions,
                        int64_t timeout_us,
                        PeerReply<api::ListOffsetsResponse> reply) {
      leader.ListOffsets(client_id, {std::move(partitions), isolation},
                         timeout_us, std::move(reply));
    };
  }
  Calls::Start(deps_, request.partitions, std::move(steps), std::move(done));
}

}  // namespace sluice
