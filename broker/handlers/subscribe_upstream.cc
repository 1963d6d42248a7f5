#include "broker/handlers/subscribe_upstream.h"

#include <utility>

namespace sluice {
namespace {

api::SubscribePartition Named(const TopicPartition& tp,
                              const api::SubscribePartition& from) {
  api::SubscribePartition out = from;
  out.topic = {};
  out.topic.id = tp.topic_id;
  out.partition = tp.partition;
  return out;
}

}  // namespace

SubscribeUpstream::SubscribeUpstream(Deps deps) : deps_(std::move(deps)) {
  SubscribeEvents events;
  events.on_frame = std::move(deps_.on_push);
  events.on_closed = std::move(deps_.on_closed);
  sender_ = deps_.leaders->At(deps_.leader.endpoint)
                ->OpenSubscription(deps_.client_id, std::move(events));
}

void SubscribeUpstream::Add(const TopicPartition& tp,
                            const api::SubscribePartition& from) {
  known_.insert(tp);
  live_.insert(tp);
  api::SubscribeRequest request;
  request.partitions.push_back(Named(tp, from));
  if (std::exchange(first_, false)) {
    request.credit_bytes = deps_.window.amount();
    request.isolation = deps_.isolation;
    request.form = deps_.form;
  }
  sender_->Send(std::move(request));
}

void SubscribeUpstream::Stop(const TopicPartition& tp) {
  if (live_.erase(tp) == 0) return;
  api::SubscribeRequest request;
  request.stop.push_back(Named(tp, {}));
  sender_->Send(std::move(request));
}

void SubscribeUpstream::Grant(int64_t bytes) {
  if (bytes <= 0) return;
  api::SubscribeRequest request;
  request.credit_bytes =
      bytes + deps_.memory->GrowWindow(deps_.window, kWindowBytesMax);
  sender_->Send(std::move(request));
}

}  // namespace sluice
