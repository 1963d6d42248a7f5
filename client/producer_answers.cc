// Answers in: what to do about each.
#include <algorithm>
#include <utility>

#include "client/batch_splitting.h"
#include "client/producer.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

constexpr int64_t kLookElsewhereEveryUs = 500'000;

// Errors that say nothing against the leader.
bool LeaderIsFine(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBusy:
    case ErrorCode::kStorageFull:
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kNotEnoughReplicasAfterAppend:
    case ErrorCode::kRequestTimedOut:
    case ErrorCode::kOutOfOrderSequence:
    case ErrorCode::kTooManyProducers:
      return true;
    default:
      return false;
  }
}

// Errors of before the append; all other retriable ones leave it open.
bool NothingStored(const absl::Status& error) {
  switch (CodeOf(error)) {
    case ErrorCode::kBusy:
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kFencedLeaderEpoch:
    case ErrorCode::kUnknownLeaderEpoch:
    case ErrorCode::kTooManyProducers:
      return true;
    default:
      return false;
  }
}

// Too large for its topic. Should an attempt have stored the whole, under
// another limit, the partition knows the sequences and refuses the halves.
bool MaySplit(const Flight& flight, const absl::Status& error) {
  const PendingBatch& batch = *flight.batches.front();
  return CodeOf(error) == ErrorCode::kMessageTooLarge &&
         flight.batches.size() == 1 && batch.record_count() > 1;
}

// What the partition says of a batch when it does not know the one before it.
bool MissesOneBefore(const absl::Status& error) {
  const ErrorCode code = CodeOf(error);
  return code == ErrorCode::kOutOfOrderSequence ||
         code == ErrorCode::kUnknownProducerId;
}

std::string TextOf(const absl::Status& error) {
  return StrCat(NameOf(CodeOf(error)), ": ", StdView(error.message()));
}

// What a batch's callbacks are told.
absl::Status FinalError(const PendingBatch& batch, const absl::Status& error) {
  if (!batch.maybe_stored) return error;
  return MakeError(ErrorCode::kOutcomeUnknown,
                   "an earlier attempt may have stored it, the last one (",
                   batch.attempts, ") failed: ", TextOf(error));
}

}  // namespace

void Producer::OnAnswer(Link& link, api::ProduceStreamResponse answer) {
  link.heard_us = deps_.clock->MonoMicros();
  const auto found = link.requests.find(answer.correlation_id);
  if (found == link.requests.end()) return;  // its time was up before
  const RequestPtr request = found->second;
  for (const api::ProduceResult& result : answer.results) {
    const FlightPtr flight = FlightOf(*request, result);
    if (flight != nullptr && !flight->over()) OnResult(*flight, result);
  }
  if (!answer.error.ok()) {
    FailAll(*request, MakeErrorStatus(answer.error.code, answer.error.message));
  }
  if (!answer.complete) return;
  FailAll(*request, MakeError(ErrorCode::kStorageError, "broker ",
                              link.endpoint.ToString(),
                              " left a partition out of its answer"));
  Forget(link, request->id);
}

FlightPtr Producer::FlightOf(Request& request,
                             const api::ProduceResult& result) const {
  const size_t count = request.flights.size();
  for (size_t i = 0; i < count; ++i) {
    const size_t at = (request.next_result + i) % count;
    const NamedPartition& tp = request.flights[at]->queue->tp;
    if (tp.partition != result.partition || tp.topic != result.topic.name) {
      continue;
    }
    request.next_result = at + 1;
    return request.flights[at];
  }
  return nullptr;
}

void Producer::FailAll(Request& request, const absl::Status& error) {
  for (const FlightPtr& flight : request.flights) {
    if (!flight->over()) {
      OnError(*flight, error, !LeaderIsFine(CodeOf(error)), 0);
    }
  }
}

void Producer::OnResult(Flight& flight, const api::ProduceResult& result) {
  if (result.leader.has_value()) {
    metadata_->Learn(flight.queue->tp, *result.leader);
    // Who heard of it may have put this flight back.
    if (flight.over()) return;
  }
  if (result.error.ok()) return OnSuccess(flight, result);
  OnError(flight, MakeErrorStatus(result.error.code, result.error.message),
          !LeaderIsFine(result.error.code),
          int64_t{result.error.retry_after_ms} * 1000);
}

void Producer::OnSuccess(Flight& flight, const api::ProduceResult& result) {
  PartitionQueue& queue = *flight.queue;
  const auto batches = Land(flight);
  if (!queue.HasSent()) {  // else that is still to be put right
    queue.backoff.Reset();
    queue.not_before_us = 0;
    queue.failed_epoch.reset();
    queue.last_error.clear();
    awaiting_leader_.erase(&queue);
  }
  metadata_->Trust(queue.tp);
  if (result.duplicate) {
    counters_.batches_deduplicated += static_cast<int64_t>(batches.size());
  }
  // On the agenda before callbacks run: they may send.
  Reschedule(queue);
  RecordMetadata first{queue.tp.partition, result.base_offset};
  for (const auto& batch : batches) {
    const int32_t count = batch->record_count();
    Settle(*batch, first);
    if (first.offset != kNoOffset) first.offset += count;
  }
}

