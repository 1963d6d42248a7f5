#include "broker/control/producer_ids.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

using v1::InitProducerIdRequest;
using v1::InitProducerIdResponse;

constexpr int32_t kProducerEpochMax = std::numeric_limits<int16_t>::max();

InitProducerIdResponse AnswerOf(ProducerId id, int32_t epoch) {
  InitProducerIdResponse response;
  response.set_producer_id(id.value());
  response.set_producer_epoch(epoch);
  return response;
}

}  // namespace

ProducerIds::ProducerIds(Deps deps)
    : deps_(std::move(deps)), alive_(std::make_shared<bool>(true)) {}

ProducerIds::~ProducerIds() {
  for (auto& [id, waiter] : waiters_) deps_.executor->Cancel(waiter.timer);
}

void ProducerIds::Stop() {
  stopped_ = true;
  FailWaiters(MakeError(ErrorCode::kShuttingDown, "broker ", deps_.node_id,
                        " is stopping; ask another"));
}

void ProducerIds::Init(const api::CallContext& context,
                       InitProducerIdRequest request,
                       PeerReply<InitProducerIdResponse> reply) {
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_), context,
                        request = std::move(request),
                        reply = std::move(reply)]() mutable {
    if (alive.expired() || stopped_) {
      reply(MakeError(ErrorCode::kShuttingDown,
                      "the broker is stopping; ask another"));
      return;
    }
    InitNow(context, request, std::move(reply));
  });
}

void ProducerIds::InitNow(const api::CallContext& context,
                          const InitProducerIdRequest& request,
                          PeerReply<InitProducerIdResponse> reply) {
  if (!request.transactional_id().empty()) {
    reply(MakeError(ErrorCode::kInvalidRequest,
                    "there are no transactions yet; leave transactional_id "
                    "empty for an idempotent producer"));
    return;
  }
  auto next_epoch = NextEpoch(request);
  if (!next_epoch.ok()) {
    reply(next_epoch.status());
    return;
  }
  if (next_epoch->has_value()) {
    reply(**std::move(next_epoch));
    return;
  }
  // Nobody overtakes who waits.
  if (waiters_.empty()) {
    if (const auto id = Take()) {
      reply(AnswerOf(*id, 0));
      return;
    }
  }
  const int64_t now_us = deps_.clock->MonoMicros();
  Wait(std::min(now_us + kWaitUs, context.deadline_us - kDeadlineMarginUs),
       std::move(reply));
}

absl::StatusOr<std::optional<InitProducerIdResponse>> ProducerIds::NextEpoch(
    const InitProducerIdRequest& request) const {
  if (!request.has_producer_id() && !request.has_producer_epoch()) {
    return std::nullopt;
  }
  if (request.has_producer_id() != request.has_producer_epoch()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "producer_id and producer_epoch belong together: set "
                     "both to go on with an identity, neither for a new one");
  }
  const std::shared_ptr<const MetadataImage> image = deps_.image();
  const ProducerId id(request.producer_id());
  const int32_t epoch = request.producer_epoch();
  const bool never_given =
      id.value() < 0 || (image->next_producer_id() != kNoProducerId &&
                         id < image->first_producer_id());
  if (never_given || epoch < 0 || epoch > kProducerEpochMax) {
    return MakeError(ErrorCode::kInvalidProducerIdMapping, "producer id ", id,
                     " with epoch ", epoch,
                     " was never given in this cluster; ask without an id for "
                     "a new one");
  }
  // Given a moment ago, perhaps, or the last epoch: a new id is always right.
  if (id >= image->next_producer_id() || epoch == kProducerEpochMax) {
    return std::nullopt;
  }
  return AnswerOf(id, epoch + 1);
}

std::optional<ProducerId> ProducerIds::Take() {
  std::optional<ProducerId> id;
  if (!blocks_.empty()) {
    Block& block = blocks_.front();
    id = block.next;
    block.next = block.next.Next();
    if (MUTANT(kProducerIdGivenTwice) && block.next == block.end) {
      block.next = *id;
      return id;
    }
    if (block.next == block.end) blocks_.pop_front();
  }
  Prefetch();
  return id;
}

void ProducerIds::Prefetch() {
  int64_t left = 0;
  for (const Block& block : blocks_) left += block.end - block.next;
  if (left < kRefillBelow) Refill();
}

