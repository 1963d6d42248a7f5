#include "client/record_deletion.h"

#include <algorithm>
#include <utility>

#include "client/leader_ask.h"
#include "common/base/error.h"

namespace sluice {
namespace {

// The broker answers before the call ends here.
constexpr int64_t kAnswerMarginMs = 1'000;

}  // namespace

void RecordDeletion::Start(const ClientDeps& deps, const ClientOptions& client,
                           MetadataCache* metadata,
                           std::map<NamedPartition, Offset> before,
                           bool validate_only, int64_t timeout_us, Done done) {
  using Ask = LeaderAsk<api::DeleteRecordsResult>;
  Ask::Question question;
  for (const auto& [tp, offset] : before) question.partitions.push_back(tp);
  question.timeout_us = timeout_us;
  question.send = [before = std::move(before), validate_only](
                      BrokerPeer& leader, const Ask::Asked& asked,
                      int64_t left_us, Ask::Answer answer) {
    api::DeleteRecordsRequest request;
    request.validate_only = validate_only;
    request.timeout_ms = static_cast<int32_t>(
        std::max<int64_t>(left_us / 1000 - kAnswerMarginMs, 1));
    for (const auto& [tp, epoch] : asked) {
      api::DeleteRecordsPartition& partition =
          request.partitions.emplace_back();
      partition.topic.name = tp.topic;
      partition.partition = tp.partition;
      partition.before_offset = before.at(tp);
      partition.leader_epoch = epoch;
    }
    leader.DeleteRecords(
        request, left_us,
        [answer = std::move(answer)](
            absl::StatusOr<api::DeleteRecordsResponse> response) mutable {
          if (!response.ok()) return answer(response.status());
          answer(std::move(response->results));
        });
  };
  question.done = std::move(done);
  Ask::Start(deps, client, metadata, std::move(question));
}

}  // namespace sluice
