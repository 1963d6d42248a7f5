// Batches out, answers in: when to send, what to do about each failure.
#include <algorithm>

#include "client/producer.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

// A request that stays out longer than this may hang with its broker: the
// metadata tells whether somebody else leads by now.
constexpr int64_t kSlowRequestUs = 1'000'000;
constexpr int64_t kWatchEveryUs = 500'000;
// The broker gives up before the call does, so that its reason arrives.
constexpr int64_t kServerHeadStartMs = 1'000;

// Errors that say nothing against the leader.
bool LeaderIsFine(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBusy:
    case ErrorCode::kStorageFull:
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kNotEnoughReplicasAfterAppend:
    case ErrorCode::kRequestTimedOut:
      return true;
    case ErrorCode::kFencedLeaderEpoch:
      return MUTANT(kFencedIsRetriable);
    default:
      return false;
  }
}

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
    Settle(*batch,
           MakeError(ErrorCode::kDeliveryTimedOut, "no acknowledgement for ",
                     queue.tp, " within ", options_.delivery_timeout_ms,
                     " ms (", batch->attempts, " attempts); last error: ",
                     queue.last_error.empty() ? "none" : queue.last_error));
  }
}

bool Producer::HasRoom(const api::Endpoint& endpoint) const {
  const auto found = in_flight_.find(endpoint);
  return found == in_flight_.end() ||
         found->second < options_.requests_in_flight_max;
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
    if (found == due.end()) continue;
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
  std::shared_ptr<Request> request;
  int64_t bytes = 0;
  for (PartitionQueue* queue : queues) {
    if (request != nullptr && bytes >= options_.request_bytes_max) {
      SendRequest(request);
      request = nullptr;
      bytes = 0;
    }
    const auto leader = metadata_->LeaderOf(queue->tp);
    if (queue->in_flight || !leader.has_value() ||
        (request == nullptr && !HasRoom(endpoint))) {
      if (!queue->in_flight) blocked_.insert(queue);
      continue;
    }
    if (request == nullptr) {
      request = std::make_shared<Request>();
      request->endpoint = endpoint;
    }
    Flight flight;
    flight.queue = queue;
    flight.leader_epoch = leader->leader_epoch;
    flight.batches = TakeForRequest(
        *queue, batching_, now_us, batching_.linger_us / 2, IsFlushing(),
        std::min(options_.partition_request_bytes_max,
                 options_.request_bytes_max - bytes));
    if (flight.batches.empty()) continue;
    queue->in_flight = true;
    for (const auto& batch : flight.batches) bytes += batch->bytes.size();
    request->flights.push_back(std::move(flight));
  }
  if (request != nullptr) SendRequest(request);
}

void Producer::SendRequest(const std::shared_ptr<Request>& request) {
  const int64_t now_us = deps_.clock->MonoMicros();
  request->id = next_request_id_++;
  request->sent_us = now_us;
  api::ProduceRequest wire;
  wire.acks = options_.acks;
  int64_t timeout_us = client_.request_timeout_ms * 1000;
  for (Flight& flight : request->flights) {
    api::ProducePartition& partition = wire.partitions.emplace_back();
    partition.topic.name = flight.queue->tp.topic;
    partition.partition = flight.queue->tp.partition;
    partition.leader_epoch = flight.leader_epoch;
    // A copy of its own: the leader patches offsets into it, and a retry must
    // send what was first sent.
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
      timeout_us = std::min(
          timeout_us, std::max<int64_t>(batch->deadline_us - now_us, 1000));
    }
    partition.payload = MutableBuffer::Adopt(std::move(payload));
  }
  const int64_t timeout_ms = timeout_us / 1000;
  wire.timeout_ms = static_cast<int32_t>(
      timeout_ms > 2 * kServerHeadStartMs ? timeout_ms - kServerHeadStartMs
                                          : std::max<int64_t>(timeout_ms, 1));
  ++counters_.requests;
  ++in_flight_[request->endpoint];
  requests_.emplace(request->id, request);
  WatchSlowRequests();
  metadata_->connections()
      .At(request->endpoint)
      ->Produce(std::move(wire), timeout_us,
                [this, request, alive = std::weak_ptr<bool>(alive_)](
                    absl::StatusOr<api::ProduceResponse> answer) {
                  if (!alive.expired()) OnAnswer(request, std::move(answer));
                });
}

void Producer::OnAnswer(const std::shared_ptr<Request>& request,
                        absl::StatusOr<api::ProduceResponse> answer) {
  ForgetRequest(*request);
  for (size_t i = 0; i < request->flights.size(); ++i) {
    Flight& flight = request->flights[i];
    if (flight.abandoned) continue;
    if (!answer.ok()) {
      OnError(flight, answer.status(), true, 0);
    } else if (i < answer->results.size() &&
               answer->results[i].partition == flight.queue->tp.partition) {
      OnResult(flight, answer->results[i]);
    } else {
      OnError(flight,
              MakeError(ErrorCode::kStorageError, "broker ",
                        request->endpoint.ToString(), " answered without ",
                        flight.queue->tp),
              true, 0);
    }
  }
  Unblock();
}

void Producer::ForgetRequest(const Request& request) {
  requests_.erase(request.id);
  const auto found = in_flight_.find(request.endpoint);
  if (found != in_flight_.end() && --found->second == 0) {
    in_flight_.erase(found);
  }
}

