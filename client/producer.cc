// Records in: partitioning, waiting for metadata, settling.
#include "client/producer.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/murmur2.h"

namespace sluice {
namespace {

BatchingOptions BatchingOf(const ProducerOptions& options) {
  BatchingOptions batching;
  batching.batch_bytes =
      std::clamp<int64_t>(options.batch_bytes, 1, kProducerBatchBytesMax);
  batching.linger_us = options.linger_ms * 1000;
  batching.delivery_timeout_us = options.delivery_timeout_ms * 1000;
  batching.codec = options.codec;
  batching.idempotent = options.idempotent();
  batching.in_flight_max =
      batching.idempotent
          ? std::clamp(options.requests_in_flight_max, 1, kInFlightMax)
          : 1;
  return batching;
}

}  // namespace

absl::Status ProducerOptions::Check() const {
  if (!enable_idempotence.value_or(false) || acks == -1) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kInvalidConfig,
                   "enable_idempotence needs acks = all, not ", acks,
                   "; use acks = all, or leave enable_idempotence unset");
}

Producer::Producer(const ClientDeps& deps, const ClientOptions& client,
                   const ProducerOptions& options, MetadataCache* metadata,
                   std::function<void(int64_t)> on_released)
    : deps_(deps),
      client_(client),
      options_(options),
      options_status_(options.Check()),
      batching_(BatchingOf(options)),
      metadata_(metadata),
      on_released_(std::move(on_released)),
      random_(deps.seed ^ 0x70726f64),
      identity_backoff_(client.retry_backoff_min_ms * 1000,
                        client.retry_backoff_max_ms * 1000) {
  observation_ = metadata_->Observe([this] { OnMetadata(); });
}

Producer::~Producer() {
  alive_.reset();
  observation_.reset();
  if (pump_timer_ != 0) deps_.executor->Cancel(pump_timer_);
  if (watch_timer_ != 0) deps_.executor->Cancel(watch_timer_);
  if (identity_timer_ != 0) deps_.executor->Cancel(identity_timer_);
  links_.clear();
  const auto unknown = MakeError(
      ErrorCode::kOutcomeUnknown,
      "the producer was closed before the broker answered; the record may or "
      "may not be stored");
  const auto closing = MakeError(ErrorCode::kShuttingDown,
                                 "the producer was closed; not stored");
  for (auto& [name, topic] : topics_) {
    for (auto& queue : topic.queues) {
      if (queue == nullptr) continue;
      for (const FlightPtr& flight : queue->flights) {
        for (auto& batch : flight->batches) Settle(*batch, unknown);
      }
      for (auto& batch : queue->batches) {
        Settle(*batch, batch->attempts > 0 ? unknown : closing);
      }
    }
    for (WaitingRecord& waiting : topic.waiting) FailWaiting(waiting, closing);
  }
}

absl::Status Producer::Send(ProducerRecord record, SendCallback callback) {
  if (!options_status_.ok()) return options_status_;
  const int64_t charge = ChargeOf(record);
  if (buffered_bytes_ > 0 &&
      buffered_bytes_ + charge > options_.buffer_memory) {
    return MakeError(ErrorCode::kBufferExhausted, "buffer_memory of ",
                     options_.buffer_memory, " bytes is full (",
                     buffered_bytes_,
                     " in use); wait for acknowledgements or raise it");
  }
  ++counters_.records_sent;
  buffered_bytes_ += charge;
  // At the first record: meanwhile the metadata comes too.
  if (batching_.idempotent && !identity_.has_value()) AskIdentity();
  auto found = topics_.find(record.topic);
  if (found == topics_.end()) {
    found = topics_.emplace(record.topic, TopicState{}).first;
  }
  TopicState& topic = found->second;
  WaitingRecord waiting{std::move(record),
                        std::move(callback),
                        deps_.clock->MonoMicros(),
                        charge,
                        {}};
  const MetadataCache::Topic* known =
      topic.waiting.empty() ? metadata_->Find(found->first) : nullptr;
  if (known != nullptr) {
    Place(topic, static_cast<int32_t>(known->partitions.size()), waiting);
    return absl::OkStatus();
  }
  if (topic.waiting.empty()) {
    waiting_topics_.insert(found->first);
    metadata_->Follow(found->first);
    SchedulePump(waiting.since_us + options_.max_block_ms * 1000);
  }
  topic.waiting.push_back(std::move(waiting));
  return absl::OkStatus();
}

void Producer::Place(TopicState& topic, int32_t partition_count,
                     WaitingRecord& waiting) {
  const ProducerRecord& record = waiting.record;
  const int32_t partition =
      record.partition.has_value()
          ? record.partition->value()
          : ChoosePartition(topic, record, partition_count);
  if (partition < 0 || partition >= partition_count) {
    FailWaiting(waiting, MakeError(ErrorCode::kInvalidRequest, "topic ",
                                   record.topic, " has no partition ",
                                   partition, "; it has ", partition_count));
    return;
  }
  PartitionQueue& queue = QueueOf(topic, record.topic, partition);
  auto appended = AppendRecord(
      queue, record, waiting.callback, batching_, deps_.clock->MonoMicros(),
      deps_.clock->WallMillis(), std::move(waiting.flushes));
  if (!appended.ok()) {
    FailWaiting(waiting, appended.status());
    return;
  }
  if (appended->agenda_changed) Reschedule(queue);
}

