#include "client/metadata_cache.h"

#include <algorithm>
#include <utility>

#include "common/base/invariant.h"

namespace sluice {
namespace {

api::Endpoint EndpointOf(const v1::Endpoint& endpoint) {
  return {endpoint.host(), endpoint.port()};
}

// A broker's message must not make a client allocate without bound.
constexpr int kPartitionsMax = 1'000'000;

}  // namespace

MetadataCache::MetadataCache(const ClientDeps& deps,
                             const ClientOptions& options)
    : deps_(deps),
      options_(options),
      connections_(deps.connector, deps.executor),
      random_(deps.seed ^ 0x6d657461),
      await_backoff_(kAwaitMinUs, kAwaitMaxUs),
      watch_backoff_(kRewatchMinUs, kRewatchMaxUs) {
  INVARIANT(!options_.bootstrap.empty(), "a client needs a bootstrap address");
  // Clients of one list do not all ask its first broker.
  broker_ = random_.Below(options_.bootstrap.size());
}

MetadataCache::~MetadataCache() {
  if (timer_ != 0) deps_.executor->Cancel(timer_);
}

void MetadataCache::Follow(const std::string& topic) {
  if (!topics_.emplace(topic, Followed{}).second) return;
  Refresh();
}

void MetadataCache::ForgetUnknown(const std::string& topic) {
  if (Find(topic) == nullptr) topics_.erase(topic);
}

const MetadataCache::Topic* MetadataCache::Find(
    const std::string& topic) const {
  const auto found = topics_.find(topic);
  if (found == topics_.end() || !found->second.topic.has_value()) {
    return nullptr;
  }
  return &*found->second.topic;
}

absl::Status MetadataCache::WhyUnknown(const std::string& topic) const {
  const auto found = topics_.find(topic);
  return found == topics_.end() ? absl::OkStatus() : found->second.error;
}

std::optional<PartitionLeader> MetadataCache::LeaderOf(
    const NamedPartition& tp) const {
  const Topic* topic = Find(tp.topic);
  if (topic == nullptr || tp.partition.value() < 0 ||
      tp.partition.value() >= static_cast<int>(topic->partitions.size())) {
    return std::nullopt;
  }
  const PartitionLeader& leader = topic->partitions[tp.partition.value()];
  if (leader.leader_id == kNoNode || leader.endpoint.port == 0) {
    return std::nullopt;
  }
  return leader;
}

bool MetadataCache::Learn(const NamedPartition& tp,
                          const api::LeaderHint& hint) {
  const auto found = topics_.find(tp.topic);
  if (found == topics_.end() || !found->second.topic.has_value()) return false;
  auto& partitions = found->second.topic->partitions;
  if (tp.partition.value() < 0 ||
      tp.partition.value() >= static_cast<int>(partitions.size())) {
    return false;
  }
  PartitionLeader& known = partitions[tp.partition.value()];
  if (hint.leader_id.value() <= 0 || hint.endpoint.port == 0 ||
      hint.leader_epoch <= known.leader_epoch) {
    return false;
  }
  known = {hint.leader_id, hint.leader_epoch, hint.endpoint};
  DropSettledSuspicions();
  Notify();
  return true;
}

void MetadataCache::Suspect(const NamedPartition& tp, LeaderEpoch epoch) {
  Suspicion& suspicion = suspicions_[tp];
  suspicion.epoch = std::max(suspicion.epoch, epoch);
  suspicion.until_us = deps_.clock->MonoMicros() + kSuspicionUs;
  DropSettledSuspicions();
  if (!suspicions_.contains(tp)) return;  // a newer leader is known already
  if (timer_ == 0 && !in_flight_) {
    await_backoff_.Reset();
    Schedule(0);
  } else if (timer_ != 0 &&
             timer_at_us_ > deps_.clock->MonoMicros() + kAwaitMaxUs) {
    await_backoff_.Reset();  // was waiting for the next routine refresh
    Schedule(0);
  }
}

void MetadataCache::Trust(const NamedPartition& tp) {
  if (!suspicions_.empty()) suspicions_.erase(tp);
}

void MetadataCache::Refresh() {
  if (in_flight_) {
    again_ = true;
    return;
  }
  Schedule(0);
}

void MetadataCache::AskAnother() {
  elsewhere_ = true;
  Refresh();
}

std::shared_ptr<void> MetadataCache::Observe(Observer observer) {
  auto token = std::make_shared<Observer>(std::move(observer));
  observers_.push_back(token);
  return token;
}

std::vector<api::Endpoint> MetadataCache::Brokers() const {
  std::vector<api::Endpoint> all = brokers_;
  for (const api::Endpoint& endpoint : options_.bootstrap) {
    if (std::find(all.begin(), all.end(), endpoint) == all.end()) {
      all.push_back(endpoint);
    }
  }
  return all;
}

void MetadataCache::Schedule(int64_t delay_us) {
  const int64_t at_us = deps_.clock->MonoMicros() + delay_us;
  if (timer_ != 0) {
    if (timer_at_us_ <= at_us) return;
    deps_.executor->Cancel(timer_);
  }
  timer_at_us_ = at_us;
  timer_ = deps_.executor->PostAfter(
      delay_us, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        timer_ = 0;
        Send();
      });
}

