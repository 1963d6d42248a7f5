// Positions, what was fetched, and who waits for it.
#include "client/consumer.h"

#include <algorithm>

#include "client/offset_lookup.h"
#include "common/base/error.h"

namespace sluice {

Consumer::Consumer(const ClientDeps& deps, const ClientOptions& client,
                   const ConsumerOptions& options, MetadataCache* metadata)
    : deps_(deps),
      client_(client),
      options_(options),
      metadata_(metadata),
      random_(deps.seed ^ 0x636f6e73) {
  observation_ = metadata_->Observe([this] { SchedulePump(0); });
}

Consumer::~Consumer() {
  alive_.reset();
  observation_.reset();
  if (pump_timer_ != 0) deps_.executor->Cancel(pump_timer_);
  if (poll_timer_ != 0) deps_.executor->Cancel(poll_timer_);
  if (poll_ != nullptr) {
    poll_(MakeError(ErrorCode::kShuttingDown, "the consumer was closed"));
  }
}

void Consumer::Assign(const std::vector<NamedPartition>& partitions) {
  std::map<NamedPartition, PartitionRef> assigned;
  for (const NamedPartition& tp : partitions) {
    const auto found = partitions_.find(tp);
    if (found != partitions_.end()) {
      assigned[tp] = found->second;
      continue;
    }
    metadata_->Follow(tp.topic);
    assigned[tp] = std::make_shared<Partition>(tp);
  }
  for (auto& [tp, partition] : partitions_) {
    if (assigned.contains(tp)) continue;
    ++partition->generation;  // answers on their way are dropped
    buffered_bytes_ -= partition->buffered_bytes;
  }
  partitions_ = std::move(assigned);
  SchedulePump(0);
}

absl::Status Consumer::Seek(const NamedPartition& tp, Offset offset,
                            LeaderEpoch epoch, TopicId topic_id) {
  const auto found = partitions_.find(tp);
  if (found == partitions_.end()) {
    return MakeError(ErrorCode::kInvalidRequest, tp,
                     " is not assigned; call Assign first");
  }
  if (offset < Offset(0)) {
    return MakeError(ErrorCode::kInvalidRequest, "cannot seek ", tp,
                     " to offset ", offset, "; offsets begin at 0");
  }
  MoveTo(*found->second, offset);
  if (topic_id.is_set()) found->second->topic_id = topic_id;
  if (epoch >= LeaderEpoch(0) && offset > Offset(0)) {
    found->second->epochs.Assign(epoch, offset - 1);
  }
  SchedulePump(0);
  return absl::OkStatus();
}

void Consumer::MoveTo(Partition& partition, Offset offset) {
  ++partition.generation;
  partition.position = offset;
  partition.fetch_offset = offset;
  partition.epochs.Clear();
  partition.truncated_from.reset();
  buffered_bytes_ -= partition.buffered_bytes;
  partition.buffered_bytes = 0;
  partition.buffered.clear();
  partition.failed = false;
  partition.resetting = false;
  partition.in_flight = false;  // as far as this generation goes
  partition.not_before_us = 0;
}

void Consumer::Pause(const NamedPartition& tp) {
  const auto found = partitions_.find(tp);
  if (found == partitions_.end() || found->second->paused) return;
  Partition& partition = *found->second;
  partition.paused = true;
  if (!partition.position.has_value()) return;
  EpochHistory epochs = std::move(partition.epochs);
  const std::optional<Offset> truncated_from = partition.truncated_from;
  const bool failed = partition.failed;
  MoveTo(partition, *partition.position);
  epochs.TruncateTo(*partition.position);
  partition.epochs = std::move(epochs);
  partition.truncated_from = truncated_from;
  partition.failed = failed;
}

void Consumer::Resume(const NamedPartition& tp) {
  const auto found = partitions_.find(tp);
  if (found == partitions_.end()) return;
  found->second->paused = false;
  SchedulePump(0);
}

std::optional<Offset> Consumer::Position(const NamedPartition& tp) const {
  const auto found = partitions_.find(tp);
  return found == partitions_.end() ? std::nullopt : found->second->position;
}

LeaderEpoch Consumer::PositionEpoch(const NamedPartition& tp) const {
  const auto found = partitions_.find(tp);
  if (found == partitions_.end() || !found->second->position.has_value()) {
    return kNoLeaderEpoch;
  }
  return found->second->epochs.EpochAt(*found->second->position - 1);
}

Offset Consumer::HighWatermark(const NamedPartition& tp) const {
  const auto found = partitions_.find(tp);
  return found == partitions_.end() ? kNoOffset : found->second->high_watermark;
}

void Consumer::Poll(int64_t timeout_us, int64_t bytes_max,
                    PollCallback callback) {
  if (poll_ != nullptr) {
    callback(MakeError(ErrorCode::kInvalidRequest,
                       "a consumer answers one Poll at a time"));
    return;
  }
  poll_ = std::move(callback);
  poll_bytes_max_ = bytes_max;
  if (!errors_.empty() || buffered_bytes_ > 0 || timeout_us <= 0) {
    AnswerPoll();
    return;
  }
  poll_timer_ = deps_.executor->PostAfter(
      timeout_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        poll_timer_ = 0;
        AnswerPoll();
      });
}

