// What a subscription gets from other brokers.
#include <utility>

#include "broker/handlers/subscribe_stream.h"
#include "common/base/error.h"

namespace sluice {

void SubscribeStream::AddUpstream(const LeaderCalls::Leader& leader,
                                  const TopicPartition& tp,
                                  const api::SubscribePartition& asked,
                                  Subscription& added) {
  const auto upstream = UpstreamFor(leader, tp, added.upstream);
  if (upstream != nullptr) return upstream->Add(tp, asked);
  subscriptions_.erase(tp);
  api::ItemError error(MakeError(
      ErrorCode::kBusy,
      "no memory is left to subscribe at other brokers through this one; try "
      "again in ", kBusyRetryAfterMs, " ms, or at the leader"));
  error.retry_after_ms = kBusyRetryAfterMs;
  PushError(asked.topic, tp.partition, std::move(error), std::nullopt);
}

// One that has had the partition before may still send what it read then.
std::shared_ptr<SubscribeUpstream> SubscribeStream::UpstreamFor(
    const LeaderCalls::Leader& leader, const TopicPartition& tp,
    uint64_t& id) {
  for (const auto& [known, upstream] : upstreams_) {
    if (upstream->leader() != leader || upstream->knows(tp)) continue;
    id = known;
    return upstream;
  }
  auto window = memory_->TakeWindow(SubscribeUpstream::kWindowBytesMax);
  if (!window.has_value()) return nullptr;
  id = next_upstream_++;
  SubscribeUpstream::Deps deps;
  deps.leaders = deps_.leaders;
  deps.leader = leader;
  deps.client_id = client_id_;
  deps.isolation = isolation_;
  deps.form = form_;
  deps.memory = memory_;
  deps.window = *std::move(window);
  const auto weak = weak_from_this();
  deps.on_push = [weak, id](api::SubscribeResponse response) {
    if (const auto self = weak.lock()) {
      self->OnUpstreamPush(id, std::move(response));
    }
  };
  deps.on_closed = [weak, id](absl::Status why) {
    if (const auto self = weak.lock()) self->OnUpstreamClosed(id, why);
  };
  return upstreams_[id] = std::make_shared<SubscribeUpstream>(std::move(deps));
}

void SubscribeStream::LeaveUpstream(uint64_t id, const TopicPartition& tp) {
  const auto found = upstreams_.find(id);
  if (found == upstreams_.end()) return;
  found->second->Stop(tp);
  if (!found->second->live().empty()) return;
  // Not from within its own callback.
  deps_.worker->Post([gone = std::move(found->second)] {});
  upstreams_.erase(found);
}

void SubscribeStream::OnUpstreamPush(uint64_t id,
                                     api::SubscribeResponse response) {
  const auto upstream = upstreams_.find(id);
  if (sink_ == nullptr || upstream == upstreams_.end()) return;
  const TopicPartition tp{response.result.topic.id, response.result.partition};
  const auto found = subscriptions_.find(tp);
  if (found == subscriptions_.end() || found->second.upstream != id) {
    return upstream->second->Grant(response.charged_bytes);
  }
  if (!response.result.error.ok()) {
    const api::TopicRef topic = found->second.topic;
    Remove(tp);
    return PushError(topic, tp.partition, std::move(response.result.error),
                     std::move(response.result.leader));
  }
  passing_.push_back({id, tp, found->second.life, std::move(response)});
  Pump();
}

void SubscribeStream::PassOn() {
  Passing passing = std::move(passing_.front());
  passing_.pop_front();
  api::SubscribeResponse& response = passing.response;
  const int64_t bytes = response.charged_bytes;
  if (Subscription* subscription = Find(passing.tp, passing.life)) {
    response.result.topic = subscription->topic;
    subscription->next = response.result.next_offset;
    credit_bytes_ -= bytes;
    account_->Charge(bytes);
    sink_->Push(std::move(response));
  }
  const auto upstream = upstreams_.find(passing.upstream);
  if (upstream != upstreams_.end()) upstream->second->Grant(bytes);
}

void SubscribeStream::OnUpstreamClosed(uint64_t id, const absl::Status& why) {
  const auto found = upstreams_.find(id);
  if (sink_ == nullptr || found == upstreams_.end()) return;
  const auto upstream = std::move(found->second);
  upstreams_.erase(found);
  const absl::Status cause =
      why.ok() ? absl::UnavailableError("it ended the stream") : why;
  for (const TopicPartition& tp : upstream->live()) {
    const auto subscription = subscriptions_.find(tp);
    if (subscription == subscriptions_.end() ||
        subscription->second.upstream != id) {
      continue;
    }
    const api::TopicRef topic = subscription->second.topic;
    subscriptions_.erase(subscription);
    PushError(topic, tp.partition,
              ForwardFailure(upstream->leader(), cause,
                             ErrorCode::kLeaderNotAvailable),
              std::nullopt);
  }
  deps_.worker->Post([upstream] {});
}

}  // namespace sluice