void Producer::OnError(Flight& flight, const absl::Status& error, bool suspect,
                       int64_t retry_after_us) {
  PartitionQueue& queue = *flight.queue;
  // Behind a batch that is to be sent again this is no surprise.
  const bool behind = MissesOneBefore(error) && !queue.IsFirst(*flight.batches.front()) &&
                      !MUTANT(kOnlyFailedBatchResent);
  if (behind) return SendAgain(flight, queue.not_before_us);
  // Not of those behind: people are told why, not what followed from it.
  queue.last_error = TextOf(error);
  if (!IsRetriableStatus(error)) return OnDefiniteError(flight, error);
  if (options_.on_retry) options_.on_retry(queue.tp, error);
  if (!NothingStored(error)) {
    for (const auto& batch : flight.batches) batch->maybe_stored = true;
  }
  const auto leader = metadata_->LeaderOf(queue.tp);
  if (suspect && leader.has_value() &&
      leader->leader_epoch > flight.leader_epoch) {
    return SendAgain(flight, 0);  // somebody newer is known: at once
  }
  if (suspect) {
    AwaitLeader(queue, flight.leader_epoch);
  } else {
    LookElsewhere();
  }
  // Those that come back with the first fail for the same reason.
  const int64_t delay_us = std::max(
      queue.recovering ? 0 : queue.backoff.NextDelayUs(random_),
      retry_after_us);
  SendAgain(flight, std::max(queue.not_before_us,
                             deps_.clock->MonoMicros() + delay_us));
}

bool Producer::MayNumberAnew(const Flight& flight, const absl::Status& error) {
  const PartitionQueue& queue = *flight.queue;
  const PendingBatch& batch = *flight.batches.front();
  return CodeOf(error) == ErrorCode::kUnknownProducerId &&
         batch.number.has_value() && batch.number->base_sequence != 0 &&
         !batch.maybe_stored &&
         queue.flights.size() == 1 && !queue.HasSent();
}

void Producer::OnDefiniteError(Flight& flight, const absl::Status& error) {
  PartitionQueue& queue = *flight.queue;
  if (MayNumberAnew(flight, error)) {
    PutBackAsNew(flight);
    return Reschedule(queue);
  }
  if (MaySplit(flight, error)) {
    PutBackInHalves(flight);
    queue.not_before_us = 0;
    ++counters_.batches_split;
    return Reschedule(queue);
  }
  if (flight.batches.size() > 1) {
    // One of them is at fault; the others must not fail with it.
    for (const auto& batch : flight.batches) batch->alone = true;
    return SendAgain(flight, 0);
  }
  const auto batches = Land(flight);
  if (batches.front()->number.has_value()) {
    if (CodeOf(error) == ErrorCode::kInvalidProducerEpoch) {
      queue.numbering.Discard();
    } else {
      queue.numbering.Break();
    }
    // What is behind one that is too large has done nothing wrong.
    if (CodeOf(error) == ErrorCode::kMessageTooLarge &&
        !batches.front()->maybe_stored) {
      NumberSentAnew(queue);
    }
  }
  Reschedule(queue);
  Settle(*batches.front(), FinalError(*batches.front(), error));
}

void Producer::SendAgain(Flight& flight, int64_t not_before_us) {
  PartitionQueue& queue = *flight.queue;
  PutBack(flight);
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
  std::vector<std::pair<FlightPtr, const Link*>> left;
  for (const auto& [endpoint, link] : links_) {
    for (const auto& [id, request] : link->requests) {
      for (const FlightPtr& flight : request->flights) {
        if (flight->over()) continue;
        const auto leader = metadata_->LeaderOf(flight->queue->tp);
        if (leader.has_value() &&
            leader->leader_epoch > flight->leader_epoch &&
            leader->endpoint != endpoint) {
          left.emplace_back(flight, link.get());
        }
      }
    }
  }
  for (const auto& [flight, link] : left) {
    flight->queue->last_error = StrCat(
        "no answer from ", link->endpoint.ToString(), ", which leads no more");
    for (const auto& batch : flight->batches) batch->maybe_stored = true;
    SendAgain(*flight, 0);
  }
}

// A leader that is cut off from the cluster does not know its successor, and
// neither does the metadata it gives: as long as that is asked of it alone,
// records go nowhere until their time is up.
void Producer::LookElsewhere() {
  const int64_t now_us = deps_.clock->MonoMicros();
  if (now_us < looked_elsewhere_us_ + kLookElsewhereEveryUs) return;
  looked_elsewhere_us_ = now_us;
  metadata_->AskAnother();
}

}  // namespace sluice