PartitionQueue& Producer::QueueOf(TopicState& topic, const std::string& name,
                                  int32_t partition) {
  if (topic.queues.size() <= static_cast<size_t>(partition)) {
    topic.queues.resize(partition + 1);
  }
  auto& queue = topic.queues[partition];
  if (queue == nullptr) {
    queue = std::make_unique<PartitionQueue>(
        next_queue_id_++, NamedPartition{name, PartitionIndex(partition)},
        Backoff(client_.retry_backoff_min_ms * 1000,
                client_.retry_backoff_max_ms * 1000));
  }
  return *queue;
}

int32_t Producer::ChoosePartition(TopicState& topic,
                                  const ProducerRecord& record,
                                  int32_t partition_count) {
  if (partition_count <= 0) return -1;
  if (record.key.has_value()) {
    return PartitionForKey(*record.key, partition_count).value();
  }
  // One partition for about a batch, then another: full batches, even spread.
  if (topic.sticky < 0 || topic.sticky >= partition_count ||
      topic.sticky_bytes >= batching_.batch_bytes) {
    topic.sticky_bytes = 0;
    // A leaderless partition would only hold the records up.
    for (int tries = 0; tries < 3; ++tries) {
      topic.sticky = static_cast<int32_t>(random_.Below(partition_count));
      if (metadata_->LeaderOf({record.topic, PartitionIndex(topic.sticky)})
              .has_value()) {
        break;
      }
    }
  }
  topic.sticky_bytes += ChargeOf(record);
  return topic.sticky;
}

void Producer::PlaceWaiting() {
  for (auto it = waiting_topics_.begin(); it != waiting_topics_.end();) {
    const MetadataCache::Topic* known = metadata_->Find(*it);
    if (known == nullptr) {
      ++it;
      continue;
    }
    const auto count = static_cast<int32_t>(known->partitions.size());
    TopicState& topic = topics_.find(*it)->second;
    it = waiting_topics_.erase(it);
    std::deque<WaitingRecord> waiting;
    waiting.swap(topic.waiting);
    for (WaitingRecord& record : waiting) Place(topic, count, record);
  }
}

void Producer::ExpireWaiting(int64_t now_us) {
  const int64_t block_us = options_.max_block_ms * 1000;
  for (auto it = waiting_topics_.begin(); it != waiting_topics_.end();) {
    TopicState& topic = topics_.find(*it)->second;
    absl::Status why = metadata_->WhyUnknown(*it);
    if (why.ok()) {
      why = MakeError(ErrorCode::kLeaderNotAvailable, "no broker answered");
    }
    const auto give_up =
        MakeErrorStatus(CodeOf(why), StrCat("no metadata of topic ", *it,
                                            " for ", options_.max_block_ms,
                                            " ms: ", StdView(why.message())));
    while (!topic.waiting.empty() &&
           topic.waiting.front().since_us + block_us <= now_us) {
      WaitingRecord waiting = std::move(topic.waiting.front());
      topic.waiting.pop_front();
      FailWaiting(waiting, give_up);
    }
    if (topic.waiting.empty()) {
      metadata_->ForgetUnknown(*it);
      it = waiting_topics_.erase(it);
    } else {
      SchedulePump(topic.waiting.front().since_us + block_us);
      ++it;
    }
  }
}

void Producer::Settle(PendingBatch& batch,
                      absl::StatusOr<RecordMetadata> first) {
  const int32_t count = batch.record_count();
  if (first.ok()) {
    counters_.records_acked += count;
    counters_.bytes_acked += batch.charged_bytes - count * ChargeOf({});
  } else {
    counters_.records_failed += count;
  }
  for (SendCallback& callback : batch.callbacks) {
    if (callback) callback(first);
    if (first.ok() && first->offset != kNoOffset) first->offset += 1;
  }
  batch.callbacks.clear();
  batch.flushes.clear();
  Release(batch.charged_bytes);
}

void Producer::FailWaiting(WaitingRecord& waiting, const absl::Status& why) {
  ++counters_.records_failed;
  if (waiting.callback) waiting.callback(why);
  waiting.flushes.clear();
  Release(waiting.charge);
}

void Producer::Release(int64_t bytes) {
  buffered_bytes_ -= bytes;
  INVARIANT(buffered_bytes_ >= 0, "released more than was sent");
  if (on_released_) on_released_(bytes);
}

void Producer::Flush(absl::AnyInvocable<void()> done) {
  // The last holder of the token posts `done`.
  struct Token {
    Token(Executor* on, absl::AnyInvocable<void()> then)
        : executor(on), done(std::move(then)) {}
    ~Token() { executor->Post(std::move(done)); }
    Executor* const executor;
    absl::AnyInvocable<void()> done;
  };
  const auto token = std::make_shared<Token>(deps_.executor, std::move(done));
  flushes_.push_back(token);
  for (auto& [name, topic] : topics_) {
    for (WaitingRecord& record : topic.waiting) {
      record.flushes.push_back(token);
    }
    for (auto& queue : topic.queues) {
      if (queue == nullptr) continue;
      for (const FlightPtr& flight : queue->flights) {
        for (auto& batch : flight->batches) batch->flushes.push_back(token);
      }
      for (auto& batch : queue->batches) batch->flushes.push_back(token);
      Reschedule(*queue);
    }
  }
}

bool Producer::IsFlushing() {
  std::erase_if(flushes_, [](const auto& flush) { return flush.expired(); });
  return !flushes_.empty();
}

}  // namespace sluice
