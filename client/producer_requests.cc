// Batches out: which, when, in which request.
#include <algorithm>

#include "client/producer.h"
#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {
namespace {

// Unanswered on one stream: below what a broker takes (ProduceStream's limits)
// and what its queue holds, so that neither ever ends a stream of ours.
constexpr size_t kStreamRequestsMax = 512;
constexpr int64_t kStreamBytesMax = 24 << 20;
// The broker gives up before the call does, so that its reason arrives.
constexpr int64_t kServerHeadStartMs = 1'000;
// Its coming wakes who waits for a producer id; this only looks at deadlines.
constexpr int64_t kIdentityPatienceUs = 1'000'000;

}  // namespace

void Producer::Reschedule(PartitionQueue& queue) {
  TakeOffAgenda(queue);
  const int64_t at_us = NextActionUs(queue, batching_, IsFlushing());
  if (at_us == INT64_MAX) return;
  queue.agenda_us = at_us;
  agenda_.emplace(at_us, &queue);
  SchedulePump(at_us);
}

void Producer::TakeOffAgenda(PartitionQueue& queue) {
  if (queue.agenda_us < 0) return;
  agenda_.erase({queue.agenda_us, &queue});
  queue.agenda_us = -1;
}

void Producer::SchedulePump(int64_t at_us) {
  if (pump_at_us_ <= at_us) return;
  if (pump_timer_ != 0) deps_.executor->Cancel(pump_timer_);
  pump_at_us_ = at_us;
  const int64_t delay_us =
      std::max<int64_t>(at_us - deps_.clock->MonoMicros(), 0);
  pump_timer_ = deps_.executor->PostAfter(
      delay_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        pump_timer_ = 0;
        pump_at_us_ = INT64_MAX;
        Pump();
      });
}

void Producer::Pump() {
  const int64_t now_us = deps_.clock->MonoMicros();
  ExpireWaiting(now_us);
  ByEndpoint due;
  GatherDue(now_us, due);
  if (!due.empty()) AddCompanions(now_us, due);
  for (const auto& [endpoint, queues] : due) SendTo(endpoint, queues);
  if (!agenda_.empty()) SchedulePump(agenda_.begin()->first);
}

void Producer::ExpireBatches(PartitionQueue& queue, int64_t now_us) {
  while (!queue.batches.empty() &&
         queue.batches.front()->deadline_us <= now_us) {
    const auto batch = std::move(queue.batches.front());
    queue.batches.pop_front();
    if (batch->number.has_value()) queue.numbering.Break();
    Settle(*batch,
           MakeError(ErrorCode::kDeliveryTimedOut, "no acknowledgement for ",
                     queue.tp, " within ", options_.delivery_timeout_ms,
                     " ms (", batch->attempts, " attempts); last error: ",
                     queue.last_error.empty() ? "none" : queue.last_error));
  }
}

bool Producer::HasRoom(const api::Endpoint& endpoint) const {
  const auto found = links_.find(endpoint);
  return found == links_.end() ||
         (found->second->requests.size() < kStreamRequestsMax &&
          found->second->bytes < kStreamBytesMax);
}

bool Producer::IsNumberable(PartitionQueue& queue) {
  PartitionNumbering& numbering = queue.numbering;
  if (!batching_.idempotent || queue.HasSent()) return true;
  if (numbering.has_identity() && !numbering.broken()) return true;
  if (numbering.broken()) {
    INVARIANT(queue.flights.empty(), "an epoch ends with a batch in flight");
    if (numbering.GoOn()) {
      ++counters_.epochs_begun;
      return true;
    }
    // Used up, for every partition that begins.
    if (identity_.has_value() && identity_->id == numbering.identity()->id) {
      identity_.reset();
    }
  }
  if (identity_.has_value()) {
    if (numbering.has_identity()) ++counters_.epochs_begun;
    numbering.Begin(*identity_);
    return true;
  }
  AskIdentity();
  awaiting_identity_.insert(&queue);
  return false;
}

void Producer::GatherDue(int64_t now_us, ByEndpoint& due) {
  const bool flushing = IsFlushing();
  while (!agenda_.empty() && agenda_.begin()->first <= now_us) {
    PartitionQueue& queue = *agenda_.begin()->second;
    TakeOffAgenda(queue);
    ExpireBatches(queue, now_us);
    if (NextActionUs(queue, batching_, flushing) > now_us) {
      Reschedule(queue);
      continue;
    }
    const auto leader = metadata_->LeaderOf(queue.tp);
    if (!leader.has_value()) {
      if (queue.last_error.empty()) queue.last_error = "it has no leader";
      AwaitLeader(queue, kNoLeaderEpoch);
      queue.not_before_us = now_us + queue.backoff.NextDelayUs(random_);
      Reschedule(queue);
    } else if (!HasRoom(leader->endpoint)) {
      blocked_.insert(&queue);
    } else if (!IsNumberable(queue)) {
      queue.last_error = StrCat("no producer id yet", identity_error_);
      queue.not_before_us = now_us + kIdentityPatienceUs;
      Reschedule(queue);
    } else {
      TakeOffAgenda(queue);  // a callback above may have put it back
      due[leader->endpoint].push_back(&queue);
    }
  }
}

