#include "broker/control/metadata_watch.h"

#include <map>
#include <utility>

#include "broker/control/metadata_answers.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

size_t CountOf(const MetadataChanges& changes) {
  return changes.topics_created.size() + changes.topics_removed.size() +
         changes.partitions_created.size() +
         changes.partitions_changed.size() + changes.brokers_changed.size();
}

}  // namespace

MetadataWatch::MetadataWatch(Deps deps,
                             std::shared_ptr<const MetadataImage> image)
    : deps_(std::move(deps)), newest_(std::move(image)) {}

MetadataWatch::~MetadataWatch() {
  if (stalled_ != 0) deps_.executor->Cancel(stalled_);
}

void MetadataWatch::Start() {
  BeginImage();
  Pump();
}

void MetadataWatch::End(absl::Status why) {
  const auto sink = std::exchange(deps_.sink, nullptr);
  if (sink == nullptr) return;
  if (stalled_ != 0) deps_.executor->Cancel(stalled_);
  stalled_ = 0;
  pending_ = {};
  told_ = newest_ = nullptr;
  sink->Finish(std::move(why));
}

void MetadataWatch::OnImage(std::shared_ptr<const MetadataImage> image,
                            const MetadataChanges& changes) {
  if (over()) return;
  newest_ = std::move(image);
  if (!too_many_) {
    MergeInto(pending_, changes);
    too_many_ = CountOf(pending_) > deps_.limits.changes_max;
    if (too_many_) pending_ = {};
  }
  Pump();
}

void MetadataWatch::OnDrained() {
  if (stalled_ != 0) deps_.executor->Cancel(stalled_);
  stalled_ = 0;
  in_flight_ = false;
  if (!over()) Pump();
}

bool MetadataWatch::Wants(const TopicImage& topic) const {
  if (!deps_.names.empty()) return deps_.names.contains(topic.name);
  return deps_.include_internal || !topic.internal();
}

void MetadataWatch::BeginImage() {
  told_ = newest_;
  telling_.emplace();
  pending_ = {};
  too_many_ = false;
}

// An image that has begun is told to its end: the changes after it are of its
// offset on.
void MetadataWatch::Pump() {
  if (in_flight_ || over()) return;
  if (telling_.has_value()) return PushImagePart();
  if (too_many_ && !MUTANT(kWatchLosesChanges)) {
    BeginImage();
    return PushImagePart();
  }
  if (newest_->offset() > told_->offset()) PushChanges();
}

v1::WatchMetadataResponse MetadataWatch::NewMessage(
    v1::WatchMetadataResponse::Kind kind) const {
  v1::WatchMetadataResponse message;
  message.set_kind(kind);
  message.set_active_controller_id(deps_.active_controller().value());
  return message;
}

void MetadataWatch::Push(v1::WatchMetadataResponse message) {
  in_flight_ = true;
  stalled_ = deps_.executor->PostAfter(kStalledUs, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->stalled_ = 0;
    self->End(MakeError(ErrorCode::kBusy, "this watch has read nothing for ",
                        kStalledUs / 1'000'000,
                        " s; open it again and read on"));
  });
  deps_.sink->Push(std::move(message));
}

// ---- An image ----

void MetadataWatch::PushImagePart() {
  auto message = NewMessage(v1::WatchMetadataResponse::KIND_IMAGE);
  message.set_metadata_offset(told_->offset().value());
  message.set_first(telling_->first);
  if (std::exchange(telling_->first, false)) {
    for (const auto& [id, broker] : told_->brokers()) {
      auto reachable = ReachableBroker(*told_, deps_.listener, id);
      if (reachable.has_value()) *message.add_brokers() = *std::move(reachable);
    }
  }
  message.set_complete(AddTopics(message));
  if (message.complete()) telling_.reset();
  Push(std::move(message));
}

bool MetadataWatch::AddTopics(v1::WatchMetadataResponse& message) {
  Place& place = *telling_;
  size_t room = deps_.limits.partitions_per_message;
  for (auto it = told_->names().LowerBound(place.topic);
       it != told_->names().end(); ++it) {
    const TopicImage* topic = told_->FindTopic(it->second);
    const auto count = static_cast<int32_t>(topic->partitions.size());
    const bool begun = topic->name == place.topic;
    if (!Wants(*topic) || (begun && place.partition.value() >= count)) {
      continue;
    }
    if (room == 0) return false;
    if (!begun) place = {topic->name, PartitionIndex(0), place.first};
    v1::TopicMetadata* out = message.add_topics();
    *out = TopicHead(*topic);
    for (; room > 0 && place.partition.value() < count; --room) {
      DescribePartition(*told_, deps_.listener, place.partition,
                        *topic->Find(place.partition), out->add_partitions());
      place.partition = PartitionIndex(place.partition.value() + 1);
    }
    if (place.partition.value() < count) return false;
  }
  return true;
}

// ---- Changes ----

void MetadataWatch::PushChanges() {
  auto message = NewMessage(v1::WatchMetadataResponse::KIND_CHANGES);
  AddChangedBrokers(message);
  AddChangedTopics(message);
  message.set_metadata_offset(newest_->offset().value());
  message.set_first(true);
  message.set_complete(true);
  pending_ = {};
  told_ = newest_;
  const bool nothing =
      message.brokers().empty() && message.removed_broker_ids().empty() &&
      message.topics().empty() && message.removed_topics().empty();
  if (!nothing) Push(std::move(message));
}

void MetadataWatch::AddChangedBrokers(
    v1::WatchMetadataResponse& message) const {
  for (const NodeId id : pending_.brokers_changed) {
    auto reachable = ReachableBroker(*newest_, deps_.listener, id);
    if (reachable.has_value()) {
      *message.add_brokers() = *std::move(reachable);
    } else {
      message.add_removed_broker_ids(id.value());
    }
  }
}

void MetadataWatch::AddChangedTopics(v1::WatchMetadataResponse& message) const {
  for (const TopicId& id : pending_.topics_removed) {
    const TopicImage* topic = told_->FindTopic(id);
    if (topic == nullptr || !Wants(*topic)) continue;
    v1::RemovedTopic* removed = message.add_removed_topics();
    removed->set_name(topic->name);
    removed->set_id(id.ToBytes());
  }
  std::map<TopicId, std::set<PartitionIndex>> changed;
  for (const auto* partitions :
       {&pending_.partitions_created, &pending_.partitions_changed}) {
    for (const TopicPartition& tp : *partitions) {
      changed[tp.topic_id].insert(tp.partition);
    }
  }
  for (const auto& [id, partitions] : changed) {
    const TopicImage* topic = newest_->FindTopic(id);
    if (topic == nullptr || !Wants(*topic)) continue;
    v1::TopicMetadata* out = message.add_topics();
    *out = TopicHead(*topic);
    for (const PartitionIndex index : partitions) {
      const PartitionImage* partition = topic->Find(index);
      if (partition == nullptr) continue;
      DescribePartition(*newest_, deps_.listener, index, *partition,
                        out->add_partitions());
    }
  }
}

}  // namespace sluice