void ProducerIds::Wait(int64_t deadline_us,
                       PeerReply<InitProducerIdResponse> reply) {
  if (waiters_.size() >= kWaitersMax) {
    reply(MakeError(ErrorCode::kBusy, waiters_.size(),
                    " calls wait for producer ids at broker ", deps_.node_id,
                    ", the limit; try again later"));
    return;
  }
  if (!refilling_) Refill();
  if (!refilling_) {
    reply(MakeError(ErrorCode::kBrokerNotAvailable, "broker ", deps_.node_id,
                    " is not registered and has no producer ids; ask another "
                    "broker"));
    return;
  }
  const uint64_t id = next_waiter_++;
  Waiter& waiter = waiters_[id];
  waiter.reply = std::move(reply);
  waiter.timer = deps_.executor->PostAfter(
      std::max<int64_t>(0, deadline_us - deps_.clock->MonoMicros()),
      [this, alive = std::weak_ptr<bool>(alive_), id] {
        if (!alive.expired()) OnWaiterLate(id);
      });
}

void ProducerIds::OnWaiterLate(uint64_t id) {
  const auto found = waiters_.find(id);
  if (found == waiters_.end()) return;
  auto reply = std::move(found->second.reply);
  waiters_.erase(found);
  reply(MakeError(ErrorCode::kRequestTimedOut,
                  "no controller gave broker ", deps_.node_id,
                  " producer ids in time; check that a majority of the "
                  "controllers runs, ask again or another broker"));
}

void ProducerIds::Refill() {
  const BrokerEpoch epoch = deps_.own_epoch();
  if (refilling_ || stopped_ || epoch == kNoBrokerEpoch) return;
  refilling_ = true;
  internal::v1::AllocateProducerIdsRequest request;
  request.set_broker_id(deps_.node_id.value());
  request.set_broker_epoch(epoch.value());
  deps_.directory->CallActive<Allocated>(
      deps_.clock->MonoMicros() + kWaitUs, kAttemptUs,
      [request](ControllerPeer* peer, int64_t timeout_us,
                PeerReply<Allocated> reply) {
        peer->AllocateProducerIds(request, timeout_us, std::move(reply));
      },
      [this, alive = std::weak_ptr<bool>(alive_)](
          ControllerDirectory::Outcome<Allocated> outcome) {
        if (!alive.expired()) OnBlock(std::move(outcome.response));
      });
}

void ProducerIds::OnBlock(absl::StatusOr<Allocated> answer) {
  refilling_ = false;
  if (stopped_) return;
  absl::Status status = answer.ok() ? AddBlock(*answer) : answer.status();
  if (status.ok()) {
    AnswerWaiters();
    return;
  }
  LOG(WARNING) << "broker " << deps_.node_id
               << " got no producer ids: " << status.message();
  const ErrorCode code = CodeOf(status);
  if (code == ErrorCode::kRequestTimedOut) {
    // Those who came meanwhile wait on; each has a deadline of its own.
    if (!waiters_.empty()) Refill();
    return;
  }
  if (code == ErrorCode::kStaleBrokerEpoch) {
    deps_.on_stale(status);
    status = MakeError(ErrorCode::kBrokerNotAvailable, "broker ",
                       deps_.node_id,
                       " registers anew; ask again or another broker");
  }
  FailWaiters(status);
}

absl::Status ProducerIds::AddBlock(const Allocated& answer) {
  const int64_t first = answer.first_producer_id();
  const int32_t count = answer.count();
  if (first < highest_end_.value() || count < 1 || count > kBlockSizeMax ||
      first > std::numeric_limits<int64_t>::max() - count) {
    return MakeError(ErrorCode::kUnknownServerError, "a controller gave ",
                     count, " producer ids from ", first,
                     " on, where those from ", highest_end_,
                     " on were not given yet (IP5); check its version");
  }
  highest_end_ = ProducerId(first + count);
  blocks_.push_back({ProducerId(first), highest_end_});
  return absl::OkStatus();
}

void ProducerIds::AnswerWaiters() {
  while (!waiters_.empty()) {
    const auto id = Take();
    if (!id.has_value()) return;  // Take has asked for more
    auto first = waiters_.begin();
    deps_.executor->Cancel(first->second.timer);
    auto reply = std::move(first->second.reply);
    waiters_.erase(first);
    reply(AnswerOf(*id, 0));
  }
}

void ProducerIds::FailWaiters(const absl::Status& why) {
  for (auto& [id, waiter] : std::exchange(waiters_, {})) {
    deps_.executor->Cancel(waiter.timer);
    waiter.reply(why);
  }
}

}  // namespace sluice