void Producer::Unblock() {
  std::set<PartitionQueue*, QueueOrder> blocked;
  blocked.swap(blocked_);
  for (PartitionQueue* queue : blocked) Reschedule(*queue);
}

void Producer::OnResult(Flight& flight, const api::ProduceResult& result) {
  if (result.leader.has_value()) {
    metadata_->Learn(flight.queue->tp, *result.leader);
  }
  if (!result.error.ok()) {
    OnError(flight, MakeErrorStatus(result.error.code, result.error.message),
            !LeaderIsFine(result.error.code),
            int64_t{result.error.retry_after_ms} * 1000);
    return;
  }
  PartitionQueue& queue = *flight.queue;
  queue.in_flight = false;
  queue.backoff.Reset();
  queue.not_before_us = 0;
  queue.failed_epoch.reset();
  queue.last_error.clear();
  awaiting_leader_.erase(&queue);
  metadata_->Trust(queue.tp);
  RecordMetadata first{queue.tp.partition, result.base_offset};
  // On the agenda before callbacks run: they may send.
  Reschedule(queue);
  for (const auto& batch : flight.batches) {
    const int32_t count = batch->record_count();
    Settle(*batch, first);
    if (first.offset != kNoOffset) first.offset += count;
  }
}

void Producer::OnError(Flight& flight, const absl::Status& error,
                       bool leader_is_suspect, int64_t retry_after_us) {
  PartitionQueue& queue = *flight.queue;
  const int64_t now_us = deps_.clock->MonoMicros();
  queue.last_error =
      StrCat(NameOf(CodeOf(error)), ": ", StdView(error.message()));
  if (!IsRetriableStatus(error)) {
    if (flight.batches.size() > 1) {
      // One of them is at fault; the others must not fail with it.
      for (const auto& batch : flight.batches) batch->alone = true;
      Retry(flight, 0);
      return;
    }
    queue.in_flight = false;
    Reschedule(queue);
    for (const auto& batch : flight.batches) Settle(*batch, error);
    return;
  }
  const auto leader = metadata_->LeaderOf(queue.tp);
  if (leader_is_suspect && leader.has_value() &&
      leader->leader_epoch > flight.leader_epoch) {
    Retry(flight, 0);  // somebody newer is known: at once
    return;
  }
  if (leader_is_suspect) {
    AwaitLeader(queue, flight.leader_epoch);
  } else {
    LookElsewhere();
  }
  const int64_t delay_us =
      std::max(queue.backoff.NextDelayUs(random_), retry_after_us);
  Retry(flight, now_us + delay_us);
}

void Producer::Retry(Flight& flight, int64_t not_before_us) {
  PartitionQueue& queue = *flight.queue;
  for (auto it = flight.batches.rbegin(); it != flight.batches.rend(); ++it) {
    queue.batches.push_front(std::move(*it));
  }
  flight.batches.clear();
  queue.in_flight = false;
  queue.not_before_us = not_before_us;
  Reschedule(queue);
}

void Producer::OnMetadata() {
  PlaceWaiting();
  LeaveDeposedLeaders();
  for (auto it = awaiting_leader_.begin(); it != awaiting_leader_.end();) {
    PartitionQueue& queue = **it;
    const auto leader = metadata_->LeaderOf(queue.tp);
    if (!leader.has_value() || leader->leader_epoch <= *queue.failed_epoch) {
      ++it;
      continue;
    }
    queue.failed_epoch.reset();
    queue.not_before_us = 0;
    it = awaiting_leader_.erase(it);
    Reschedule(queue);
  }
  Unblock();
}

// A leader that hangs does not answer; what it holds goes to its successor.
// Its own copy is refused or cut away, for its epoch is over.
void Producer::LeaveDeposedLeaders() {
  for (auto& [id, request] : requests_) {
    for (Flight& flight : request->flights) {
      if (flight.abandoned) continue;
      const auto leader = metadata_->LeaderOf(flight.queue->tp);
      if (!leader.has_value() || leader->leader_epoch <= flight.leader_epoch ||
          leader->endpoint == request->endpoint) {
        continue;
      }
      flight.abandoned = true;
      flight.queue->last_error =
          StrCat("no answer from ", request->endpoint.ToString(),
                 ", which leads no more");
      Retry(flight, 0);
    }
  }
}

// A leader that is cut off from the cluster does not know its successor, and
// neither does the metadata it gives: as long as that is asked of it alone,
// records go nowhere until their time is up.
void Producer::LookElsewhere() {
  const int64_t now_us = deps_.clock->MonoMicros();
  if (now_us < looked_elsewhere_us_ + kWatchEveryUs) return;
  looked_elsewhere_us_ = now_us;
  metadata_->AskAnother();
}

void Producer::WatchSlowRequests() {
  if (watch_timer_ != 0) return;
  watch_timer_ = deps_.executor->PostAfter(
      kWatchEveryUs, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        watch_timer_ = 0;
        if (requests_.empty()) return;
        const int64_t now_us = deps_.clock->MonoMicros();
        // Ids rise with time: the first is the oldest.
        if (requests_.begin()->second->sent_us + kSlowRequestUs <= now_us) {
          LookElsewhere();
        }
        WatchSlowRequests();
      });
}

}  // namespace sluice