void MetadataCache::Send() {
  if (in_flight_ || topics_.empty()) return;
  in_flight_ = true;
  again_ = false;
  ++refresh_count_;
  v1::GetMetadataRequest request;
  for (const auto& [name, followed] : topics_) {
    request.add_topics()->set_name(name);
  }
  // One step at a time, whoever asked for it: by two, half of an even number
  // of brokers would never be asked.
  if (std::exchange(elsewhere_, false)) ++broker_;
  const std::vector<api::Endpoint> brokers = Brokers();
  const api::Endpoint endpoint = brokers[broker_ % brokers.size()];
  connections_.At(endpoint)->GetMetadata(
      request, kRefreshTimeoutUs,
      [this, alive = std::weak_ptr<bool>(alive_), endpoint](
          absl::StatusOr<v1::GetMetadataResponse> answer) {
        if (alive.expired()) return;
        in_flight_ = false;
        OnAnswer(endpoint, std::move(answer));
      });
}

void MetadataCache::TellWhoWaits(const api::Endpoint& endpoint,
                                 const absl::Status& why) {
  const int64_t now_us = deps_.clock->MonoMicros();
  if (unanswered_since_us_ < 0) {
    unanswered_since_us_ = now_us;
    unanswered_told_us_ = -1;
  }
  if (options_.on_no_answer == nullptr ||
      now_us - unanswered_since_us_ < kNoAnswerQuietUs ||
      (unanswered_told_us_ >= 0 &&
       now_us - unanswered_told_us_ < kNoAnswerEveryUs)) {
    return;
  }
  unanswered_told_us_ = now_us;
  options_.on_no_answer(
      StrCat("no broker has answered for ",
             (now_us - unanswered_since_us_) / 1'000'000, " s, the last was ",
             endpoint.ToString(), ": ", StdView(why.message())));
}

void MetadataCache::OnAnswer(
    const api::Endpoint& endpoint,
    absl::StatusOr<v1::GetMetadataResponse> answer) {
  if (answer.ok()) {
    unanswered_since_us_ = -1;
    // Stays with a broker that answers (its connection is up), unless another
    // may know more.
    failed_in_row_ = 0;
    Apply(*answer);
    KeepWatch(endpoint);
    elsewhere_ = elsewhere_ || !suspicions_.empty();
  } else {
    ++failed_in_row_;
    elsewhere_ = true;
    TellWhoWaits(endpoint, answer.status());
    for (auto& [name, followed] : topics_) {
      if (!followed.topic.has_value()) followed.error = answer.status();
    }
  }
  ScheduleNext(answer.ok());
  Notify();
}

bool MetadataCache::WantsAnother() const {
  if (again_ || !suspicions_.empty()) return true;
  return std::any_of(topics_.begin(), topics_.end(), [](const auto& entry) {
    const auto& topic = entry.second.topic;
    // Leaderless partitions are suspected by whoever needs them.
    return !topic.has_value();
  });
}

