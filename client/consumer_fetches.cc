// What to fetch next, from whom, and what to do with the answer.
#include <algorithm>
#include <utility>

#include "client/consumer.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

// The long poll ends at the broker before the call does here.
constexpr int64_t kFetchMarginUs = 5'000'000;
// How long an unknown topic may stay unknown: it may just have been created.
constexpr int64_t kUnknownTopicUs = 10'000'000;

}  // namespace

void Consumer::SchedulePump(int64_t delay_us) {
  const int64_t at_us = deps_.clock->MonoMicros() + delay_us;
  if (pump_at_us_ <= at_us) return;
  if (pump_timer_ != 0) deps_.executor->Cancel(pump_timer_);
  pump_at_us_ = at_us;
  pump_timer_ = deps_.executor->PostAfter(
      delay_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        pump_timer_ = 0;
        pump_at_us_ = INT64_MAX;
        Pump();
      });
}

bool Consumer::MayFetch(const Partition& partition, int64_t now_us) const {
  return !partition.in_flight && !partition.resetting && !partition.failed &&
         !partition.paused &&
         partition.position.has_value() && partition.not_before_us <= now_us &&
         partition.buffered_bytes < options_.partition_bytes_max;
}

void Consumer::Pump() {
  const int64_t now_us = deps_.clock->MonoMicros();
  std::map<Target, std::vector<Asked>> due;
  int64_t wake_us = INT64_MAX;
  for (const auto& [tp, partition] : partitions_) {
    if (partition->failed || partition->in_flight || partition->paused) {
      continue;
    }
    if (!partition->position.has_value()) {
      if (!partition->resetting && !CheckTopic(*partition, now_us)) {
        OnOutOfRange(partition,
                     MakeError(ErrorCode::kOffsetOutOfRange,
                               "no position and no reset policy; call Seek"));
      }
      continue;
    }
    if (partition->not_before_us > now_us) {
      wake_us = std::min(wake_us, partition->not_before_us);
    }
    if (!MayFetch(*partition, now_us) ||
        buffered_bytes_ >= options_.buffer_bytes_max) {
      continue;
    }
    const auto leader = metadata_->LeaderOf(tp);
    if (!leader.has_value()) {
      if (CheckTopic(*partition, now_us)) continue;
      metadata_->Suspect(tp, kNoLeaderEpoch);  // observed when it changes
      continue;
    }
    if (!NoteTopic(*partition)) {
      OnOutOfRange(partition,
                   MakeError(ErrorCode::kOffsetOutOfRange,
                             "the topic was deleted and made again; call Seek "
                             "to read the new one"));
      continue;
    }
    Asked asked{partition, partition->generation, leader->leader_epoch};
    const Target target = TargetOf(*partition, *leader, now_us, asked);
    due[target].push_back(std::move(asked));
  }
  for (auto& [target, asked] : due) {
    if (in_flight_[target.endpoint] >= options_.requests_in_flight_max) {
      continue;
    }
    Fetch(target, std::move(asked));
  }
  if (wake_us != INT64_MAX) SchedulePump(wake_us - now_us);
}

// True when the topic is not known; fails the partition when it stays so.
bool Consumer::CheckTopic(Partition& partition, int64_t now_us) {
  if (metadata_->Find(partition.tp.topic) != nullptr) return false;
  if (partition.unknown_since_us == 0) partition.unknown_since_us = now_us;
  const auto why = metadata_->WhyUnknown(partition.tp.topic);
  const int64_t left_us = partition.unknown_since_us + kUnknownTopicUs - now_us;
  if (left_us <= 0 && CodeOf(why) == ErrorCode::kUnknownTopicOrPartition) {
    FailPartition(partition, why);
  }
  return true;  // the cache keeps asking, and tells
}