void Consumer::AnswerPoll() {
  if (poll_ == nullptr) return;
  if (poll_timer_ != 0) deps_.executor->Cancel(poll_timer_);
  poll_timer_ = 0;
  PollCallback callback = std::move(poll_);
  poll_ = nullptr;
  // Records that came before an error are given before it.
  Batches batches = Take(poll_bytes_max_);
  if (batches.empty() && !errors_.empty()) {
    const absl::Status error = errors_.front();
    errors_.pop_front();
    callback(error);
    return;
  }
  SchedulePump(0);
  callback(std::move(batches));
}

Consumer::Batches Consumer::Take(int64_t bytes_max) {
  Batches taken;
  int64_t bytes = 0;
  auto next = partitions_.upper_bound(last_taken_);
  for (size_t i = 0; i < partitions_.size(); ++i, ++next) {
    if (next == partitions_.end()) next = partitions_.begin();
    Partition& partition = *next->second;
    if (partition.buffered.empty()) continue;
    if (bytes >= bytes_max && !taken.empty()) break;
    FetchedBatch& batch = partition.buffered.front();
    const int64_t size = batch.size_bytes();
    bytes += size;
    buffered_bytes_ -= size;
    partition.buffered_bytes -= size;
    partition.position = batch.next;
    taken.push_back(std::move(batch));
    partition.buffered.pop_front();
    last_taken_ = partition.tp;
  }
  return taken;
}

void Consumer::Reset(const PartitionRef& partition, api::OffsetPosition to) {
  partition->resetting = true;
  ++counters_.resets;
  OffsetLookup::Start(
      deps_, client_, metadata_, {partition->tp}, to,
      client_.request_timeout_ms * 1000,
      [this, partition, generation = partition->generation,
       alive = std::weak_ptr<bool>(alive_)](auto offsets) {
        if (alive.expired() || partition->generation != generation) return;
        partition->resetting = false;
        if (offsets.ok()) {
          MoveTo(*partition, offsets->begin()->second);
        } else {
          FailPartition(*partition, offsets.status());
        }
        SchedulePump(0);
      });
}

void Consumer::OnOutOfRange(const PartitionRef& partition,
                            const absl::Status& error) {
  switch (options_.reset) {
    case OffsetReset::kEarliest:
      return Reset(partition, api::OffsetPosition::kEarliest);
    case OffsetReset::kLatest:
      return Reset(partition, api::OffsetPosition::kLatest);
    case OffsetReset::kNone:
      return FailPartition(*partition, error);
  }
}

void Consumer::FailPartition(Partition& partition, absl::Status why) {
  if (partition.failed) return;
  partition.failed = true;
  errors_.push_back(MakeErrorStatus(
      CodeOf(why), StrCat(partition.tp, ": ", StdView(why.message()))));
  // Posted: the caller is in the middle of its partitions.
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && !errors_.empty()) AnswerPoll();
  });
}

}  // namespace sluice
