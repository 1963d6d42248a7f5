// The streams to brokers, the time their requests have, and who the producer is.
#include <algorithm>
#include <utility>

#include "client/producer.h"
#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {
namespace {

// A request that stays out longer than this may hang with its broker: the
// metadata tells whether somebody else leads by now.
constexpr int64_t kSlowRequestUs = 1'000'000;
constexpr int64_t kWatchEveryUs = 500'000;
// Then another broker is asked for a producer id.
constexpr int64_t kIdentityTimeoutUs = 2'000'000;

bool IsLive(const FlightPtr& flight) { return !flight->over(); }

}  // namespace

// ---- Streams ----

Producer::Link& Producer::LinkTo(const api::Endpoint& endpoint) {
  LinkPtr& link = links_[endpoint];
  if (link != nullptr) return *link;
  link = std::make_shared<Link>();
  link->endpoint = endpoint;
  link->peer = metadata_->connections().At(endpoint);
  ++counters_.streams;
  const std::weak_ptr<bool> alive = alive_;
  const std::weak_ptr<Link> held = link;
  ProduceStreamEvents events;
  events.on_frame = [this, alive, held](api::ProduceStreamResponse answer) {
    const LinkPtr link = held.lock();
    if (!alive.expired() && link != nullptr) OnAnswer(*link, std::move(answer));
  };
  events.on_closed = [this, alive, held](const absl::Status& why) {
    const LinkPtr link = held.lock();
    if (!alive.expired() && link != nullptr) OnLinkClosed(link->endpoint, why);
  };
  link->sender = link->peer->OpenProduceStream(std::move(events));
  return *link;
}

// Nothing is known of what was not answered. A request that is too large ends
// its stream with that word: it must not be sent again, the others must.
void Producer::OnLinkClosed(const api::Endpoint& endpoint,
                            const absl::Status& why) {
  const auto found = links_.find(endpoint);
  if (found == links_.end()) return;
  const LinkPtr link = std::move(found->second);
  links_.erase(found);
  const auto requests = std::exchange(link->requests, {});
  const absl::Status broken = absl::UnavailableError(
      StrCat("the stream to ", endpoint.ToString(),
             " ended: ", StdView(why.message())));
  int64_t largest = -1;
  if (CodeOf(why) == ErrorCode::kRequestTooLarge) {
    for (const auto& [id, request] : requests) {
      largest = std::max(largest, request->bytes);
    }
  }
  for (const auto& [id, request] : requests) {
    const bool at_fault = request->bytes == largest;
    FailAll(*request, at_fault || IsRetriableStatus(why) ? why : broken);
  }
  Unblock();
}

void Producer::Forget(Link& link, int64_t request_id) {
  const auto found = link.requests.find(request_id);
  if (found == link.requests.end()) return;
  link.bytes -= found->second->bytes;
  link.requests.erase(found);
  Unblock();
}

// ---- Time ----

void Producer::WatchAt(int64_t at_us) {
  const int64_t now_us = deps_.clock->MonoMicros();
  at_us = std::min(at_us, now_us + kWatchEveryUs);
  if (watch_at_us_ <= at_us) return;
  if (watch_timer_ != 0) deps_.executor->Cancel(watch_timer_);
  watch_at_us_ = at_us;
  watch_timer_ = deps_.executor->PostAfter(
      at_us - now_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        watch_timer_ = 0;
        watch_at_us_ = INT64_MAX;
        Watch();
      });
}

void Producer::Watch() {
  const int64_t now_us = deps_.clock->MonoMicros();
  ExpireRequests(now_us);
  int64_t next_us = INT64_MAX;
  bool slow = false;
  for (const auto& [endpoint, link] : links_) {
    for (const auto& [id, request] : link->requests) {
      next_us = std::min(next_us, request->deadline_us);
      slow = slow || (request->sent_us + kSlowRequestUs <= now_us &&
                      std::any_of(request->flights.begin(),
                                  request->flights.end(), IsLive));
    }
  }
  if (slow) LookElsewhere();
  if (next_us != INT64_MAX) WatchAt(next_us);
}

// A broker answers within the time it was given; one that is silent for all of
// a request's time has a stream that leads nowhere.
void Producer::ExpireRequests(int64_t now_us) {
  std::vector<std::pair<LinkPtr, RequestPtr>> expired;
  for (const auto& [endpoint, link] : links_) {
    for (const auto& [id, request] : link->requests) {
      if (request->deadline_us <= now_us) expired.emplace_back(link, request);
    }
  }
  for (const auto& [link, request] : expired) {
    const absl::Status late = absl::DeadlineExceededError(
        StrCat("no answer from ", link->endpoint.ToString(), " within ",
               (now_us - request->sent_us) / 1000, " ms"));
    FailAll(*request, late);
    Forget(*link, request->id);
    if (link->heard_us < request->sent_us &&
        now_us - request->sent_us >= client_.request_timeout_ms * 1000) {
      OnLinkClosed(link->endpoint, late);
    }
  }
}

// ---- Who we are ----

void Producer::AskIdentity() {
  if (asking_identity_ || identity_timer_ != 0) return;
  asking_identity_ = true;
  const std::vector<api::Endpoint> brokers = metadata_->Brokers();
  const api::Endpoint& endpoint =
      brokers[next_identity_broker_++ % brokers.size()];
  metadata_->connections().At(endpoint)->InitProducerId(
      v1::InitProducerIdRequest(), kIdentityTimeoutUs,
      [this, alive = std::weak_ptr<bool>(alive_)](
          absl::StatusOr<v1::InitProducerIdResponse> answer) {
        if (!alive.expired()) OnIdentity(std::move(answer));
      });
}

void Producer::OnIdentity(absl::StatusOr<v1::InitProducerIdResponse> answer) {
  asking_identity_ = false;
  if (answer.ok() && (answer->producer_id() < 0 || answer->producer_epoch() < 0 ||
                      answer->producer_epoch() > PartitionNumbering::kEpochMax)) {
    answer = MakeError(ErrorCode::kUnknownServerError, "producer id ",
                       answer->producer_id(), ", epoch ",
                       answer->producer_epoch());
  }
  if (!answer.ok()) {
    identity_error_ =
        StrCat(": ", NameOf(CodeOf(answer.status())), ": ",
               StdView(answer.status().message()));
    identity_timer_ = deps_.executor->PostAfter(
        identity_backoff_.NextDelayUs(random_),
        [this, alive = std::weak_ptr<bool>(alive_)] {
          if (alive.expired()) return;
          identity_timer_ = 0;
          AskIdentity();
        });
    return;
  }
  identity_backoff_.Reset();
  identity_error_.clear();
  identity_ = ProducerIdentity{ProducerId(answer->producer_id()),
                               static_cast<int16_t>(answer->producer_epoch())};
  for (PartitionQueue* queue : std::exchange(awaiting_identity_, {})) {
    queue->not_before_us = 0;
    Reschedule(*queue);
  }
}

}  // namespace sluice