void Consumer::Fetch(const Target& target, std::vector<Asked> asked) {
  const api::Endpoint& endpoint = target.endpoint;
  api::FetchRequest request;
  if (target.near) request.rack = options_.rack;
  request.min_bytes = options_.fetch_bytes_min;
  request.max_wait_ms = options_.fetch_wait_ms_max;
  request.max_bytes = options_.fetch_bytes_max;
  request.form = api::PayloadForm::kBatches;
  for (const Asked& one : asked) {
    if (one.of_follower) ++counters_.follower_fetches;
    one.partition->in_flight = true;
    api::FetchPartition& partition = request.partitions.emplace_back();
    partition.topic = {one.partition->tp.topic, one.partition->topic_id};
    partition.partition = one.partition->tp.partition;
    partition.offset = one.partition->fetch_offset;
    partition.max_bytes = options_.partition_bytes_max;
    partition.leader_epoch = one.leader_epoch;
    const LeaderEpoch last = one.partition->epochs.last_epoch();
    if (last != kNoLeaderEpoch) partition.last_fetched_epoch = last;
  }
  ++in_flight_[endpoint];
  ++counters_.fetches;
  metadata_->connections().At(endpoint)->Fetch(
      request, int64_t{options_.fetch_wait_ms_max} * 1000 + kFetchMarginUs,
      [this, endpoint, asked = std::move(asked),
       alive = std::weak_ptr<bool>(alive_)](
          absl::StatusOr<api::FetchResponse> answer) mutable {
        if (alive.expired()) return;
        OnFetched(endpoint, std::move(asked), std::move(answer));
      });
}

void Consumer::OnFetched(const api::Endpoint& endpoint,
                         std::vector<Asked> asked,
                         absl::StatusOr<api::FetchResponse> answer) {
  --in_flight_[endpoint];
  for (size_t i = 0; i < asked.size(); ++i) {
    if (asked[i].partition->generation != asked[i].generation) continue;
    asked[i].partition->in_flight = false;
    if (!answer.ok()) {
      OnError(asked[i], answer.status());
    } else if (i < answer->results.size() &&
               answer->results[i].partition ==
                   asked[i].partition->tp.partition) {
      OnResult(asked[i], answer->results[i]);
    }
  }
  SchedulePump(0);
  if (buffered_bytes_ > 0) AnswerPoll();
}

void Consumer::OnResult(const Asked& asked, api::FetchResult& result) {
  Partition& partition = *asked.partition;
  if (result.leader.has_value()) metadata_->Learn(partition.tp, *result.leader);
  if (result.preferred_replica.value() > 0 && result.error.ok()) {
    return ReadFrom(partition, result.preferred_endpoint);
  }
  if (result.error.code == ErrorCode::kLogTruncated && !asked.of_follower &&
      result.diverging.has_value()) {
    OnTruncated(partition, result);
    return;
  }
  if (!result.error.ok()) {
    OnError(asked, MakeErrorStatus(result.error.code, result.error.message));
    return;
  }
  partition.backoff.Reset();
  partition.unknown_since_us = 0;
  metadata_->Trust(partition.tp);
  // A follower may know of less.
  partition.high_watermark =
      asked.of_follower
          ? std::max(partition.high_watermark, result.high_watermark)
          : result.high_watermark;
  partition.behind = 0;
  if (!TellTruncation(partition)) return;
  const Offset from = partition.fetch_offset;
  const Offset next =
      std::max(NoteBatches(partition, result.batches), result.next_offset);
  if (next <= from) return;
  partition.fetch_offset = next;
  if (result.batches.empty() && partition.buffered.empty()) {
    partition.position = next;  // all filtered
    return;
  }
  FetchedBatch batch{partition.tp, std::move(result.batches), from, next,
                     result.high_watermark, partition.epochs.last_epoch()};
  batch.topic_id = partition.topic_id;
  if (partition.truncated_from.has_value()) {
    batch.truncated_from = *std::exchange(partition.truncated_from, {});
  }
  const int64_t size = batch.size_bytes();
  counters_.bytes_fetched += size;
  partition.buffered_bytes += size;
  buffered_bytes_ += size;
  partition.buffered.push_back(std::move(batch));
}

void Consumer::OnError(const Asked& asked, const absl::Status& error) {
  Partition& partition = *asked.partition;
  if (asked.of_follower) return OnFollowerError(partition, error);
  if (CodeOf(error) == ErrorCode::kOffsetOutOfRange) {
    // What is buffered is still good and comes first.
    if (!partition.buffered.empty()) {
      partition.not_before_us = deps_.clock->MonoMicros() + kFullPauseUs;
      return;
    }
    OnOutOfRange(asked.partition, error);
    return;
  }
  if (!IsRetriableStatus(error)) {
    FailPartition(partition, error);
    return;
  }
  const auto leader = metadata_->LeaderOf(partition.tp);
  if (leader.has_value() && leader->leader_epoch > asked.leader_epoch) {
    if (MUTANT(kPollForgotten)) poll_ = nullptr;
    if (MUTANT(kPartitionRests)) partition.failed = true;
    return;
  }
  metadata_->Suspect(partition.tp, asked.leader_epoch);
  partition.not_before_us =
      deps_.clock->MonoMicros() + partition.backoff.NextDelayUs(random_);
}

}  // namespace sluice
