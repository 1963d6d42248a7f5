// What a broker tells of by itself. Only leaders of topics that are known are
// taken over from it; what else has changed (a topic is new, gone or has grown,
// a broker came or went) is a reason to ask, as a suspicion is.
#include <utility>

#include "client/metadata_cache.h"
#include "common/base/mutant.h"

namespace sluice {

void MetadataCache::KeepWatch(const api::Endpoint& endpoint) {
  // To name none would ask for all there are.
  if (!options_.watch_metadata || topics_.empty() ||
      topics_.size() > kWatchedTopicsMax) {
    watch_ = nullptr;
    return;
  }
  std::set<std::string> wanted;
  for (const auto& [name, followed] : topics_) wanted.insert(name);
  if (watch_ != nullptr && wanted == watched_) return;
  if (deps_.clock->MonoMicros() < watch_again_us_) return;
  const uint64_t number = ++watch_number_;
  watch_told_ = watch_refused_ = false;
  MetadataWatchEvents events;
  const std::weak_ptr<bool> alive = alive_;
  events.on_frame = [this, alive, number](v1::WatchMetadataResponse told) {
    if (!alive.expired() && number == watch_number_) OnWatched(told);
  };
  events.on_closed = [this, alive, number](absl::Status why) {
    if (!alive.expired() && number == watch_number_) OnWatchClosed(why);
  };
  watch_ = connections_.At(endpoint)->OpenMetadataWatch(std::move(events));
  if (watch_ == nullptr) return;
  watched_ = std::move(wanted);
  v1::WatchMetadataRequest request;
  for (const std::string& name : watched_) request.add_topics(name);
  request.set_include_internal(true);
  watch_->Send(std::move(request));
}

void MetadataCache::OnWatched(const v1::WatchMetadataResponse& told) {
  if (!std::exchange(watch_told_, true)) watch_backoff_.Reset();
  bool ask = told.kind() == v1::WatchMetadataResponse::KIND_CHANGES &&
             (!told.brokers().empty() || !told.removed_broker_ids().empty() ||
              !told.removed_topics().empty());
  bool news = false;
  for (const v1::TopicMetadata& topic : told.topics()) {
    ask = !TakeOver(topic, news) || ask;
  }
  // Who else watches is told the same at this moment.
  if (ask) Schedule(static_cast<int64_t>(random_.Below(kAwaitMaxUs)));
  if (!news) return;
  DropSettledSuspicions();
  Notify();
}

bool MetadataCache::TakeOver(const v1::TopicMetadata& told, bool& news) {
  const auto found = topics_.find(told.name());
  if (found == topics_.end()) return true;  // nobody follows it
  std::optional<Topic>& topic = found->second.topic;
  if (!topic.has_value() || topic->id.ToBytes() != told.id()) return false;
  bool all = true;
  for (const v1::PartitionMetadata& partition : told.partitions()) {
    const int32_t index = partition.partition();
    if (index < 0 || index >= static_cast<int>(topic->partitions.size())) {
      all = false;
      continue;
    }
    PartitionLeader& known = topic->partitions[index];
    const LeaderEpoch epoch(partition.leader_epoch());
    if (epoch < known.leader_epoch && !MUTANT(kOlderLeaderWatched)) continue;
    PartitionLeader fresh{NodeId(partition.leader_id()), epoch,
                          {partition.leader_endpoint().host(),
                           partition.leader_endpoint().port()}};
    if (fresh.leader_id.value() <= 0) fresh.leader_id = kNoNode;
    if (fresh == known) continue;
    known = std::move(fresh);
    news = true;
  }
  return all;
}

// Another is opened by the next answer: this asks for one, so that nothing that
// happens between the two watches is missed.
void MetadataCache::OnWatchClosed(const absl::Status& why) {
  watch_ = nullptr;
  // An older broker, or one that cannot have more of them: looked at again when
  // metadata is asked for anyway.
  const ErrorCode code = CodeOf(why);
  watch_refused_ = code == ErrorCode::kUnsupportedVersion ||
                   code == ErrorCode::kInvalidRequest;
  const int64_t pause_us =
      watch_refused_             ? options_.metadata_age_max_ms * 1000
      : code == ErrorCode::kBusy ? kRewatchMaxUs
                                 : watch_backoff_.NextDelayUs(random_);
  watch_again_us_ = deps_.clock->MonoMicros() + pause_us;
  if (!watch_refused_) Schedule(pause_us);
}

}  // namespace sluice
