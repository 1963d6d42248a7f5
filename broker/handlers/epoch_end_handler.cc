#include "broker/handlers/epoch_end_handler.h"

#include "broker/handlers/partition_calls.h"

namespace sluice {

void EpochEndHandler::OffsetForLeaderEpoch(
    const api::CallContext& context,
    const api::OffsetForLeaderEpochRequest& request,
    api::Answer<api::OffsetForLeaderEpochResponse> done) {
  using Calls = PartitionCalls<api::OffsetForLeaderEpochPartition,
                               EpochEndRequest, EpochEndOutcome,
                               api::OffsetForLeaderEpochResponse>;
  Calls::Steps steps;
  steps.make = [](const api::OffsetForLeaderEpochPartition& asked,
                  const TopicPartition& tp) {
    return EpochEndRequest{tp, asked.leader_epoch, asked.current_leader_epoch};
  };
  steps.ask = [](PartitionHost& host, const EpochEndRequest& ask, auto take) {
    take(host.FindEpochEnd(ask));
  };
  steps.put = [](EpochEndOutcome outcome,
                 api::OffsetForLeaderEpochResult& result) {
    result.end = outcome.end;
    result.log_start_offset = outcome.log_start_offset;
  };
  if (request.route == api::Route::kForward) {
    steps.deadline_us = context.deadline_us;
    steps.forward =
        [client_id = context.client_id](
            LeaderPeer& leader,
            std::vector<api::OffsetForLeaderEpochPartition> partitions,
            int64_t timeout_us,
            PeerReply<api::OffsetForLeaderEpochResponse> reply) {
          leader.OffsetForLeaderEpoch(client_id, {std::move(partitions)},
                                      timeout_us, std::move(reply));
        };
  }
  Calls::Start(deps_, request.partitions, std::move(steps), std::move(done));
}

}  // namespace sluice
