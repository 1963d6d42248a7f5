#include "client/offset_lookup.h"

#include <utility>

#include "client/leader_ask.h"
#include "common/base/error.h"

namespace sluice {

void OffsetLookup::Start(const ClientDeps& deps, const ClientOptions& client,
                         MetadataCache* metadata,
                         std::vector<NamedPartition> partitions,
                         const OffsetQuery& query, int64_t timeout_us,
                         Done done) {
  using Ask = LeaderAsk<api::ListOffsetsResult>;
  Ask::Question question;
  question.partitions = std::move(partitions);
  question.timeout_us = timeout_us;
  question.all_or_none = true;
  question.send = [query](BrokerPeer& leader, const Ask::Asked& asked,
                             int64_t left_us, Ask::Answer answer) {
    api::ListOffsetsRequest request;
    for (const auto& [tp, epoch] : asked) {
      api::ListOffsetsPartition& partition = request.partitions.emplace_back();
      partition.topic.name = tp.topic;
      partition.partition = tp.partition;
      partition.position = query.position;
      partition.timestamp_ms = query.timestamp_ms;
      partition.leader_epoch = epoch;
    }
    leader.ListOffsets(
        request, left_us,
        [answer = std::move(answer)](
            absl::StatusOr<api::ListOffsetsResponse> response) mutable {
          if (!response.ok()) return answer(response.status());
          answer(std::move(response->results));
        });
  };
  question.done = [done = std::move(done)](Ask::Results results) mutable {
    std::map<NamedPartition, Offset> offsets;
    for (const auto& [tp, result] : results) {
      // One that is not retriable tells more than those that it cut short.
      if (!result.error.ok() && !IsRetriable(result.error.code)) {
        return done(MakeErrorStatus(result.error.code, result.error.message));
      }
    }
    for (const auto& [tp, result] : results) {
      if (!result.error.ok()) {
        return done(MakeErrorStatus(result.error.code, result.error.message));
      }
      offsets[tp] = result.offset;
    }
    done(std::move(offsets));
  };
  Ask::Start(deps, client, metadata, std::move(question));
}

}  // namespace sluice