// A request that goes anyway takes along what would go soon.
void Producer::AddCompanions(int64_t now_us, ByEndpoint& due) {
  std::vector<PartitionQueue*> soon;
  for (const auto& [at_us, queue] : agenda_) {
    if (at_us > now_us + batching_.linger_us / 2) break;
    if (queue->not_before_us <= now_us) soon.push_back(queue);
  }
  for (PartitionQueue* queue : soon) {
    const auto leader = metadata_->LeaderOf(queue->tp);
    if (!leader.has_value()) continue;
    const auto found = due.find(leader->endpoint);
    if (found == due.end() || !IsNumberable(*queue)) continue;
    TakeOffAgenda(*queue);
    found->second.push_back(queue);
  }
}

void Producer::AwaitLeader(PartitionQueue& queue, LeaderEpoch failed) {
  queue.failed_epoch = failed;
  awaiting_leader_.insert(&queue);
  metadata_->Suspect(queue.tp, failed);
}

void Producer::SendTo(const api::Endpoint& endpoint,
                      const std::vector<PartitionQueue*>& queues) {
  const int64_t now_us = deps_.clock->MonoMicros();
  RequestPtr request;
  for (PartitionQueue* queue : queues) {
    if (request != nullptr && request->bytes >= options_.request_bytes_max) {
      SendRequest(request, endpoint);
      request = nullptr;
    }
    const auto leader = metadata_->LeaderOf(queue->tp);
    if (!leader.has_value() || (request == nullptr && !HasRoom(endpoint))) {
      blocked_.insert(queue);
      continue;
    }
    if (NextActionUs(*queue, batching_, IsFlushing()) == INT64_MAX) continue;
    if (request == nullptr) request = std::make_shared<Request>();
    auto flight = std::make_shared<Flight>();
    flight->queue = queue;
    flight->leader_epoch = leader->leader_epoch;
    flight->batches = TakeForRequest(
        *queue, batching_, now_us, batching_.linger_us / 2, IsFlushing(),
        std::min(options_.partition_request_bytes_max,
                 options_.request_bytes_max - request->bytes));
    for (const auto& batch : flight->batches) {
      request->bytes += static_cast<int64_t>(batch->bytes.size());
    }
    queue->flights.push_back(flight);
    request->flights.push_back(std::move(flight));
  }
  if (request != nullptr) SendRequest(request, endpoint);
  for (PartitionQueue* queue : queues) Reschedule(*queue);
}

void Producer::SendRequest(const RequestPtr& request,
                           const api::Endpoint& endpoint) {
  const int64_t now_us = deps_.clock->MonoMicros();
  api::ProduceStreamRequest frame;
  frame.correlation_id = request->id = next_request_id_++;
  frame.request.acks = options_.acks;
  int64_t timeout_us = client_.request_timeout_ms * 1000;
  for (const FlightPtr& flight : request->flights) {
    WriteFlight(*flight, frame.request.partitions.emplace_back());
    for (const auto& batch : flight->batches) {
      timeout_us = std::min(
          timeout_us, std::max<int64_t>(batch->deadline_us - now_us, 1000));
    }
  }
  const int64_t timeout_ms = timeout_us / 1000;
  frame.request.timeout_ms = static_cast<int32_t>(
      timeout_ms > 2 * kServerHeadStartMs ? timeout_ms - kServerHeadStartMs
                                          : std::max<int64_t>(timeout_ms, 1));
  request->sent_us = now_us;
  request->deadline_us = now_us + timeout_us;
  ++counters_.requests;
  Link& link = LinkTo(endpoint);
  request->link = &link;
  link.bytes += request->bytes;
  link.requests.emplace(request->id, request);
  WatchAt(request->deadline_us);
  link.sender->Send(std::move(frame));
}

// A copy of its own: the leader patches offsets into it, and a retry must send
// what was first sent.
void Producer::WriteFlight(const Flight& flight, api::ProducePartition& out) {
  out.topic.name = flight.queue->tp.topic;
  out.partition = flight.queue->tp.partition;
  out.leader_epoch = flight.leader_epoch;
  std::string payload;
  size_t size = 0;
  for (const auto& batch : flight.batches) size += batch->bytes.size();
  payload.reserve(size);
  for (const auto& batch : flight.batches) {
    payload.append(batch->bytes.view());
    const bool again = batch->attempts++ > 0;
    counters_.batches_sent += again ? 0 : 1;
    counters_.batches_retried += again ? 1 : 0;
    counters_.records_retried += again ? batch->record_count() : 0;
  }
  out.payload = MutableBuffer::Adopt(std::move(payload));
}

void Producer::Unblock() {
  std::set<PartitionQueue*, QueueOrder> blocked;
  blocked.swap(blocked_);
  for (PartitionQueue* queue : blocked) Reschedule(*queue);
}

}  // namespace sluice
