#include "broker/handlers/produce_forwarding.h"

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

api::ProduceResult Failed(api::ItemError error) {
  api::ProduceResult result;
  result.error = std::move(error);
  return result;
}

// The leader gives up a moment before the call does here.
int32_t TimeoutMs(int64_t left_us) {
  return static_cast<int32_t>(
      std::max<int64_t>((left_us - LeaderCalls::kMarginUs) / 1000, 1));
}

}  // namespace

void UnaryProduceForwarder::Forward(ForwardedProduce produce) {
  const int64_t left_us = leaders_.TimeLeftUs(produce.deadline_us);
  produce.request.timeout_ms = TimeoutMs(left_us);
  const size_t parts = produce.request.partitions.size();
  leaders_.At(produce.leader.endpoint)
      ->Produce(
          client_id_, std::move(produce.request), left_us,
          [parts, leader = produce.leader,
           on_result = std::move(produce.on_result)](
              absl::StatusOr<api::ProduceResponse> answer) {
            const absl::Status why =
                answer.ok() && answer->results.size() != parts
                    ? absl::InternalError("an answer of another shape")
                    : answer.status();
            for (size_t i = 0; i < parts; ++i) {
              on_result(i, why.ok() ? std::move(answer->results[i])
                                    : Failed(ForwardFailure(
                                          leader, why,
                                          ErrorCode::kRequestTimedOut)));
            }
          });
}

StreamProduceForwarder::Link& StreamProduceForwarder::Open(
    const LeaderCalls::Leader& leader) {
  Link& link = links_[leader];
  if (link.sender != nullptr) return link;
  link.id = next_link_++;
  const auto weak = weak_from_this();
  ProduceStreamEvents events;
  events.on_frame = [weak, leader,
                     id = link.id](api::ProduceStreamResponse answer) {
    if (const auto self = weak.lock()) {
      self->OnAnswer(leader, id, std::move(answer));
    }
  };
  events.on_closed = [weak, leader, id = link.id](absl::Status why) {
    if (const auto self = weak.lock()) self->OnClosed(leader, id, why);
  };
  link.sender = leaders_.At(leader.endpoint)
                    ->OpenProduceStream(client_id_, std::move(events));
  return link;
}

void StreamProduceForwarder::Forward(ForwardedProduce produce) {
  if (closed_) return;
  Link& link = Open(produce.leader);
  api::ProduceStreamRequest frame;
  frame.correlation_id = next_correlation_++;
  Pending& pending = link.pending[frame.correlation_id];
  pending.leader = produce.leader;
  pending.on_result = std::move(produce.on_result);
  const auto& partitions = produce.request.partitions;
  for (size_t i = 0; i < partitions.size(); ++i) {
    pending.parts[{partitions[i].topic.id, *partitions[i].partition}] = i;
  }
  frame.request = std::move(produce.request);
  frame.request.timeout_ms =
      TimeoutMs(leaders_.TimeLeftUs(produce.deadline_us));
  link.sender->Send(std::move(frame));
}

void StreamProduceForwarder::OnAnswer(const LeaderCalls::Leader& leader,
                                      uint64_t id,
                                      api::ProduceStreamResponse answer) {
  const auto link = links_.find(leader);
  if (closed_ || link == links_.end() || link->second.id != id) return;
  auto& all = link->second.pending;
  const auto found = all.find(answer.correlation_id);
  if (found == all.end()) return;
  Pending& pending = found->second;
  for (api::ProduceResult& result : answer.results) {
    const auto part =
        pending.parts.find({result.topic.id, result.partition});
    if (part == pending.parts.end()) continue;
    const size_t place = part->second;
    pending.parts.erase(part);
    pending.on_result(place, std::move(result));
  }
  if (!answer.complete) return;
  // Refused whole, or answered less than it was asked.
  const Pending rest = std::move(pending);
  all.erase(found);
  for (const auto& [tp, place] : rest.parts) {
    rest.on_result(place,
                   Failed(answer.error.ok()
                              ? ForwardFailure(
                                    leader,
                                    absl::InternalError("nothing was said"),
                                    ErrorCode::kRequestTimedOut)
                              : answer.error));
  }
}

void StreamProduceForwarder::OnClosed(const LeaderCalls::Leader& leader,
                                      uint64_t id, const absl::Status& why) {
  const auto link = links_.find(leader);
  if (closed_ || link == links_.end() || link->second.id != id) return;
  const Link gone = std::move(link->second);
  links_.erase(link);
  const absl::Status cause =
      why.ok() ? absl::UnavailableError("it ended the stream") : why;
  for (const auto& [correlation, pending] : gone.pending) {
    for (const auto& [tp, place] : pending.parts) {
      pending.on_result(place,
                        Failed(ForwardFailure(leader, cause,
                                              ErrorCode::kRequestTimedOut)));
    }
  }
}

void StreamProduceForwarder::Close() {
  closed_ = true;
  links_.clear();
}

}  // namespace sluice