void MetadataCache::ScheduleNext(bool answered) {
  if (!answered && failed_in_row_ % Brokers().size() != 0) {
    Schedule(0);  // the next broker, at once
    return;
  }
  if (answered && again_) {
    Schedule(kAwaitMinUs / 2);
    return;
  }
  if (!answered || WantsAnother()) {
    Schedule(await_backoff_.NextDelayUs(random_));
    return;
  }
  await_backoff_.Reset();
  int64_t next_us = options_.metadata_age_max_ms * 1000;
  if (options_.watch_metadata && watch_ == nullptr && !watch_refused_) {
    const int64_t again_us = watch_again_us_ - deps_.clock->MonoMicros();
    if (again_us > 0) next_us = std::min(next_us, again_us);
  }
  Schedule(next_us);
}

void MetadataCache::Apply(const v1::GetMetadataResponse& answer) {
  ApplyBrokers(answer);
  for (const v1::TopicMetadata& metadata : answer.topics()) {
    const auto found = topics_.find(metadata.name());
    if (found != topics_.end()) ApplyTopic(metadata, found->second);
  }
  DropSettledSuspicions();
}

void MetadataCache::ApplyBrokers(const v1::GetMetadataResponse& answer) {
  std::vector<api::Endpoint> brokers;
  for (const v1::Broker& broker : answer.brokers()) {
    if (broker.fenced()) continue;
    for (const v1::Listener& listener : broker.listeners()) {
      if (listener.name() == "PUBLIC" && listener.endpoint().port() > 0) {
        brokers.push_back(EndpointOf(listener.endpoint()));
      }
    }
  }
  if (!brokers.empty()) brokers_ = std::move(brokers);
}

void MetadataCache::ApplyTopic(const v1::TopicMetadata& metadata,
                               Followed& into) {
  if (metadata.error().code() != v1::ERROR_CODE_UNSPECIFIED) {
    // Kept when it was known: a broker that lags does not know a new topic.
    into.error = MakeErrorStatus(CodeFromNumber(metadata.error().code()),
                                 metadata.error().message());
    return;
  }
  const auto id = TopicId::FromBytes(metadata.id());
  if (!id.has_value() || metadata.partitions_size() > kPartitionsMax) return;
  Topic fresh{*id, {}};
  for (const v1::PartitionMetadata& partition : metadata.partitions()) {
    const int32_t index = partition.partition();
    if (index < 0 || index >= metadata.partitions_size()) return;
    fresh.partitions.resize(metadata.partitions_size());
    fresh.partitions[index] = {NodeId(partition.leader_id()),
                               LeaderEpoch(partition.leader_epoch()),
                               EndpointOf(partition.leader_endpoint())};
    if (partition.leader_id() <= 0) {
      fresh.partitions[index].leader_id = kNoNode;
    }
  }
  if (into.topic.has_value() && into.topic->id == fresh.id) {
    const auto& known = into.topic->partitions;
    for (size_t i = 0; i < known.size(); ++i) {
      if (i >= fresh.partitions.size()) {
        fresh.partitions.push_back(known[i]);  // an older answer
      } else if (known[i].leader_epoch > fresh.partitions[i].leader_epoch) {
        fresh.partitions[i] = known[i];
      }
    }
  }
  into.topic = std::move(fresh);
  into.error = absl::OkStatus();
}

void MetadataCache::DropSettledSuspicions() {
  const int64_t now_us = deps_.clock->MonoMicros();
  std::erase_if(suspicions_, [&](const auto& entry) {
    const auto& [tp, suspicion] = entry;
    if (now_us >= suspicion.until_us) return true;
    const auto leader = LeaderOf(tp);
    return leader.has_value() && leader->leader_epoch > suspicion.epoch;
  });
}

void MetadataCache::Notify() {
  std::erase_if(observers_, [](const auto& o) { return o.expired(); });
  const auto observers = observers_;  // an observer may add another
  for (const auto& weak : observers) {
    if (const auto observer = weak.lock()) (*observer)();
  }
}

}  // namespace sluice
